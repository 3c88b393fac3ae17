"""A target for notifications and pings: a real HTTP server on the loopback, which can be slow, failing or redirecting."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Webhook:
    """`status` is answered; `delay` seconds before it; `drip`: a byte of the head each 0.2 s, without end."""

    status: int = 200
    delay: float = 0.0
    drip: bool = False
    location: str = ""
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hook.requests.append(Request(self.command, self.path, body, dict(self.headers)))
                hook.ending.wait(hook.delay)
                try:
                    if hook.drip:
                        while not hook.ending.wait(0.2):
                            self.wfile.write(b"H")
                            self.wfile.flush()
                        return
                    self.send_response(hook.status)
                    if hook.location:
                        self.send_header("Location", hook.location)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # whoever asked has gone

            do_GET = do_POST = answer  # noqa: N815  its names

            def log_message(self, *_: object) -> None: ...

        self.ending = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def address(self) -> str:
        return "{}:{}".format(*self._server.server_address)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    @property
    def titles(self) -> list[str]:
        return [request.json["title"] for request in self.requests if request.method == "POST"]

    def wait_for(self, count: int, seconds: float = 20.0) -> list[Request]:
        deadline = time.monotonic() + seconds
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {count} requests: {self.requests}"
            time.sleep(0.02)
        return self.requests
