"""How texts are sent to an Ollama server."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest

from pipesched.errors import ServiceUnavailable
from pipesched.pipeline.embedders import ollama_api
from pipesched.pipeline.embedders.ollama import Effort, OllamaEmbedder
from support.ollama_server import Model, OllamaServer

QUICK = Effort(first_pause=0.01, jitter=0.0)


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    models = (Model("nomic-embed-text:latest", context=64), Model("all-minilm:latest", context=64))
    with OllamaServer(*models) as running:
        yield running


def opened(server: OllamaServer, name: str) -> OllamaEmbedder:
    return OllamaEmbedder(ollama_api.identify(name, host=server.url), host=server.url, effort=QUICK)


def test_documents_and_queries_bear_the_prefixes_of_the_model(server: OllamaServer) -> None:
    with opened(server, "nomic-embed-text") as embedder:
        embedder.embed(["a post"])
        embedder.embed_query("a question")
    assert server.embedded() == ["search_document: a post", "search_query: a question"]


def test_every_piece_of_a_long_document_bears_the_prefix(server: OllamaServer) -> None:
    with opened(server, "nomic-embed-text") as embedder:
        embedder.embed(["several words to fill the window " * 20])
    assert len(server.embedded()) > 4
    assert all(text.startswith("search_document: ") for text in server.embedded())


def test_texts_go_in_batches_of_eight_each_once(server: OllamaServer) -> None:
    texts = [f"text {number}" for number in range(30)]
    with opened(server, "all-minilm") as embedder:
        embedder.embed(texts)
    assert sorted(server.embedded()) == sorted(texts)
    assert sorted(len(request.inputs) for request in server.requests()) == [6, 8, 8, 8]


def test_a_text_that_may_be_too_long_goes_alone(server: OllamaServer) -> None:
    doubtful = "x" * 70
    with opened(server, "all-minilm") as embedder:
        embedder.embed(["one", doubtful, "two"])
    assert [request.inputs for request in server.requests()] == [["one", "two"], [doubtful]]


def test_what_a_window_cuts_is_never_asked_for(server: OllamaServer) -> None:
    with opened(server, "all-minilm") as embedder:
        embedder.embed(["word " * 300])
    assert {request.body["truncate"] for request in server.requests()} == {False}


def test_a_second_try_is_logged_and_not_by_others(
    server: OllamaServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), opened(server, "all-minilm") as embedder:
        server.fail("status", status=503, times=1)
        embedder.embed(["text"])
    assert [record.name for record in caplog.records if "try 1 of 4" in record.message] == [
        "pipesched.pipeline.embedders.ollama"
    ]
    assert not [record for record in caplog.records if record.name.startswith("stamina")]


def test_vectors_of_a_model_that_does_not_normalise_are_made_unit_length(server: OllamaServer) -> None:
    with opened(server, "all-minilm") as embedder:
        server.fail("json", body='{"model":"all-minilm","embeddings":[[' + "3.0," * 31 + "3.0]]}")
        (vector,) = embedder.embed(["text"])
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_an_endless_answer_is_given_up(server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipesched.pipeline.embedders import transport

    monkeypatch.setattr(transport, "LARGEST_ANSWER", 1000)
    with opened(server, "all-minilm") as embedder, pytest.raises(ServiceUnavailable, match="over 1000 bytes"):
        embedder.embed(["text"] * 8)
