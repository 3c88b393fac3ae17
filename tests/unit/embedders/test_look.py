"""A look at the embedder in passing: one short question, nothing embedded."""

import time

import pytest

from pipesched.errors import ModelMissing, ServiceUnavailable
from pipesched.pipeline import embedders
from support.ollama_server import Model, OllamaServer


def test_a_server_is_asked_once_for_all_models_and_embeds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaServer(Model("arctic:latest"), Model("small:v2")) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        found = embedders.look(["onnx:all-MiniLM-L6-v2", "ollama:arctic", "ollama:small:v2", "ollama:gone"])
        assert found.keys() == {"ollama:arctic", "ollama:small:v2", "ollama:gone"}
        assert (found["ollama:arctic"], found["ollama:small:v2"]) == (None, None)
        gone = found["ollama:gone"]
        assert isinstance(gone, ModelMissing)
        assert gone.hint == "ollama pull gone:latest"
        assert [asked.path for asked in server.asked] == ["/api/tags"]
        assert server.embedded() == []


def test_nobody_is_asked_where_no_model_has_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    assert embedders.look(["onnx:all-MiniLM-L6-v2"]) == {}


@pytest.mark.parametrize("kind", ["hang", "drip", "status", "html"])
def test_a_server_that_is_ill_costs_little_more_than_a_second(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with OllamaServer(Model("arctic:latest")) as server:
        server.fail(kind, path="/api/tags")
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        began = time.monotonic()
        error = embedders.look(["ollama:arctic"])["ollama:arctic"]
        assert time.monotonic() - began < 2
        assert isinstance(error, ServiceUnavailable)
        assert error.hint


def test_an_address_that_is_none_and_a_closed_port_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, word in (("127.0.0.1:1", "no Ollama server answers"), ("http://[", "is no address")):
        monkeypatch.setenv("OLLAMA_HOST", host)
        error = embedders.look(["ollama:arctic"])["ollama:arctic"]
        assert error is not None
        assert word in error.message
