"""Whether a process is still the one that a run was, and what a reader makes of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipesched.runs import process
from pipesched.runs.model import Run
from pipesched.runs.seen import seen

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


def test_a_reader_sees_a_run_without_its_process_as_lost(child: subprocess.Popen[bytes]) -> None:
    run = Run(
        "one", "nightly", "running", "schedule", started_at=datetime(2026, 1, 1, tzinfo=UTC), pid=child.pid
    )
    gone = replace(run, pid=2**22 + 1)
    assert seen(run, scheduler_runs=False) == run
    assert seen(gone, scheduler_runs=False).status == "lost"
    assert seen(gone, scheduler_runs=False).reason == process.GONE
    assert seen(gone, scheduler_runs=True) == gone, "its daemon is about to say how it ended"
    assert seen(replace(gone, trigger="manual"), scheduler_runs=True).status == "lost"
    assert seen(replace(gone, status="queued"), scheduler_runs=False).status == "queued"
