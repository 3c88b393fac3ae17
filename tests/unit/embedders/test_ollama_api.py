"""Asking an Ollama server what it has."""

import string
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import InvalidValue, ModelMissing
from pipesched.pipeline import embedders
from pipesched.pipeline.embedders import ollama_api
from pipesched.pipeline.embedders.ollama_api import base_url, most_tokens, with_tag
from support.ollama_server import Model, OllamaServer


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    models = (
        Model("snowflake-arctic-embed2:latest", dimensions=1024, context=8192, digest="d1"),
        Model("all-minilm:22m", dimensions=384, context=512),
        Model("silent:latest", dimensions=77, says_shape=False),
    )
    with OllamaServer(*models) as running:
        yield running


def test_a_model_is_its_digest_dimensions_window_and_prefix(server: OllamaServer) -> None:
    spec = ollama_api.identify("snowflake-arctic-embed2", host=server.url)
    assert (spec.model, spec.dimensions, spec.query_prefix) == (
        "ollama:snowflake-arctic-embed2:latest",
        1024,
        "query: ",
    )
    assert spec.max_tokens == 2046, "more than its runner's batch may crash it"
    assert len(spec.fingerprint) == 64


def test_a_name_without_a_tag_is_the_latest(server: OllamaServer) -> None:
    bare = ollama_api.identify("snowflake-arctic-embed2", host=server.url)
    assert bare == ollama_api.identify("snowflake-arctic-embed2:latest", host=server.url)
    assert with_tag("host:5000/someone/model") == "host:5000/someone/model:latest"
    assert with_tag("model:1b") == "model:1b"


def test_what_is_recorded_saves_all_questions_but_one(server: OllamaServer) -> None:
    spec = ollama_api.identify("all-minilm:22m", host=server.url)
    server.asked.clear()
    assert ollama_api.identify("all-minilm:22m", recorded=spec, host=server.url) == spec
    assert [request.path for request in server.asked] == ["/api/tags"]


def test_other_weights_under_the_same_name_are_another_model(server: OllamaServer) -> None:
    before = ollama_api.identify("all-minilm:22m", host=server.url)
    server.models["all-minilm:22m"].digest = "d2"
    after = ollama_api.identify("all-minilm:22m", recorded=before, host=server.url)
    assert after.fingerprint != before.fingerprint
    assert replace(after, fingerprint=before.fingerprint) == before


def test_other_weights_with_other_dimensions_are_measured_anew(server: OllamaServer) -> None:
    before = ollama_api.identify("all-minilm:22m", host=server.url)
    server.models["all-minilm:22m"] = Model("all-minilm:22m", dimensions=768, digest="d2")
    assert ollama_api.identify("all-minilm:22m", recorded=before, host=server.url).dimensions == 768


def test_what_is_recorded_of_another_model_does_not_count(server: OllamaServer) -> None:
    other = ollama_api.identify("snowflake-arctic-embed2", host=server.url)
    assert ollama_api.identify("all-minilm:22m", recorded=other, host=server.url).dimensions == 384


def test_a_server_that_does_not_say_the_dimensions_is_asked_for_one_embedding(server: OllamaServer) -> None:
    assert ollama_api.identify("silent", host=server.url).dimensions == 77
    assert len(server.requests("/api/embed")) == 1


@pytest.mark.parametrize("body", ["[]", "null", '{"model_info": [1], "parameters": null}'])
def test_a_server_that_says_nothing_usable_of_a_model_is_asked_for_one_embedding(
    server: OllamaServer, body: str
) -> None:
    server.fail("json", path="/api/show", body=body)
    assert ollama_api.identify("all-minilm:22m", host=server.url).dimensions == 384


def test_the_window_is_the_smaller_of_the_models_and_its_modelfiles(server: OllamaServer) -> None:
    server.models["all-minilm:22m"].parameters = "num_ctx                        256"
    assert ollama_api.identify("all-minilm:22m", host=server.url).max_tokens == 254


def test_a_model_that_is_not_there_is_named_with_the_command_that_fetches_it(server: OllamaServer) -> None:
    with pytest.raises(ModelMissing) as raised:
        ollama_api.identify("nomic-embed-text", host=server.url)
    assert raised.value.hint == "ollama pull nomic-embed-text:latest"


def test_offline_asks_nobody_and_returns_what_is_recorded(server: OllamaServer) -> None:
    spec = ollama_api.identify("all-minilm:22m", host=server.url)
    server.asked.clear()
    assert ollama_api.identify("all-minilm:22m", recorded=spec, offline=True, host=server.url) == spec
    unknown = ollama_api.identify("snowflake-arctic-embed2", recorded=spec, offline=True, host=server.url)
    assert (unknown.fingerprint, unknown.dimensions, unknown.query_prefix) == ("", 0, "query: ")
    assert server.asked == []


def test_the_server_is_the_one_of_ollama_host(server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
    assert embedders.identify("ollama:all-minilm:22m").dimensions == 384


def test_a_path_before_the_api_is_kept(server: OllamaServer) -> None:
    assert ollama_api.identify("all-minilm:22m", host=f"{server.url}/behind/proxy/").dimensions == 384
    assert server.asked[0].path == "/behind/proxy/api/tags"


def test_an_api_key_goes_with_each_question(server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "sesame")
    ollama_api.identify("all-minilm:22m", host=server.url)
    assert {request.authorization for request in server.asked} == {"Bearer sesame"}


@pytest.mark.parametrize("key", ["sesame\n", "s\u00e9same"])
def test_an_api_key_that_no_header_can_carry_is_refused_and_not_shown(
    server: OllamaServer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", key)
    with pytest.raises(InvalidValue, match="OLLAMA_API_KEY") as refused:
        ollama_api.identify("all-minilm:22m", host=server.url)
    assert key.strip() not in f"{refused.value.message} {refused.value.hint}"
    assert server.asked == []


_PARTS = st.sampled_from(
    [
        "http://",
        "https://",
        "",
        "1.2.3.4",
        "example.com",
        "[::1]",
        "localhost",
        ":8080",
        ":443",
        "/",
        "/a/b/",
        "0.0.0.0",
    ]
)


@given(st.lists(_PARTS, max_size=4).map("".join))
def test_a_host_is_read_as_the_client_reads_it(host: str) -> None:
    from ollama._client import _parse_host

    try:
        theirs = _parse_host(host)
    except ValueError:
        with pytest.raises(InvalidValue):
            base_url(host)
    else:
        assert base_url(host) == theirs


@given(st.text(string.printable + "é東.-:/@", max_size=16))
def test_any_other_host_is_read_likewise_or_refused(host: str) -> None:
    from ollama._client import _parse_host

    try:
        ours = base_url(host)
    except InvalidValue:
        return
    assert ours == _parse_host(host)


@pytest.mark.parametrize(
    "host", ["a..b", "x" * 64 + ".example", "127.0.0.1:port", "http://a b", "h/a b", "[::1"]
)
def test_what_is_no_address_is_refused_with_an_example(host: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        base_url(host)
    assert "127.0.0.1:11434" in raised.value.hint


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(InvalidValue) as raised:
        base_url("http://me:secret@host:port")
    assert "secret" not in raised.value.message


def test_the_documented_hosts_are_read_as_documented() -> None:
    assert base_url() == "http://127.0.0.1:11434"
    assert base_url("https://example.com") == "https://example.com:443"
    assert base_url("[::1]") == "http://[::1]:11434"


@pytest.mark.parametrize("text", ["", "plain words", "Grüße", "ﷺ", "数据库", "🚀🚀", "\ud800"])
def test_the_bound_covers_a_token_a_byte_also_after_normalising(text: str) -> None:
    import unicodedata

    assert most_tokens(text) > len(text.encode("utf-8", "replace"))
    assert most_tokens(text) > len(unicodedata.normalize("NFKC", text).encode("utf-8", "replace"))


@pytest.mark.parametrize("model", ["onnx", "onnx:", "torch:x", "", "all-MiniLM-L6-v2"])
def test_what_names_no_model_is_refused(model: str) -> None:
    with pytest.raises(InvalidValue):
        embedders.identify(model)


def test_an_unknown_embedded_model_is_refused_with_the_one_there_is() -> None:
    with pytest.raises(InvalidValue) as raised:
        embedders.identify("onnx:bert-large")
    assert "onnx:all-MiniLM-L6-v2" in raised.value.hint


@pytest.mark.parametrize("model", ["onnx:all-MiniLM-L6-v2", "ollama:all-minilm:22m"])
def test_identifying_a_model_imports_nothing_heavy(server: OllamaServer, model: str) -> None:
    import os
    import subprocess

    script = (
        "import sys\nfrom pipesched.pipeline import embedders\n"
        f"embedders.identify({model!r})\n"
        "heavy = {'numpy', 'onnxruntime', 'tokenizers', 'ollama', 'httpx', 'pydantic', 'stamina'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"OLLAMA_HOST": server.url})
