"""An Ollama model that gives vectors of another length under the same digest: noticed, said, and indexed anew."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipesched.errors import ServiceUnavailable
from pipesched.pipeline import embedders
from pipesched.pipeline.backends import Backends
from pipesched.pipeline.run import run
from pipesched.report import Outcome
from support.indexing import Index, memory_backends
from support.ollama_server import Model, OllamaServer


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path)
    for number in range(3):
        index.write(f"{number}.md", f"Post number {number} is about the number {number}.")
    return index


def backends(index: Index) -> Backends:
    return replace(
        memory_backends(index.model, index.disk),
        identify=embedders.identify,
        token_counter=embedders.token_counter,
        open_embedder=embedders.open_embedder,
    )


def run_with(index: Index) -> Outcome:
    return run(
        replace(index.options, embedding_model="ollama:m"),
        index_dir=index.index_dir,
        now=lambda: index.now,
        backends=backends(index),
    )


def dimensions(index: Index) -> set[int]:
    return {len(row.vector) for row in index.disk["posts"].rows.values()}


@pytest.mark.parametrize("says_shape", [True, False])
def test_other_dimensions_under_the_same_digest_make_a_new_generation(
    index: Index, monkeypatch: pytest.MonkeyPatch, says_shape: bool
) -> None:
    with OllamaServer(Model("m:latest", dimensions=16, says_shape=says_shape)) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        assert run_with(index).status == "succeeded"
        server.models["m:latest"].dimensions = 24
        index.write("new.md", "A new post, so that something is embedded.")
        out = run_with(index)
        assert (out.status, out.stats.chunks_embedded) == ("succeeded", 4)
        assert "gives vectors of 24 numbers instead of 16, though its digest is the same" in out.mode_reason
        assert dimensions(index) == {24}
        assert run_with(index).mode_reason == "the settings agree with the manifest"


def test_a_model_that_gives_other_dimensions_than_it_says_is_out_of_order(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OllamaServer(Model("m:latest", dimensions=16)) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        run_with(index)
        server.fail("dimension")
        index.write("new.md", "A new post, so that something is embedded.")
        with pytest.raises(ServiceUnavailable, match="another model than at the start"):
            run_with(index)
    assert dimensions(index) == {16}
