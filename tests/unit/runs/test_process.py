"""Whether a process is still the one that a run was, and what a reader makes of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.files import KernelLock
from pipesched.runs import process
from pipesched.runs.ledger import Ledger
from pipesched.runs.model import Run
from pipesched.runs.seen import Onlooker
from pipesched.schedule.model import Policy, RunTrigger, TimedJob
from pipesched.schedule.parse import interval

GONE_PID = 2**22 + 1
HOUR = timedelta(hours=1)

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def test_a_process_is_alive_until_it_has_ended(child: subprocess.Popen[bytes]) -> None:
    started = process.start_ticks(child.pid)
    assert process.alive(child.pid, started)
    assert process.alive(child.pid, None)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive(child.pid, started), "a zombie does not run"
    child.wait()
    assert not process.alive(child.pid, started)
    assert process.start_ticks(child.pid) is None


@needs_proc
def test_another_process_with_the_same_pid_is_another(child: subprocess.Popen[bytes]) -> None:
    started = process.start_ticks(child.pid)
    assert started is not None
    assert not process.alive(child.pid, started - 1)


@needs_proc
def test_a_program_may_have_brackets_and_spaces_in_its_name() -> None:
    code = "open('/proc/self/comm', 'w').write('a) R (b 1 2'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as odd:
        assert odd.stdout is not None
        odd.stdout.readline()
        assert process.alive(odd.pid, process.start_ticks(odd.pid))
        assert abs((process.start_ticks(odd.pid) or 0) - (process.start_ticks(os.getpid()) or 0)) < 360_000
        odd.kill()


def test_no_pid_is_nobody() -> None:
    assert not process.alive(0, None)
    assert not process.alive(-1, None)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state"


def running(pid: int, trigger: RunTrigger = "schedule") -> Run:
    return Run("one", "nightly", "running", trigger, started_at=datetime(2026, 1, 1, tzinfo=UTC), pid=pid)


def test_a_run_without_its_process_is_lost_to_an_onlooker(
    child: subprocess.Popen[bytes], state: Path
) -> None:
    assert Onlooker(state).run(running(child.pid)).status == "running"
    lost = Onlooker(state).run(running(GONE_PID))
    assert (lost.status, lost.reason) == ("lost", process.GONE)
    never_seen = Onlooker(state).run(replace(running(GONE_PID), pid=None))
    assert (never_seen.status, never_seen.reason) == ("lost", process.NEVER_SEEN)
    assert Onlooker(state).run(replace(running(GONE_PID), status="queued")).status == "queued"
    assert list(state.iterdir()) == []


def test_a_living_daemon_has_the_last_word_on_its_own_runs(state: Path) -> None:
    with KernelLock(state / "daemon.lock") as lock:
        assert lock.try_acquire()
        assert Onlooker(state).run(running(GONE_PID)).status == "running"
        assert Onlooker(state).run(running(GONE_PID, "manual")).status == "lost"


def test_a_reader_of_the_ledger_is_told_what_is_and_a_writer_what_was_written(state: Path) -> None:
    path = state / "ledger.sqlite3"
    now = datetime(2026, 11, 24, 2, tzinfo=UTC)
    with Ledger.open(path, create=True) as ledger:
        ledger.claim("gone", "nightly", scheduled_for=now, attempt=1, trigger="schedule", now=now)
        ledger.started("gone", pid=GONE_PID, pid_started=1, now=now)
        ledger.claim("waits", "nightly", scheduled_for=now + HOUR, attempt=1, trigger="schedule", now=now)
        ledger.begin_manual("mine", "nightly", now=now + HOUR, pid=os.getpid(), dry_run=False)
        assert [run.run_id for run in ledger.active()] == ["gone", "waits", "mine"]
        job = TimedJob("nightly", interval(3600, now), Policy(), now)
        with Ledger.open(path, create=False) as reader:
            assert [run.run_id for run in reader.active()] == ["waits", "mine"]
            assert reader.progress([job])["nightly"].active == ("waits", "mine")
            assert reader.progress([job])["nightly"].queued
            assert [run.run_id for run in reader.summaries()["nightly"].active] == ["waits", "mine"]
            assert [run.status for run in reader.history()] == ["running", "queued", "lost"]
            assert [run.run_id for run in reader.history(statuses=["lost"], limit=1)] == ["gone"]
            assert [run.run_id for run in reader.history(statuses=["running"], limit=1)] == ["mine"]
            assert reader.run("gone").status == "lost"  # type: ignore[union-attr]
        assert ledger.run("gone").status == "running"  # type: ignore[union-attr]
        assert ledger.progress([job])["nightly"].active == ("gone", "waits", "mine")
