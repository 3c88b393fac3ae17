"""A client that asks too often is told so; the others, and whoever asks whether the daemon lives, notice nothing."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipesched.http.rate import BURST, RateLimit
from pipesched.http.server import StatusServer
from support.endpoint import Answer, get
from support.world import World, WorldSource

Address = tuple[str, int]


@pytest.fixture
def source(tmp_path: Path) -> WorldSource:
    return WorldSource(World(tmp_path))


@pytest.fixture
def address(source: WorldSource) -> Iterator[Address]:
    server = StatusServer("127.0.0.1:0", token=None, source=source, limit=RateLimit(4, 5))
    yield server.start()
    server.stop()


def crowd(address: Address, path: str, count: int) -> list[Answer]:
    return [get(address, path) for _ in range(count)]


def test_too_many_requests_are_told_when_to_come_again(address: Address) -> None:
    answers = crowd(address, "/readyz", 20)
    refused = [answer for answer in answers if answer.status == 429]
    assert [answer.status for answer in answers[:5]] == [200] * 5
    assert len(refused) >= 10
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert refused[0].json["error"]["code"] == "too_many_requests"
    time.sleep(0.3)
    assert get(address, "/readyz").status == 200


def test_livez_is_never_refused(address: Address) -> None:
    assert get(address, "/nothing").status == 404
    crowd(address, "/readyz", 10)
    assert {answer.status for answer in crowd(address, "/livez", 50)} == {200}


def test_another_address_has_its_own_share(address: Address) -> None:
    assert crowd(address, "/readyz", 10)[-1].status == 429
    with socket.create_connection(address, timeout=10, source_address=("127.0.0.2", 0)) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_guesses_at_the_token_count(source: WorldSource) -> None:
    server = StatusServer("127.0.0.1:0", token="s3cret", source=source, limit=RateLimit(0.1, 5))
    address = server.start()
    try:
        guesses = [get(address, "/health", Authorization=f"Bearer {n}").status for n in range(10)]
        assert guesses == [401] * 5 + [429] * 5
        late = get(address, "/health", Authorization="Bearer s3cret")
        assert late.status == 429, "the right one has to wait as well"
        assert 1 <= int(late.headers["retry-after"]) <= 10
        assert get(address, "/livez").status == 200
    finally:
        server.stop()


def test_a_burst_of_reloads_is_served_by_default(source: WorldSource) -> None:
    server = StatusServer("127.0.0.1:0", token=None, source=source)
    try:
        assert {answer.status for answer in crowd(server.start(), "/", BURST)} == {200}
    finally:
        server.stop()
