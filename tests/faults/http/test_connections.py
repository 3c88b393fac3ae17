"""Clients that do not behave: half-open, slow, huge, many. The probes answer all the same, and nothing stays open."""

import resource
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.http.connections import HEAD_SECONDS, MAX_CONNECTIONS, MAX_WAITING, WORKERS
from pipesched.http.rate import RateLimit
from pipesched.http.server import StatusServer
from pipesched.jobs.model import IntervalTrigger, Job, JobFile
from support.endpoint import exchange, get
from support.world import NOW, World, WorldSource

HALF_OPEN = 300


class StuckSource(WorldSource):
    """A source whose documents take as long as the test wants: a slow disk, a locked ledger."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.go_on = threading.Event()
        self.go_on.set()

    def job_file(self) -> JobFile:
        assert self.go_on.wait(20)
        return super().job_file()


@pytest.fixture
def source(tmp_path: Path) -> StuckSource:
    world = World(tmp_path)
    world.job("nightly")
    world.ran("nightly", NOW - timedelta(hours=8))
    return StuckSource(world)


@pytest.fixture
def address(source: StuckSource) -> Iterator[tuple[str, int]]:
    server = StatusServer("127.0.0.1:0", token=None, source=source)
    yield server.start()
    source.go_on.set()
    server.stop()


@pytest.fixture
def half_open(address: tuple[str, int]) -> Iterator[list[socket.socket]]:
    clients = [socket.create_connection(address) for _ in range(HALF_OPEN)]
    for number, client in enumerate(clients):
        if number % 3:
            client.sendall(b"GET / HTTP/1.1\r\nHost: local" if number % 3 == 1 else b"G")
    yield clients
    for client in clients:
        client.close()


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_300_half_open_connections_shut_nobody_out(
    address: tuple[str, int], half_open: list[socket.socket]
) -> None:
    answers = [get(address, "/livez") for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    assert min(answer.seconds for answer in answers) < 0.05
    assert sorted(answer.seconds for answer in answers)[5] < 0.2
    assert get(address, "/health").status in {200, 503}
    assert threading.active_count() < 20


@pytest.mark.slow
def test_half_open_and_dripping_connections_are_closed_within_ten_seconds(
    address: tuple[str, int], half_open: list[socket.socket]
) -> None:
    began = time.monotonic()
    with socket.create_connection(address) as dripping:
        cut_off = False
        while not (cut_off and all(map(is_closed, half_open))):
            assert time.monotonic() - began < 10
            try:
                dripping.sendall(b"X")
            except ConnectionError:
                cut_off = True
            time.sleep(0.1)
    assert time.monotonic() - began <= HEAD_SECONDS + 2


def test_the_oldest_of_too_many_makes_room(address: tuple[str, int]) -> None:
    clients = [socket.create_connection(address) for _ in range(MAX_CONNECTIONS)]
    try:
        assert get(address, "/livez").status == 200
        deadline = time.monotonic() + 2
        while not is_closed(clients[0]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert is_closed(clients[0])
        assert not is_closed(clients[-1]), "the youngest has its time"
    finally:
        for client in clients:
            client.close()


def test_a_stuck_document_does_not_stop_the_probes(source: StuckSource, address: tuple[str, int]) -> None:
    source.go_on.clear()
    waiting = [socket.create_connection(address) for _ in range(WORKERS + 2)]
    for client in waiting:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.2)
    assert min(get(address, "/livez").seconds for _ in range(5)) < 0.2
    assert get(address, "/livez").status == 200
    source.go_on.set()
    for client in waiting:
        with client:
            client.settimeout(20)
            assert client.recv(12).startswith(b"HTTP/1.1 ")


def test_more_requests_than_can_wait_are_told_to_come_again(
    source: StuckSource, address: tuple[str, int]
) -> None:
    source.go_on.clear()
    with ExitStack() as stack:
        crowd = [
            stack.enter_context(socket.create_connection(address, timeout=20))
            for _ in range(WORKERS + MAX_WAITING + 1)
        ]
        for client in crowd:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answered, _, _ = select.select(crowd, [], [], 15)
        assert len(answered) == 1
        answer = answered[0].recv(65536).decode()
        assert answer.startswith("HTTP/1.1 503 ")
        assert "Retry-After: 1\r\n" in answer
    source.go_on.set()
    assert get(address, "/health").status in {200, 503}


def many_jobs(source: StuckSource) -> None:
    since = NOW - timedelta(days=1)
    source.world.store.add(
        [
            Job(
                id=f"j{n}",
                trigger=IntervalTrigger(seconds=3600 + n),
                timezone="UTC",
                created_at=since,
                since=since,
            )
            for n in range(4000)
        ],
        since,
    )


def not_reading(address: tuple[str, int], stack: ExitStack) -> socket.socket:
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    client.connect(address)
    client.sendall(b"GET /scheduler/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


def test_clients_that_do_not_read_keep_nobody_waiting(source: StuckSource, address: tuple[str, int]) -> None:
    many_jobs(source)
    with ExitStack() as stack:
        for _ in range(20):
            not_reading(address, stack)
        whole = get(address, "/scheduler/jobs")
        assert len(whole.json["jobs"]) == 4001, "a large answer arrives whole"
        assert len(whole.body) > 4_000_000, "more than the kernel keeps for a client"
        assert min(get(address, "/livez").seconds for _ in range(5)) < 0.2


@pytest.mark.slow
def test_not_even_as_many_as_connections_can_be_shut_the_others_out(source: StuckSource) -> None:
    many_jobs(source)
    limit = RateLimit(1e6, 1_000_000)
    server = StatusServer("127.0.0.1:0", token=None, source=source, limit=limit)
    address = server.start()
    try:
        whole = len(get(address, "/scheduler/jobs").body)  # made once, and kept
        with ExitStack() as stack:
            clients = []
            for number in range(MAX_CONNECTIONS + 20):
                clients.append(not_reading(address, stack))
                if number % 50 == 49:  # no more than can wait for a worker
                    select.select(clients[-1:], [], [], 10)
            answers = [get(address, "/livez") for _ in range(10)]
            assert {answer.status for answer in answers} == {200}
            assert sorted(answer.seconds for answer in answers)[5] < 0.2
            received = 0
            clients[0].settimeout(10)
            with suppress(ConnectionError):
                while part := clients[0].recv(1 << 20):
                    received += len(part)
            assert received < whole, "the oldest has made room"
    finally:
        server.stop()


def test_clients_that_reset_at_every_step_do_no_harm(address: tuple[str, int]) -> None:
    for data in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /" + b"a" * 70_000):
        for _ in range(10):
            client = socket.create_connection(address)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(data)
            client.close()
    assert get(address, "/livez").status == 200
    assert get(address, "/health").status in {200, 503}


def test_a_client_that_keeps_sending_is_cut_off(address: tuple[str, int]) -> None:
    began = time.monotonic()
    with socket.create_connection(address, timeout=10) as client, suppress(OSError):
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n")
        while time.monotonic() - began < 10:
            client.sendall(b"x" * 65536)
    assert time.monotonic() - began < 5


def test_the_answer_to_a_huge_request_arrives_before_the_end(address: tuple[str, int]) -> None:
    for _ in range(20):
        assert exchange(address, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n").status == 414


def test_without_file_handles_the_endpoint_waits_and_comes_back(address: tuple[str, int]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = socket.socket()
    client = socket.socket()
    client.settimeout(10)
    limit = client.fileno() + 1
    spare = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with suppress(OSError):  # too many open files
            while True:
                spare.append(socket.socket())
        client.connect(address)  # the kernel takes it; the endpoint cannot
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in (lowest, *spare):
            each.close()
    assert client.recv(15) == b"HTTP/1.1 200 OK"
    client.close()


def test_nothing_is_left_open(tmp_path: Path) -> None:
    def handles() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    world = World(tmp_path)
    world.job("nightly")
    before, threads = handles(), threading.active_count()
    server = StatusServer("127.0.0.1:0", token=None, source=WorldSource(world))
    address = server.start()
    for _ in range(50):
        get(address, "/health")
    clients = [socket.create_connection(address) for _ in range(20)]
    server.stop()
    for client in clients:
        client.close()
    deadline = time.monotonic() + 5
    while (handles(), threading.active_count()) != (before, threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (handles(), threading.active_count()) == (before, threads)
