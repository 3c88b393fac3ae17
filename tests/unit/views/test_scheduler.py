"""What is seen of a daemon from outside: its lock, its file, its heartbeat."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.files import KernelLock
from pipesched.settings import Paths
from pipesched.views.scheduler import (
    DaemonFile,
    SchedulerFacts,
    beat,
    daemon_file,
    read_facts,
    remove_daemon_file,
)

STARTED = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths.resolve(file=str(tmp_path / "schedules.json"), environ={}, cwd=tmp_path)
    found.state_dir.mkdir()
    return found


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=5)


def test_without_a_state_folder_nothing_runs_and_nothing_is_made(tmp_path: Path) -> None:
    paths = Paths.resolve(file=str(tmp_path / "schedules.json"), environ={}, cwd=tmp_path)
    assert read_facts(paths, soon()) == SchedulerFacts(running=False)
    assert list(tmp_path.iterdir()) == []


def test_a_running_daemon_says_its_pid_address_and_heartbeat(paths: Paths) -> None:
    said = DaemonFile(
        os.getpid(), STARTED, http="https://127.0.0.1:8765", version="1.2.3", certificate_until=STARTED
    )
    with KernelLock(paths.daemon_lock) as lock:
        assert lock.try_acquire()
        said.write(paths)
        os.utime(daemon_file(paths), (0, 1_000_000))
        assert read_facts(paths, soon()).last_tick == datetime.fromtimestamp(1_000_000, UTC)
        before = datetime.now(UTC) - timedelta(seconds=1)
        beat(paths)
        facts = read_facts(paths, soon())
    assert (facts.running, facts.pid, facts.http) == (True, os.getpid(), "https://127.0.0.1:8765")
    assert (facts.started_at, facts.version, facts.certificate_until) == (STARTED, "1.2.3", STARTED)
    assert facts.last_tick is not None
    assert facts.last_tick >= before


def test_a_killed_daemon_leaves_its_file_and_does_not_run(paths: Paths) -> None:
    DaemonFile(pid=1, started_at=STARTED, http="http://127.0.0.1:8765").write(paths)
    facts = read_facts(paths, soon())
    assert facts.running is False
    assert (facts.pid, facts.http, facts.started_at) == (None, None, None)
    assert facts.last_tick is not None, "one learns since when nothing was fired"


def test_the_file_of_a_killed_daemon_is_not_its_successors(paths: Paths) -> None:
    DaemonFile(pid=1, started_at=STARTED, http="http://127.0.0.1:8765").write(paths)
    with KernelLock(paths.daemon_lock) as lock:
        assert lock.try_acquire()
        assert read_facts(paths, soon()) == SchedulerFacts(running=True, pid=os.getpid())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        b"[]",
        b"null",
        b'{"pid": 1}',
        b'{"pid": 1, "started_at": "2026-11-24T08:00:00", "http": null}',
    ],
)
def test_a_file_that_is_no_daemon_file_is_passed_over(paths: Paths, content: bytes) -> None:
    daemon_file(paths).write_bytes(content)
    with KernelLock(paths.daemon_lock) as lock:
        assert lock.try_acquire()
        assert read_facts(paths, soon()) == SchedulerFacts(running=True, pid=os.getpid())


def test_a_heartbeat_from_a_clock_ahead_is_not_from_the_future(paths: Paths) -> None:
    DaemonFile(pid=1, started_at=STARTED).write(paths)
    assert read_facts(paths, STARTED).last_tick == STARTED


def test_a_beat_without_a_file_does_nothing(paths: Paths) -> None:
    beat(paths)
    assert not daemon_file(paths).exists()
    remove_daemon_file(paths)


def test_the_file_is_private_and_goes_with_the_daemon(paths: Paths) -> None:
    DaemonFile(pid=1, started_at=STARTED).write(paths)
    assert daemon_file(paths).stat().st_mode & 0o777 == 0o600
    remove_daemon_file(paths)
    assert not daemon_file(paths).exists()


def test_a_daemon_file_survives_its_json() -> None:
    said = DaemonFile(pid=7, started_at=STARTED, http=None, version="0")
    assert DaemonFile.from_json(said.to_json()) == said
    assert DaemonFile.from_json({**said.to_json(), "certificate_until": None}) == said


@pytest.mark.parametrize("until", ["soon", "2027-01-01T00:00:00", 5])
def test_a_certificates_end_that_is_no_time_is_no_daemon_file(until: object) -> None:
    with pytest.raises(ValueError, match=r"not a daemon file|Invalid isoformat"):
        DaemonFile.from_json({**DaemonFile(7, STARTED).to_json(), "certificate_until": until})
