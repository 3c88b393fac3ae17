"""A local server that speaks the part of Ollama's API that embedding uses, with faults on demand.

Vectors are made from the words of a text and the model's digest, so that texts with common words are near each other and other
weights give other vectors. Also a program: `python tests/support/ollama_server.py --port 0 --model all-minilm --fault drip`.
"""

import argparse
import hashlib
import json
import math
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Json = dict[str, Any]


@dataclass
class Model:
    """A pulled model. `digest` stands for its weights. A token is a word here, and four bytes of a longer word."""

    name: str
    dimensions: int = 32
    context: int = 512
    digest: str = "d1"
    architecture: str = "bert"
    parameters: str = ""
    says_shape: bool = True
    embeds: bool = True


@dataclass
class Fault:
    """What goes wrong with requests to `path` (its end), `times` times or for ever (None).

    `when`: only where it is true of the inputs. kind: status, html, json, drip, hang, delay, reset, zero, dimension, count, null,
    nan_literal, nan (500, as the Go encoder says), crash (500 EOF).
    """

    kind: str
    times: int | None = None
    path: str = "/api/embed"
    when: Callable[[list[str]], bool] = lambda inputs: True
    status: int = 500
    body: str = ""
    seconds: float = 0.0


@dataclass
class Asked:
    path: str
    inputs: list[str]
    body: Json
    authorization: str | None = None
    at: float = field(default_factory=time.monotonic)


def tokens(text: str) -> int:
    return sum(max(1, math.ceil(len(word.encode()) / 4)) for word in text.split()) or 1


@lru_cache(maxsize=100_000)
def _direction(word: str, dimensions: int, digest: str) -> tuple[float, ...]:
    seed = int.from_bytes(hashlib.sha256(f"{digest}\0{word}".encode()).digest()[:8])
    draw = random.Random(seed)
    return tuple(draw.gauss(0, 1) for _ in range(dimensions))


def vector(text: str, dimensions: int, digest: str) -> list[float]:
    words = re.findall(r"\w+", text.lower()) or [text]
    sums = [
        math.fsum(column) for column in zip(*(_direction(w, dimensions, digest) for w in words), strict=True)
    ]
    norm = math.sqrt(math.fsum(value * value for value in sums)) or 1.0
    return [value / norm for value in sums]


class OllamaServer:
    """Started by `with`, on a free port; `url` is what OLLAMA_HOST wants."""

    def __init__(self, *models: Model, port: int = 0) -> None:
        self.models = {model.name: model for model in models or (Model("all-minilm:latest"),)}
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.loading_seconds = 0.0
        self.most_at_once = 0
        self._at_once = 0
        self._loaded = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = _Http(("127.0.0.1", port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, kind: str, **settings: Any) -> Fault:
        fault = Fault(kind, **settings)
        self.faults.append(fault)
        return fault

    def embedded(self) -> list[str]:
        """Every text that was asked for, canaries included, in the order of the requests."""
        return [
            text for request in self.asked if request.path.endswith("/api/embed") for text in request.inputs
        ]

    def requests(self, path: str = "/api/embed") -> list[Asked]:
        return [request for request in self.asked if request.path.endswith(path)]

    def pause(self, seconds: float) -> None:
        """Waits, but not longer than the server lives."""
        self._over.wait(seconds)

    def due(self, path: str, inputs: list[str]) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times != 0 and path.endswith(fault.path) and fault.when(inputs):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def entered(self, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)

    def left(self) -> None:
        with self._lock:
            self._at_once -= 1

    def load(self) -> None:
        if not self._loaded:
            self.pause(self.loading_seconds)
            self._loaded = True


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], owner: OllamaServer) -> None:
        self.owner = owner
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what many of the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        given = body.get("input", [])
        inputs = [given] if isinstance(given, str) else given
        owner.entered(Asked(self.path, inputs, body, self.headers.get("Authorization")))
        try:
            fault = owner.due(self.path, inputs)
            if fault is None or not self._goes_wrong(fault):
                self._goes_well(body, inputs, fault)
        finally:
            owner.left()

    def _goes_wrong(self, fault: Fault) -> bool:
        """Whether that was the whole answer."""
        match fault.kind:
            case "status":
                self._send(fault.status, (fault.body or '{"error":"out of order"}').encode())
            case "html":
                self._send(
                    fault.status if fault.status != 500 else 200, b"<html>Welcome!</html>", "text/html"
                )
            case "json":
                self._send(200, fault.body.encode())
            case "nan":
                self._error(500, "failed to encode response: json: unsupported value: NaN")
            case "crash":
                self._error(500, 'do embedding request: Post "http://127.0.0.1:33967/embedding": EOF')
            case "reset":
                self.close_connection = True
            case "hang":
                self.server.owner.pause(fault.seconds or 600)
                self.close_connection = True
            case "drip":
                self._drip(fault)
            case _:
                return False
        return True

    def _goes_well(self, body: Json, inputs: list[str], fault: Fault | None) -> None:
        owner = self.server.owner
        if fault is not None and fault.kind == "delay":
            owner.pause(fault.seconds)
        if self.path.endswith("/api/tags"):
            self._send_json({"models": [_listed(model) for model in owner.models.values()]})
            return
        if self.path.endswith("/api/version"):
            self._send_json({"version": "0.31.2"})
            return
        name = body.get("model", "")
        model = owner.models.get(name if ":" in name else f"{name}:latest")
        if model is None:
            self._error(404, f'model "{name}" not found, try pulling it first')
        elif self.path.endswith("/api/show"):
            self._send_json(_shown(model))
        elif self.path.endswith("/api/embed"):
            self._embed(model, body, inputs, fault)
        else:
            self._send(404, b"404 page not found", "text/plain")

    def _embed(self, model: Model, body: Json, inputs: list[str], fault: Fault | None) -> None:
        if not model.embeds:
            self._error(501, "this model does not support embeddings")
            return
        self.server.owner.load()
        if body.get("truncate") is False and any(tokens(text) > model.context for text in inputs):
            self._error(400, "the input length exceeds the context length")
            return
        # As the real one does, what is over the window is cut without a word.
        kept = [
            text if tokens(text) <= model.context else " ".join(text.split()[: model.context])
            for text in inputs
        ]
        vectors: list[Any] = [vector(text, model.dimensions, model.digest) for text in kept]
        match fault.kind if fault else "":
            case "zero":
                vectors = [[0.0] * model.dimensions for _ in vectors]
            case "dimension":
                vectors = [each[:-1] for each in vectors]
            case "count":
                vectors = vectors[:-1]
            case "null":
                vectors = [None for _ in vectors]
            case "nan_literal":
                vectors = [[math.nan, *each[1:]] for each in vectors]
        count = sum(map(tokens, kept))
        self._send_json(
            {"model": model.name, "embeddings": vectors, "total_duration": 1, "prompt_eval_count": count}
        )

    def _drip(self, fault: Fault) -> None:
        """Bytes of a good answer's head, then of its body, one every tenth of a second, without end."""
        self.close_connection = True
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        dripped = head if fault.body == "head" else b""
        if not dripped:
            self.wfile.write(head)
        for _ in range(int((fault.seconds or 600) * 10)):
            self.wfile.write(dripped[:1] or b" ")
            self.wfile.flush()
            dripped = dripped[1:] if len(dripped) > 30 else dripped
            self.server.owner.pause(0.1)
            if self.server.owner._over.is_set():
                return

    def _error(self, status: int, message: str) -> None:
        self._send(status, json.dumps({"error": message}).encode())

    def _send_json(self, answer: Json) -> None:
        self._send(200, json.dumps(answer).encode())

    def _send(self, status: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


def _listed(model: Model) -> Json:
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": "2026-01-02T03:04:05Z",
        "size": 45_960_996,
        "digest": model.digest,
        "details": {"format": "gguf", "family": model.architecture, "quantization_level": "F16"},
    }


def _shown(model: Model) -> Json:
    information = {
        "general.architecture": model.architecture,
        f"{model.architecture}.context_length": model.context,
        f"{model.architecture}.embedding_length": model.dimensions,
    }
    return {
        "modelfile": "",
        "parameters": model.parameters,
        "details": {"family": model.architecture},
        "model_info": information if model.says_shape else {},
        "capabilities": ["embedding"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=11434)
    parser.add_argument("--model", action="append", help="NAME:TAG, several times")
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--digest", default="d1")
    parser.add_argument("--fault", action="append", default=[], help="a kind of Fault, several times")
    given = parser.parse_args()
    names = given.model or ["all-minilm:latest", "snowflake-arctic-embed2:latest"]
    models = [
        Model(name if ":" in name else f"{name}:latest", given.dimensions, given.context, given.digest)
        for name in names
    ]
    with OllamaServer(*models, port=given.port) as server:
        for kind in given.fault:
            server.fail(kind)
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
