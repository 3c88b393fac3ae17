"""Whatever bytes come, on a plain port or one for TLS: a whole answer or a closed connection, soon, and no traceback."""

import json
import logging
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.http.rate import RateLimit
from pipesched.http.server import StatusServer
from pipesched.http.tls import Certificate
from support.certificate import make_pair
from support.endpoint import get
from support.world import NOW, World, WorldSource

Address = tuple[str, int]
STATUSES = {200, 400, 404, 405, 414, 421, 431, 503, 505}
PATHS = (
    "/", "/?refresh=off", "/health", "/livez", "/readyz", "/scheduler/jobs", "/pipeline/reports", "/pipeline/reports?limit=",
    "/pipeline/reports/", "/pipeline/logs/", "/metrics", "*", "//", "/%2e%2e/", "http://localhost/health", "localhost:1",
)  # fmt: skip

junk = st.binary(max_size=30)
words = st.one_of(
    junk,
    st.sampled_from([b" ", b"\t", b"\r\n", b"\n", b"\r", b"\x00", b"%", b"%00", b"\xc3\x28", b"?", b"#"]),
)
methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"get", b"", b"GET GET"])
targets = st.builds(lambda path, tail: path.encode() + tail, st.sampled_from(PATHS), words)
versions = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"HTTP/1.", b"ICY", b""])
hosts = st.sampled_from(
    [
        b"localhost",
        b"127.0.0.1:8765",
        b"[::1]",
        b"[::1",
        b"evil.example",
        b"",
        b"a b",
        b"\xff",
        b"localhost:x",
    ]
)
lines = st.one_of(
    st.builds(lambda host: b"Host: " + host, hosts),
    st.builds(lambda name, value: name + b": " + value, words, words),
    st.builds(lambda value: b"Authorization: " + value, words),
    st.builds(lambda size: b"Content-Length: " + size, words),
    st.just(b"Transfer-Encoding: chunked"),
    st.just(b" folded"),
    junk,
)
requests = st.builds(
    lambda method, target, version, fields, end, body: (
        end.join([method + b" " + target + b" " + version, *fields, b""]) + end + body
    ),
    methods, targets, versions, st.lists(lines, max_size=6), st.sampled_from([b"\r\n", b"\n", b"\r", b"\n\r"]), junk,
)  # fmt: skip
records = st.builds(
    lambda kind, version, size, body: kind + version + size.to_bytes(2, "big") + body,
    st.sampled_from([b"\x16", b"\x15", b"\x17", b"\x80"]),
    st.sampled_from([b"\x03\x01", b"\x03\x03", b"\x03\x00", b"\xff\xff"]),
    st.integers(0, 0xFFFF),
    st.binary(max_size=600),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("blog"))
    made.job("nightly")
    made.ran("nightly", NOW, report=True)
    return made


@pytest.fixture(scope="module")
def plain(world: World) -> Iterator[Address]:
    limit = RateLimit(1e6, 1_000_000)
    server = StatusServer("127.0.0.1:0", token=None, source=WorldSource(world), limit=limit)
    yield server.start()
    server.stop()


@pytest.fixture(scope="module")
def secure(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    pair = make_pair(tmp_path_factory.mktemp("tls"))
    certificate = Certificate(pair.cert, pair.key)
    server = StatusServer("127.0.0.1:0", token=None, source=WorldSource(world), certificate=certificate)
    yield server.start()
    server.stop()


class Complaints(logging.Handler):
    """What the endpoint logs as worse than information."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


@pytest.fixture(scope="module")
def complaints() -> Iterator[Complaints]:
    found = Complaints()
    logging.getLogger("pipesched").addHandler(found)
    yield found
    logging.getLogger("pipesched").removeHandler(found)


def talk(address: Address, pieces: list[bytes]) -> bytes:
    """All that comes back on one connection, until the endpoint closes it; a reset counts as closed."""
    began = time.monotonic()
    received = b""
    with socket.create_connection(address, timeout=4) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(65536):
                received += part
        except TimeoutError:
            raise
        except OSError:  # reset, and so closed
            pass
    assert time.monotonic() - began < 3
    return received


def is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in rest)
    status = int(first.split(" ")[1])
    assert status in STATUSES, first
    assert fields["X-Content-Type-Options"] == "nosniff"
    if 400 <= status < 500 and body:
        assert json.loads(body)["error"]["code"]
    return len(body) in {0, int(fields["Content-Length"])}


@given(st.lists(st.one_of(requests, junk), min_size=1, max_size=3))
def test_requests_from_hell(plain: Address, complaints: Complaints, pieces: list[bytes]) -> None:
    answer = talk(plain, pieces)
    assert not answer or is_whole(answer)
    assert complaints.seen == []


@given(st.lists(st.one_of(records, requests, junk), min_size=1, max_size=3))
def test_handshakes_from_hell(secure: Address, complaints: Complaints, pieces: list[bytes]) -> None:
    answer = talk(secure, pieces)
    # A TLS alert, or in plain HTTP that this is HTTPS; never a document.
    assert answer[:1] in {b"", b"\x15"} or answer.startswith(b"HTTP/1.1 400 "), answer
    assert complaints.seen == []


def test_the_endpoint_has_survived(plain: Address) -> None:
    assert get(plain, "/livez").status == 200
    assert get(plain, "/readyz").status in {200, 503}
