"""Every way in which an Ollama server fails, caused through the real client over a real socket."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from pipesched.errors import ConfigurationError, ModelMissing, ServiceUnavailable, exit_status
from pipesched.pipeline import embedders
from pipesched.pipeline.embedders import ollama_api
from pipesched.pipeline.embedders.ollama import CANARY, Effort, OllamaEmbedder
from pipesched.pipeline.embedders.ollama_api import Patience
from pipesched.pipeline.model import EmbeddingFailure, ModelSpec
from support.ollama_server import Model, OllamaServer

QUICK = Effort(connect=0.3, request=0.8, attempts=3, first_pause=0.01, longest_pause=0.02, jitter=0.0)
PATIENCE = Patience(connect=0.3, total=1.0, pauses=(0.01, 0.01))
TEXTS = [f"text number {number} about subject {number % 7}" for number in range(64)]
POISON = "POISON"


def poisonous(inputs: list[str]) -> bool:
    return any(POISON in text for text in inputs)


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer(Model("all-minilm:latest", dimensions=24, context=100)) as running:
        yield running


@pytest.fixture
def opened(server: OllamaServer) -> Iterator[Callable[..., OllamaEmbedder]]:
    made: list[OllamaEmbedder] = []

    def open_(effort: Effort = QUICK, name: str = "all-minilm") -> OllamaEmbedder:
        made.append(
            OllamaEmbedder(ollama_api.identify(name, host=server.url), host=server.url, effort=effort)
        )
        server.asked.clear()
        return made[-1]

    yield open_
    for each in made:
        each.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spec_of(dimensions: int = 24) -> ModelSpec:
    return ModelSpec("ollama:all-minilm:latest", "f", dimensions, 98)


def failures(results: list) -> dict[int, str]:
    return {at: each.code for at, each in enumerate(results) if isinstance(each, EmbeddingFailure)}


class TestNobodyThere:
    def test_a_refused_connection_ends_soon_with_69_and_says_what_to_start(self) -> None:
        host = f"127.0.0.1:{free_port()}"
        with (
            pytest.raises(ServiceUnavailable) as raised,
            OllamaEmbedder(spec_of(), host=host, effort=QUICK) as embedder,
        ):
            embedder.embed(["text"])
        assert exit_status(raised.value) == 69
        assert host in raised.value.message
        assert "ollama serve" in raised.value.hint
        assert "OLLAMA_HOST" in raised.value.hint

    def test_identifying_at_a_refused_connection_says_the_same(self) -> None:
        with pytest.raises(ServiceUnavailable) as raised:
            ollama_api.identify("all-minilm", host=f"127.0.0.1:{free_port()}", patience=PATIENCE)
        assert "refused" in raised.value.message
        assert "ollama serve" in raised.value.hint

    @pytest.mark.parametrize(
        "ask",
        [
            lambda embedder, host: embedder.embed(["text"]),
            lambda embedder, host: ollama_api.identify("all-minilm", host=host, patience=PATIENCE),
        ],
        ids=["embed", "identify"],
    )
    def test_a_black_hole_ends_by_the_connect_timeout(
        self, ask: Callable[[OllamaEmbedder, str], object]
    ) -> None:
        # A listening socket whose queue is full drops what comes, as a firewall does.
        with socket.socket() as hole:
            hole.bind(("127.0.0.1", 0))
            hole.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(hole.getsockname())
            host = f"127.0.0.1:{hole.getsockname()[1]}"
            begun = time.monotonic()
            with (
                OllamaEmbedder(spec_of(), host=host, effort=QUICK) as embedder,
                pytest.raises(ServiceUnavailable),
            ):
                ask(embedder, host)
            assert 0.3 < time.monotonic() - begun < 8
            for filler in fillers:
                filler.close()

    def test_a_name_that_does_not_resolve_is_unreachable(self) -> None:
        with (
            pytest.raises(ServiceUnavailable, match=r"no-such-host\.invalid"),
            OllamaEmbedder(spec_of(), host="no-such-host.invalid", effort=QUICK) as embedder,
        ):
            embedder.embed(["text"])

    def test_a_proxy_in_the_environment_is_not_asked(
        self, opened: Callable[..., OllamaEmbedder], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        assert failures(opened().embed(["text"])) == {}


class TestTransient:
    @pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
    def test_a_busy_server_is_asked_again(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder], status: int
    ) -> None:
        embedder = opened()
        server.fail("status", status=status, times=2)
        assert failures(embedder.embed(["text"])) == {}
        assert len(server.requests()) == 3

    def test_a_server_that_stays_busy_ends_with_69_after_bounded_tries(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.fail("status", status=503, body='{"error":"server busy, please try again"}')
        with pytest.raises(ServiceUnavailable, match="server busy"):
            embedder.embed(TEXTS)
        assert len(server.requests()) == QUICK.attempts, "one batch, no bisection of a server that is busy"

    def test_a_connection_closed_without_an_answer_is_asked_again(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.fail("reset", times=1)
        assert failures(embedder.embed(["text"])) == {}

    def test_a_runner_that_crashed_once_is_asked_again(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.fail("crash", times=1)
        assert failures(embedder.embed(TEXTS[:8])) == {}
        assert len(server.requests()) == 2

    def test_identifying_at_a_busy_server_asks_again(self, server: OllamaServer) -> None:
        server.fail("status", status=503, times=2, path="/api/tags")
        assert ollama_api.identify("all-minilm", host=server.url, patience=PATIENCE).dimensions == 24

    def test_pauses_between_tries_grow(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened(Effort(attempts=4, first_pause=0.05, longest_pause=1.0, jitter=0.0))
        server.fail("status", status=503)
        with pytest.raises(ServiceUnavailable):
            embedder.embed(["text"])
        times = [request.at for request in server.requests()]
        pauses = [after - before for before, after in pairwise(times)]
        assert pauses[0] > 0.045
        assert pauses[1] > 0.095
        assert pauses[2] > 0.195


class TestSlow:
    @pytest.mark.parametrize("part", ["head", "body"])
    def test_an_answer_that_drips_ends_by_the_total_deadline(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder], part: str
    ) -> None:
        embedder = opened()
        server.fail("drip", body=part)
        begun = time.monotonic()
        with pytest.raises(ServiceUnavailable, match=r"within 0\.8 s"):
            embedder.embed(["text"])
        assert time.monotonic() - begun < 8
        assert len(server.requests()) == 1, "what took its whole time is not asked again"

    @pytest.mark.parametrize("part", ["head", "body"])
    @pytest.mark.parametrize("path", ["/api/tags", "/api/show"])
    def test_identifying_ends_by_its_total_deadline(self, server: OllamaServer, part: str, path: str) -> None:
        server.fail("drip", body=part, path=path)
        begun = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="in time"):
            ollama_api.identify("all-minilm", host=server.url, patience=PATIENCE)
        assert time.monotonic() - begun < 8

    def test_a_server_that_accepts_and_says_nothing_ends_by_the_total_deadline(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.fail("hang")
        begun = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            embedder.embed(TEXTS)
        assert time.monotonic() - begun < 8

    def test_a_cold_load_much_longer_than_the_connect_timeout_passes(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened(Effort(connect=0.1, request=5.0))
        server.loading_seconds = 1.0
        assert failures(embedder.embed(TEXTS)) == {}
        assert server.requests()[1].at - server.requests()[0].at >= 1.0, (
            "others wait until the model is loaded"
        )

    def test_the_default_deadline_has_room_for_a_load_of_a_minute_and_more(self) -> None:
        assert Effort().request >= 120

    def test_closing_ends_what_is_under_way_in_another_thread(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened(Effort(request=60, attempts=1))
        server.fail("hang")
        ended = threading.Event()

        def embed() -> None:
            with pytest.raises(ServiceUnavailable):
                embedder.embed(["text"])
            ended.set()

        thread = threading.Thread(target=embed)
        thread.start()
        while not server.requests():
            time.sleep(0.01)
        embedder.close()
        assert ended.wait(5)
        thread.join()

    def test_the_first_failure_ends_the_rest(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.fail("status", status=503, when=lambda inputs: TEXTS[8] in inputs)
        many = [f"{text} {copy}" for copy in range(20) for text in TEXTS]
        many[8] = TEXTS[8]
        with pytest.raises(ServiceUnavailable):
            embedder.embed(many)
        assert len(server.embedded()) < len(many) / 2

    def test_after_a_failure_nobody_tries_again(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened(Effort(attempts=1000, first_pause=0.02, longest_pause=0.02, jitter=0.0, batch=1))
        embedder.embed(["warm"])
        server.fail("status", status=503, when=lambda inputs: inputs == ["busy"])
        server.fail("html", when=lambda inputs: inputs == ["garbage"])
        with pytest.raises(ServiceUnavailable, match="not an Ollama server"):
            embedder.embed(["garbage", "busy"])
        time.sleep(0.2)
        asked = len(server.requests())
        time.sleep(0.2)
        assert len(server.requests()) == asked

    def test_two_requests_are_in_flight_and_no_more(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened(Effort(in_flight=2))
        server.fail("delay", seconds=0.03)
        embedder.embed(TEXTS)
        assert server.most_at_once == 2


class TestModel:
    def test_a_missing_model_is_one_clear_message_that_names_the_pull(self, server: OllamaServer) -> None:
        spec = ollama_api.identify("all-minilm", host=server.url)
        server.models.clear()
        server.asked.clear()
        with (
            pytest.raises(ModelMissing) as raised,
            OllamaEmbedder(spec, host=server.url, effort=QUICK) as embedder,
        ):
            embedder.embed(TEXTS)
        assert raised.value.hint == "ollama pull all-minilm:latest"
        assert exit_status(raised.value) == 69
        assert len(server.requests()) == 1

    def test_a_model_that_cannot_embed_is_a_matter_of_configuration(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.models["all-minilm:latest"].embeds = False
        with pytest.raises(ConfigurationError) as raised:
            embedder.embed(TEXTS)
        assert exit_status(raised.value) == 78
        assert "--embedding-model" in raised.value.hint

    def test_the_same_name_with_other_weights_has_another_fingerprint(
        self, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        before = embedders.identify("ollama:all-minilm")
        server.models["all-minilm:latest"].digest = "d2"
        after = embedders.identify("ollama:all-minilm", recorded=before)
        assert after.fingerprint != before.fingerprint

    def test_other_dimensions_than_at_the_start_are_refused(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.models["all-minilm:latest"].dimensions = 32
        with pytest.raises(ServiceUnavailable, match="32 numbers instead of 24"):
            embedder.embed(TEXTS)

    def test_a_spec_made_offline_is_not_embedded_with(self) -> None:
        with pytest.raises(ValueError, match="offline"):
            embedders.open_embedder(embedders.identify("ollama:all-minilm", offline=True))


class TestText:
    def test_one_text_that_gives_nan_costs_itself_and_no_other(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        expected = embedder.embed(TEXTS)
        server.fail("nan", when=poisonous)
        results = embedder.embed([*TEXTS[:37], f"{POISON} text", *TEXTS[38:]])
        assert failures(results) == {37: "not_finite"}
        assert all(np.array_equal(results[at], expected[at]) for at in range(64) if at != 37)

    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            ("nan", "not_finite"),
            ("nan_literal", "not_finite"),
            ("null", "not_finite"),
            ("zero", "zero_vector"),
            ("crash", "crashed"),
        ],
    )
    def test_bad_texts_are_told_from_good_ones_wherever_they_are(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder], kind: str, code: str
    ) -> None:
        embedder = opened()
        bad = {0, 13, 14, 63}
        server.fail(kind, when=poisonous)
        results = embedder.embed([f"{text} {POISON}" if at in bad else text for at, text in enumerate(TEXTS)])
        assert failures(results) == dict.fromkeys(bad, code)

    @pytest.mark.parametrize("kind", ["nan", "nan_literal", "null", "zero", "crash"])
    def test_a_model_that_embeds_nothing_at_all_is_a_failure_of_the_service(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder], kind: str
    ) -> None:
        embedder = opened()
        server.fail(kind)
        with pytest.raises(ServiceUnavailable, match="cannot embed anything"):
            embedder.embed(TEXTS)
        assert CANARY in server.embedded()
        assert len(server.requests()) < 10

    def test_zeros_that_come_of_a_batch_only_are_asked_for_again(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.fail("zero", when=lambda inputs: len(inputs) > 1)
        assert failures(embedder.embed(TEXTS[:16])) == {}

    def test_a_text_over_the_window_is_embedded_in_pieces_and_its_siblings_once(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        long = "many words follow one another here " * 60
        results = embedder.embed([*TEXTS[:10], long, *TEXTS[10:20]])
        assert failures(results) == {}
        assert [server.embedded().count(text) for text in TEXTS[:20]] == [1] * 20
        assert np.array_equal(results[10], embedder.embed([long])[0])
        assert all(request.body["truncate"] is False for request in server.requests())

    def test_an_overflow_that_could_not_be_foreseen_splits_the_batch_and_the_text(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.models["all-minilm:latest"].context = 20
        dense = "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9"
        results = embedder.embed([*TEXTS[:3], dense, *TEXTS[3:6]])
        assert failures(results) == {}
        assert np.array_equal(results[3], embedder.embed([dense])[0])
        halves = [text for text in server.embedded() if dense.startswith(text) or dense.endswith(text)]
        assert {dense[:35], dense[36:]} <= set(halves), (
            "cut at the space nearest its middle, and nothing dropped"
        )

    def test_a_runner_that_crashes_on_length_gets_pieces(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        server.models["all-minilm:latest"].context = 4000
        embedder = opened()
        server.fail("crash", when=lambda inputs: any(len(text) > 600 for text in inputs))
        long = "a sentence that goes on and on and on " * 40
        results = embedder.embed(["short", long])
        assert failures(results) == {}
        assert embedder.embed([long])[0] @ results[1] == pytest.approx(1)

    def test_a_text_that_no_cutting_helps_fails_alone(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.fail(
            "status",
            status=400,
            body='{"error":"the input length exceeds the context length"}',
            when=poisonous,
        )
        results = embedder.embed(["one", POISON, "two"])
        assert failures(results) == {1: "too_long"}


class TestGarbage:
    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("html", {}),
            ("html", {"status": 404}),
            ("html", {"status": 301}),
            ("json", {"body": "[]"}),
            ("json", {"body": '"embeddings"'}),
            ("json", {"body": "{"}),
            ("json", {"body": ""}),
            ("count", {}),
            ("status", {"status": 401, "body": "unauthorized"}),
            ("status", {"status": 405}),
        ],
    )
    def test_what_is_no_answer_of_ollama_is_refused_at_once(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder], kind: str, settings: dict
    ) -> None:
        embedder = opened()
        server.fail(kind, **settings)
        with pytest.raises(ServiceUnavailable) as raised:
            embedder.embed(TEXTS)
        assert not isinstance(raised.value, ModelMissing)
        assert "OLLAMA_HOST" in raised.value.hint
        assert len(server.requests()) == 1

    def test_a_vector_too_few_numbers_long_is_refused(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.fail("dimension")
        with pytest.raises(ServiceUnavailable, match="23 numbers instead of 24"):
            embedder.embed(TEXTS)

    @pytest.mark.parametrize(
        "body", ["[]", "{}", '{"models":[1]}', '{"models":[{"name":"x"}]}', "<html>", "null"]
    )
    def test_identifying_at_another_kind_of_server_says_so(self, server: OllamaServer, body: str) -> None:
        server.fail("json", body=body, path="/api/tags")
        with pytest.raises(ServiceUnavailable, match="not an Ollama server"):
            ollama_api.identify("all-minilm", host=server.url, patience=PATIENCE)

    def test_a_server_that_speaks_no_http_is_named(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def answer() -> None:
                for _ in range(3):
                    connection, _address = listening.accept()
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                    connection.close()

            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            host = f"127.0.0.1:{listening.getsockname()[1]}"
            with (
                pytest.raises(ServiceUnavailable, match=host),
                OllamaEmbedder(spec_of(), host=host, effort=QUICK) as embedder,
            ):
                embedder.embed(["text"])
            thread.join(5)

    def test_a_query_that_cannot_be_embedded_is_an_error(
        self, server: OllamaServer, opened: Callable[..., OllamaEmbedder]
    ) -> None:
        embedder = opened()
        server.fail("nan", when=poisonous)
        with pytest.raises(ServiceUnavailable, match="the query could not be embedded"):
            embedder.embed_query(POISON)
