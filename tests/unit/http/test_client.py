"""`health --url`: asking an endpoint that answers, refuses, talks nonsense, or is not there."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipesched.errors import InvalidValue
from pipesched.http.client import ask_health, health_url
from pipesched.http.server import StatusServer
from support.world import World, WorldSource


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765/health"),
        ("http://127.0.0.1:8765/", "http://127.0.0.1:8765/health"),
        ("127.0.0.1:8765", "http://127.0.0.1:8765/health"),
        ("https://blog.example/scheduler/health", "https://blog.example/scheduler/health"),
        ("http://[::1]:1/health/", "http://[::1]:1/health"),
    ],
)
def test_a_url_may_be_the_root_or_the_path(given: str, asked: str) -> None:
    assert health_url(given) == asked


@pytest.mark.parametrize(
    "url", ["", "ftp://a", "file:///etc/passwd", "http://", "http://a:x", "http://a:70000", "http://[::1", "http://a b", "http://é"]
)  # fmt: skip
def test_what_is_no_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(InvalidValue):
        health_url(url)


def test_a_token_in_the_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidValue) as caught:
        health_url("http://user:s3cret@localhost:1")
    assert "s3cret" not in caught.value.message + caught.value.hint


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[tuple[str, list[str]]]:
    """A foreign server that always says this; its URL and the Authorizations that it was sent."""
    sent: list[str] = []

    class Foreign(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Foreign) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()


def test_an_endpoints_checks_are_taken_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.job("nightly")
    for token in (None, "s3cret", "pässwörd", "пароль", "漢字 🎉"):
        server = StatusServer("127.0.0.1:0", token=token, source=WorldSource(world))
        server.start()
        try:
            found = ask_health(server.url, token=token)
            assert found.status == "fail", "a job and no scheduler"
            assert found.checks["scheduler"].status == "fail"
            assert found.checks["scheduler"].hint
            if token:
                refused = ask_health(server.url, token="wrong").checks["endpoint"]
                assert (refused.status, refused.hint) == ("fail", "set PIPESCHED_HTTP_TOKEN to the daemon's")
        finally:
            server.stop()


def test_a_token_that_no_header_can_hold_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidValue) as caught:
        ask_health("http://127.0.0.1:1", token="s3cret\nпароль")
    assert "PIPESCHED_HTTP_TOKEN" in caught.value.message
    assert not {"s3cret", "пароль"} & set((caught.value.message + caught.value.hint).split())


def test_nobody_there_fails_with_a_message() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        check = ask_health(f"http://127.0.0.1:{reserved.getsockname()[1]}", token=None).checks["endpoint"]
    assert check.status == "fail"
    assert "unreachable" in check.message
    assert "refused" in check.message


def test_an_endpoint_that_never_answers_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        check = ask_health(url, token=None, timeout=0.2).checks["endpoint"]
    assert "timed out" in check.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>hello</html>"),
        (200, b"[]"),
        (200, b'{"checks": []}'),
        (200, b'{"checks": {"a": {"status": "fine", "message": ""}}}'),
        (200, b"\xff"),
        (503, b"busy"),
        (404, b"{}"),
        (500, b""),
    ],
)
def test_a_foreign_server_fails(status: int, body: bytes) -> None:
    with answering(status, body) as (url, _):
        found = ask_health(url, token=None)
    assert list(found.checks) == ["endpoint"]
    assert found.status == "fail"


def test_a_redirect_is_not_followed_with_the_token() -> None:
    with answering(200, b"{}") as (elsewhere, sent), answering(302, b"", Location=elsewhere) as (url, _):
        assert ask_health(url, token="s3cret").status == "fail"
        assert sent == []
