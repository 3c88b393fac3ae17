"""The processes of runs, for real: groups that ignore signals, floods, leftovers, a lack of descriptors."""

import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipesched.daemon.capture import Capture
from pipesched.daemon.children import Children
from pipesched.daemon.launch import Exit, Launch, Started
from pipesched.runs.logs import CAP_BYTES, LogFile
from pipesched.runs.process import alive, start_ticks
from support.unprivileged import unprivileged


class Bench:
    """Children with a selector loop of their own. A run's id is its shell script's number."""

    def __init__(self, folder: Path, *, cap_bytes: int = 100_000) -> None:
        self.folder = folder
        self.cap_bytes = cap_bytes
        self.selector = selectors.DefaultSelector()
        self.scripts: list[str] = []
        self.children = Children(
            lambda launch: ["sh", "-c", self.scripts[int(launch.run_id)]],
            environ={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": "/n", "PIPESCHED_HTTP_TOKEN": "secret"},
            open_log=lambda run_id: LogFile(folder / "logs" / f"{run_id}.log", self.cap_bytes),
            selector=self.selector,
            monotonic=time.monotonic,
            kill_grace=0.3,
            pipe_grace=0.3,
        )

    def start(self, script: str) -> Launch:
        launch = Launch(str(len(self.scripts)), "job", datetime(2026, 3, 1, tzinfo=UTC), 1)
        self.scripts.append(script)
        self.pid = self.children.launch(launch).pid
        return launch

    def turn(self, seconds: float = 0.02) -> list[Exit]:
        for key, _ in self.selector.select(seconds):
            assert isinstance(key.data, Capture)
            self.children.read(key.data)
        return self.children.reap()

    def wait(self, seconds: float = 30.0) -> Exit:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if exits := self.turn():
                return exits[0]
        raise AssertionError("no run has ended")

    def wait_for(self, text: bytes) -> None:
        """Until the last started run has written `text`."""
        deadline = time.monotonic() + 10
        while text not in self.log(str(len(self.scripts) - 1)):
            assert time.monotonic() < deadline, text
            assert self.turn() == []

    def log(self, run_id: str) -> bytes:
        path = self.folder / "logs" / f"{run_id}.log"
        return path.read_bytes() if path.exists() else b""


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    for run_id in list(bench.children._children):
        bench.children.kill(run_id)
    bench.turn(0.2)
    bench.children.close()
    bench.selector.close()


@contextmanager
def few_descriptors(number: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_gone(pid: int) -> bool:
    """SIGKILL has been sent: the kernel takes a moment."""
    deadline = time.monotonic() + 2
    while alive(pid, None) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid, None)


def test_exit_status_and_output_of_both_streams_are_kept(bench):
    launch = bench.start("echo out; echo err >&2; exit 7")

    assert bench.wait() == Exit(launch.run_id, code=7, tail="out\nerr\n")
    assert bench.log(launch.run_id) == b"out\nerr\n"
    assert len(bench.children) == 0


def test_a_death_by_a_signal_is_told_from_an_exit_status(bench):
    bench.start("kill -SEGV $$")

    ended = bench.wait()
    assert (ended.code, ended.signal) == (None, signal.SIGSEGV)


def test_the_child_leads_a_group_of_its_own_without_the_daemons_secrets(bench):
    launch = bench.start("echo pid $$; ps -o pgid=,sid= -p $$; env")
    bench.wait()

    out = bench.log(launch.run_id).decode()
    pid = out.split()[1]
    assert out.split()[2:4] == [pid, pid]
    assert "NOTIFY_SOCKET" not in out
    assert "secret" not in out
    assert "PIPESCHED_RUN_ID=0" in out


def test_a_child_that_heeds_term_is_not_killed(bench):
    bench.start("trap 'echo bye; exit 143' TERM; echo up; while :; do sleep 0.05; done")
    bench.wait_for(b"up")
    bench.children.stop("0")

    ended = bench.wait()
    assert ended.code == 143
    assert ended.tail.endswith("bye\n")


def test_a_child_that_ignores_term_is_killed_with_its_grandchild_on_the_pipe(bench):
    bench.start("trap '' TERM; sleep 300 & echo grandchild $!; echo up; while :; do sleep 1; done")
    bench.wait_for(b"up")
    grandchild = int(bench.log("0").split()[1])
    started = time.monotonic()
    bench.children.stop("0")

    assert bench.wait(5).signal == signal.SIGKILL
    assert time.monotonic() - started < 3
    assert is_gone(grandchild)


def test_a_grandchild_that_keeps_the_pipe_open_ends_soon_after_the_run(bench):
    bench.start("sleep 300 & echo grandchild $!; exit 0")
    started = time.monotonic()

    ended = bench.wait(5)
    assert ended.code == 0
    assert time.monotonic() - started < 3
    assert is_gone(int(ended.tail.split()[1]))


def test_what_a_run_left_behind_may_finish_its_line(bench):
    bench.start("(sleep 0.1; echo last words) & exit 0")

    assert bench.wait().tail == "last words\n"


def test_a_grandchild_in_a_session_of_its_own_cannot_hold_up_the_end(bench):
    bench.start("setsid sleep 3 & exit 5")
    started = time.monotonic()

    assert bench.wait(5).code == 5
    assert time.monotonic() - started < 2


@pytest.mark.slow
def test_a_gigabyte_without_a_newline_is_capped_and_holds_nobody_up(bench):
    bench.cap_bytes = CAP_BYTES
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bench.start("head -c 1000000000 /dev/zero | tr '\\0' x; exit 4")
    longest = 0.0
    while True:
        started = time.monotonic()
        exits = bench.turn()
        longest = max(longest, time.monotonic() - started)
        if exits:
            break

    assert exits[0].code == 4
    assert len(bench.log("0")) <= CAP_BYTES
    assert longest < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_a_flood_does_not_keep_a_run_from_being_stopped(bench):
    bench.start("cat /dev/zero")
    for _ in range(20):
        bench.turn()
    bench.children.stop("0")

    assert bench.wait(5).signal == signal.SIGTERM


def test_a_log_that_cannot_be_made_is_no_reason_not_to_run(bench):
    (bench.folder / "logs").write_text("in the way")
    bench.start("echo hello; exit 0")

    assert bench.wait().tail == "hello\n"


def test_without_descriptors_no_run_is_started_and_none_is_left_behind(bench):
    bench.start("sleep 0.3; exit 0")
    lowest = os.dup(0)
    os.close(lowest)
    for free in range(8):
        with few_descriptors(lowest + free):
            try:
                bench.start("exit 6")
            except OSError:
                bench.scripts.pop()
            else:
                break
    else:
        raise AssertionError("never enough descriptors")

    assert free > 1  # it did fail before
    assert sorted([bench.wait().code or 0, bench.wait().code or 0]) == [0, 6]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_command_that_does_not_exist_is_an_error(bench):
    bench.children._command = lambda launch: ["/no/such/program"]
    bench.scripts.append("")
    with pytest.raises(FileNotFoundError):
        bench.children.launch(Launch("0", "job", datetime(2026, 3, 1, tzinfo=UTC), 1))

    assert len(bench.children) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start what another user may not end")
def test_an_adopted_run_of_another_user_is_left_running_and_said(tmp_path, caplog):
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as others:
        bench = Bench(tmp_path)

        def end_it() -> list[str]:
            bench.children.adopt("theirs", Started(others.pid, start_ticks(others.pid)))
            bench.children.stop("theirs")
            bench.children.kill("theirs")
            return [record.getMessage() for record in caplog.records]

        said = unprivileged(end_it)

        assert said == [f"run theirs is another user's and cannot be ended (pid {others.pid})"] * 2
        assert others.poll() is None
        others.kill()


def test_the_exit_status_of_a_child_that_is_no_run_is_left_to_who_started_it(bench):
    with subprocess.Popen(["sh", "-c", "exit 3"]) as pruning:
        os.waitid(os.P_PID, pruning.pid, os.WEXITED | os.WNOWAIT)
        bench.children.reap_orphans(pruning.pid)

        assert pruning.wait() == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="a process namespace needs root")
def test_as_process_one_it_reaps_the_orphans_of_its_runs():
    script = """
import selectors, time, os, subprocess, sys
from datetime import UTC, datetime
from pipesched.daemon.children import Children
from pipesched.daemon.launch import Launch
assert os.getpid() == 1
selector = selectors.DefaultSelector()
children = Children(lambda launch: ["sh", "-c", "setsid sh -c 'sleep 0.2' >/dev/null 2>&1 & exit 0"], environ=dict(os.environ),
    open_log=lambda run_id: None, selector=selector, monotonic=time.monotonic)
children.launch(Launch("1", "j", datetime.now(UTC)))
ended = []
for _ in range(40):
    for key, _ in selector.select(0.02):
        children.read(key.data)
    ended += children.reap()
    children.reap_orphans(None)
    time.sleep(0.02)
print(len(ended), [name for name in os.listdir("/proc") if name.isdigit() and name != "1"])
"""
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout.strip() == "1 []", done.stderr
