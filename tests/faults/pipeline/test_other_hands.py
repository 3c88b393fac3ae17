"""What other programs do to a collection of ours beside its rows, and what is left when the state is lost."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipesched.errors import CollectionNotOurs, SettingsConflict
from pipesched.pipeline import faults
from pipesched.pipeline.stores import open_store
from support.chroma_server import chroma_server
from support.indexing import Index, difference, same

TEXT = "Post number {} is about the number {}."


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path, real_store=True)
    for number in range(3):
        index.write(f"{number}.md", TEXT.format(number, number))
    index.run()
    return index


def take_mark(index: Index) -> None:
    store = open_store(index.options.storage_path)
    store.set_metadata("posts", {"description": "somebody's own words"})
    store.close()


def metadata(index: Index, name: str = "posts") -> dict[str, Any]:
    store = open_store(index.options.storage_path)
    try:
        info = store.find(name)
        assert info is not None
        return dict(info.metadata)
    finally:
        store.close()


def names(index: Index) -> set[str]:
    store = open_store(index.options.storage_path)
    try:
        return {info.name for info in store.collections()}
    finally:
        store.close()


@pytest.mark.slow
def test_a_mark_that_somebody_took_away_is_put_back_by_a_run_without_changes(index: Index) -> None:
    before = metadata(index)
    take_mark(index)
    out = index.run()
    assert "lost pipesched's mark, and has it again" in out.message
    assert metadata(index).keys() == before.keys()
    assert index.verify().ok
    assert index.search("anything")
    assert index.run().message == "nothing changed, 3 chunks"


@pytest.mark.slow
def test_verify_tells_of_a_lost_mark_and_repairs_it(index: Index) -> None:
    take_mark(index)
    found = index.verify()
    assert not found.ok
    assert found.settings == ("the collection has lost pipesched's mark",)
    assert index.verify(repair=True).ok


@pytest.mark.slow
def test_a_mark_that_says_something_else_is_put_right(index: Index) -> None:
    store = open_store(index.options.storage_path)
    store.set_metadata("posts", {**metadata(index), "pipesched.query_prefix": "wrong: "})
    store.close()
    index.run()
    assert metadata(index)["pipesched.query_prefix"] == "query: "


@pytest.mark.slow
def test_a_mark_taken_away_on_a_server_is_put_back(tmp_path: Path) -> None:
    with chroma_server(tmp_path / "server") as (url, _):
        index = Index(tmp_path, real_store=True)
        index.write("0.md", TEXT.format(0, 0))
        index.options = replace(index.options, storage_path=url)
        index.run()
        take_mark(index)
        assert "lost pipesched's mark" in index.run().message
        assert metadata(index)["pipesched.model"] == "onnx:hash"


@pytest.mark.slow
def test_a_vector_that_somebody_changed_is_mended_with_the_rest_of_what_they_did(index: Index) -> None:
    store = open_store(index.options.storage_path)
    first, second, _ = next(store.pages("posts", vectors=True))
    assert first.vector is not None
    store.upsert("posts", [replace(second, vector=-first.vector)])
    store.delete("posts", [first.id])
    store.close()
    assert "1 row missing, 1 row with another vector; mended" in index.run().message
    ours, wanted = index.rows(), index.fresh()
    assert same(ours, wanted), difference(ours, wanted)


@pytest.mark.slow
def test_generations_that_a_lost_state_knew_are_dropped_after_their_grace(index: Index) -> None:
    index.run(rebuild=True)
    assert names(index) == {"posts", "posts__g1"}
    shutil.rmtree(index.index_dir)
    index.run()
    assert names(index) == {"posts", "posts__g1"}, "readers may hold it"
    index.now = index.now.replace(hour=index.now.hour + 2)
    index.run()
    assert names(index) == {"posts"}
    ours, wanted = index.rows(), index.fresh()
    assert same(ours, wanted), difference(ours, wanted)


@pytest.mark.slow
def test_a_state_lost_in_the_middle_of_a_swap_leaves_nothing_in_the_way(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(faults.VARIABLE, "swap-half:raise")
        with pytest.raises(faults.FaultReached):
            index.run(rebuild=True)
    faults._met.clear()
    assert names(index) == {"posts__g1", "posts__g2"}
    shutil.rmtree(index.index_dir)
    index.run()
    index.run(chunk_size=70)  # the next generation retires this one, by a name that is free
    assert {"posts", "posts__g1", "posts__g2"} < names(index)
    index.now = index.now.replace(hour=index.now.hour + 2)
    index.run(chunk_size=70)
    assert names(index) == {"posts"}
    ours, wanted = index.rows(), index.fresh(chunk_size=70)
    assert same(ours, wanted), difference(ours, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
def test_a_run_from_another_folder_is_refused_before_anything_is_mended(index: Index, lost: bool) -> None:
    if lost:
        shutil.rmtree(index.index_dir)
    store = open_store(index.options.storage_path)
    first, *_ = next(store.pages("posts", vectors=True))
    store.upsert("posts", [replace(first, id="foreign", metadata={"whose": "theirs"})])
    store.close()
    before = index.rows()
    elsewhere = index.home / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(SettingsConflict, match="is filled from"):
        index.run(data_dir=str(elsewhere))
    assert index.rows().keys() == before.keys()


@pytest.mark.slow
def test_a_collection_that_only_has_the_name_of_a_generation_stays(index: Index) -> None:
    index.run(collection_name="posts__g1")  # a collection in its own right, with a manifest
    store = open_store(index.options.storage_path)
    store.create("posts__g7", {"description": "somebody's"})
    store.close()
    manifest = next(path for path in index.index_dir.glob("posts-*.sqlite3"))
    manifest.unlink()
    index.run()
    index.now = index.now.replace(hour=index.now.hour + 2)
    index.run()
    assert names(index) == {"posts", "posts__g1", "posts__g7"}


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_a_dry_run_refuses_a_collection_that_a_run_would_refuse(index: Index, known: bool) -> None:
    store = open_store(index.options.storage_path)
    store.drop("posts")
    store.create("posts", {"description": "somebody's"})
    store.close()
    if not known:
        shutil.rmtree(index.index_dir)
    for dry_run in (True, False):
        with pytest.raises(CollectionNotOurs, match="was not made by pipesched"):
            index.run(dry_run=dry_run)
    assert index.run(dry_run=True, adopt=True).status == "succeeded"
