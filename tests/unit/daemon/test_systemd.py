"""sd_notify(3), against real datagram sockets."""

import socket
import time
from pathlib import Path

import pytest

from pipesched.daemon.systemd import Notifier


@pytest.fixture
def listener(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(2)
        yield receiver


def notifier(listener: socket.socket, **variables: str) -> Notifier:
    return Notifier.from_environment({"NOTIFY_SOCKET": listener.getsockname(), **variables}, pid=100)


def received(listener: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in listener.recv(4096).decode().splitlines())


def test_the_manager_is_told_of_each_change(listener):
    manager = notifier(listener)

    manager.ready("3 jobs")
    said = received(listener)
    assert (said["READY"], said["STATUS"]) == ("1", "3 jobs")
    manager.stopping("bye\nREADY=1")
    assert received(listener) == {"STOPPING": "1", "STATUS": "bye READY=1"}
    manager.alive()
    assert received(listener) == {"WATCHDOG": "1"}


def test_a_reload_carries_the_monotonic_time_in_microseconds(listener):
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier(listener).reloading()

    said = received(listener)
    assert said["RELOADING"] == "1"
    assert before <= int(said["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_an_abstract_socket_is_reached_by_its_name():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0pipesched-test-{id(receiver)}")
        receiver.settimeout(2)
        address = receiver.getsockname().decode().replace("\0", "@", 1)
        Notifier.from_environment({"NOTIFY_SOCKET": address}, pid=1).alive()

        assert received(receiver) == {"WATCHDOG": "1"}


def test_the_watchdog_is_fed_twice_as_often_as_asked_for(listener):
    assert notifier(listener, WATCHDOG_USEC="10000000").ping_seconds == 5.0
    assert notifier(listener, WATCHDOG_USEC="10000000", WATCHDOG_PID="100").ping_seconds == 5.0


@pytest.mark.parametrize(
    "variables",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "7"}],
)
def test_a_watchdog_that_is_not_meant_for_us_is_not_fed(listener, variables):
    assert notifier(listener, **variables).ping_seconds is None


def test_nobody_listening_is_no_error(tmp_path):
    Notifier.from_environment({}, pid=1).ready("x")
    Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "gone")}, pid=1).ready("x")
    Notifier.from_environment({"NOTIFY_SOCKET": "vsock:1:2"}, pid=1).ready("x")


def test_a_manager_that_does_not_read_does_not_block_us(listener):
    manager = notifier(listener)
    started = time.monotonic()
    for _ in range(2000):
        manager.alive()

    assert time.monotonic() - started < 2
