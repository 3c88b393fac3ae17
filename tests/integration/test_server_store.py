"""A Chroma server is an equal store: a life of a collection on a real `chroma run`."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.errors import ServiceUnavailable
from pipesched.pipeline.stores import open_store
from support.chroma_server import chroma_server
from support.indexing import Index, same


@pytest.mark.slow
def test_a_collection_on_a_server_is_kept_in_step_like_one_in_a_folder(tmp_path: Path) -> None:
    index = Index(tmp_path, real_store=True)
    for number in range(8):
        index.write(f"{number}.md", f"Post number {number} is about {number}.", title=f"Post {number}")
    folder = index.options
    with chroma_server(tmp_path / "server") as (url, _):
        index.options = replace(folder, storage_path=url)
        assert index.run().stats.new_documents == 8
        assert index.run().stats.unchanged_documents == 8
        (index.posts / "1.md").rename(index.posts / "moved.md")
        (index.posts / "2.md").unlink()
        assert index.run().stats.renamed_documents == 1
        store = open_store(url)
        store.delete("posts", sorted(store.ids("posts"))[:1])
        store.close()
        assert "1 rows missing" in index.run().message
        assert index.verify(deep=True).ok
        assert index.run(rebuild=True).status == "succeeded"
        index.now += timedelta(hours=2)
        assert index.run().status == "succeeded"
        ours = index.rows()
        assert set(index.model.texts.values()) == {1}
    with pytest.raises(ServiceUnavailable):
        index.run()
    index.options = folder
    assert same(ours, index.fresh())
