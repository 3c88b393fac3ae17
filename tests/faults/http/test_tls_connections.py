"""The same over TLS: half-open handshakes, broken ones, clients that reset or do not read."""

import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.http.connections import HEAD_SECONDS
from pipesched.http.server import StatusServer
from pipesched.http.tls import Certificate
from pipesched.jobs.model import IntervalTrigger, Job
from support.certificate import Pair, make_pair
from support.endpoint import exchange
from support.world import NOW, World, WorldSource

HALF_OPEN = 300
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
Address = tuple[str, int]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def address(world: World, pair: Pair) -> Iterator[Address]:
    certificate = Certificate(pair.cert, pair.key)
    server = StatusServer("127.0.0.1:0", token=None, source=WorldSource(world), certificate=certificate)
    yield server.start()
    server.stop()


def first_flight(pair: Pair) -> bytes:
    """What a client sends first: its ClientHello."""
    sent = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        pair.client().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost").do_handshake()
    return sent.read()


def ask(address: Address, pair: Pair, request: bytes = LIVEZ, context: ssl.SSLContext | None = None) -> bytes:
    with pair.connect(address, context) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(1 << 20):
            received += part
    return received


def seconds_to_ask(address: Address, pair: Pair, context: ssl.SSLContext) -> float:
    began = time.monotonic()
    assert ask(address, pair, context=context).startswith(b"HTTP/1.1 200 ")
    return time.monotonic() - began


@pytest.fixture
def half_open(address: Address, pair: Pair) -> Iterator[list[socket.socket]]:
    """A third has said nothing, a third half of its first flight, and a third has not answered the server's."""
    hello = first_flight(pair)
    clients = [socket.create_connection(address) for _ in range(HALF_OPEN)]
    for number, client in enumerate(clients):
        client.sendall((b"", hello[: len(hello) // 2], hello)[number % 3])
    yield clients
    for client in clients:
        client.close()


def test_300_half_open_handshakes_shut_nobody_out(
    address: Address, half_open: list[socket.socket], pair: Pair
) -> None:
    context = pair.client()
    times = sorted(seconds_to_ask(address, pair, context) for _ in range(10))
    assert times[0] < 0.1
    assert times[5] < 0.2, "handshake and answer"
    assert threading.active_count() < 20


@pytest.mark.slow
def test_half_open_handshakes_are_closed_in_time(half_open: list[socket.socket]) -> None:
    began = time.monotonic()
    for client in half_open:
        client.settimeout(HEAD_SECONDS + 3)
        with suppress(ConnectionError):
            while client.recv(65536):
                pass
    assert time.monotonic() - began <= HEAD_SECONDS + 2


def test_who_speaks_plain_http_is_told_and_gets_nothing_else(address: Address) -> None:
    for request in (LIVEZ, b"GET / HTTP/1.1\r\n", b"\x00", b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\n"):
        answer = exchange(address, request)
        assert (answer.status, answer.json["error"]["code"]) == (400, "https_only")


def test_the_guards_hold_over_tls(address: Address, pair: Pair) -> None:
    assert ask(address, pair, LIVEZ.replace(b"localhost", b"evil.example")).startswith(b"HTTP/1.1 421 ")
    assert ask(address, pair, LIVEZ.replace(b"GET", b"POST")).startswith(b"HTTP/1.1 405 ")
    head = ask(address, pair, LIVEZ.replace(b"GET", b"HEAD"))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")
    assert ask(address, pair, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 414 ")


def test_a_request_in_many_small_records_is_read(address: Address, pair: Pair) -> None:
    with pair.connect(address) as connection:
        for byte in LIVEZ:
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_broken_and_reset_handshakes_do_no_harm(
    address: Address, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    hello = first_flight(pair)
    record = b"\x16\x03\x01"
    for data in (b"", hello[:1], hello[:5], hello, hello + b"\x00" * 100, record + b"\xff\xff" + b"z" * 5000,
                 record + b"\x00\x00", hello[:9] + bytes(len(hello) - 9), b"\x16" * 4000):  # fmt: skip
        for reset in (False, True):
            client = socket.create_connection(address, timeout=10)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(data)
            if not reset:
                client.shutdown(socket.SHUT_WR)
                with suppress(ConnectionError):
                    while client.recv(65536):
                        pass
            client.close()
    for _ in range(5):  # gone after the handshake
        plain = socket.create_connection(address, timeout=10)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        pair.client().wrap_socket(plain, server_hostname="localhost").close()
    assert ask(address, pair).startswith(b"HTTP/1.1 200 ")
    assert caplog.records == []


def test_a_large_answer_arrives_whole_and_slow_readers_keep_nobody_waiting(
    world: World, address: Address, pair: Pair
) -> None:
    since = NOW - timedelta(days=1)
    triggers = ((f"j{n}", IntervalTrigger(seconds=3600 + n)) for n in range(2000))
    world.store.add(
        [
            Job(id=name, trigger=each, timezone="UTC", created_at=since, since=since)
            for name, each in triggers
        ],
        since,
    )
    request = b"GET /scheduler/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n"
    context = pair.client()
    with ExitStack() as stack:
        for _ in range(20):
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            plain.settimeout(20)
            plain.connect(address)
            slow = stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            slow.sendall(request)
        head, _, body = ask(address, pair, request).partition(b"\r\n\r\n")
        assert len(body) > 2_000_000
        assert f"Content-Length: {len(body)}\r\n".encode() in head
        assert min(seconds_to_ask(address, pair, context) for _ in range(5)) < 0.2


def test_nothing_is_left_open(tmp_path: Path, pair: Pair) -> None:
    def handles() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before, threads = handles(), threading.active_count()
    server = StatusServer(
        "127.0.0.1:0",
        token=None,
        source=WorldSource(World(tmp_path)),
        certificate=Certificate(pair.cert, pair.key),
    )
    address = server.start()
    for _ in range(20):
        ask(address, pair)
    clients = [pair.connect(address) for _ in range(5)]
    clients += [socket.create_connection(address) for _ in range(5)]
    server.stop()
    for client in clients:
        client.close()
    deadline = time.monotonic() + 5
    while (handles(), threading.active_count()) != (before, threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (handles(), threading.active_count()) == (before, threads)
