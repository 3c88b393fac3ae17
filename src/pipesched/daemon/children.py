"""The processes of runs: started in groups of their own, their output read, their groups ended, their exits told."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pipesched.daemon.capture import Capture, Sink
from pipesched.daemon.launch import Command, Exit, Launch, Started, child_environment
from pipesched.daemon.processes import oom_kills, signal_group, signal_run
from pipesched.runs.process import alive, start_ticks

log = logging.getLogger(__name__)

KILL_GRACE_SECONDS: Final = 10.0
"""From TERM to KILL: a run ends at a batch boundary, which takes a moment."""
PIPE_GRACE_SECONDS: Final = 2.0
"""How long what a run left behind may go on writing to its output."""


@dataclass
class _Child:
    run_id: str
    process: Started
    popen: subprocess.Popen[bytes] | None
    capture: Capture | None
    oom_kills_before: int = 0
    kill_at: float | None = None
    ended: Exit | None = None
    abandon_at: float | None = None


class Children:
    """A Spawner for real processes. `selector` is the loop's; `monotonic` its clock.

    A child that has ended stays a zombie until its whole group is dealt with, so that its pid, which is the group's, cannot
    become another's meanwhile.
    """

    def __init__(
        self,
        command: Command,
        *,
        environ: Mapping[str, str],
        open_log: Callable[[str], Sink],
        selector: selectors.BaseSelector,
        monotonic: Callable[[], float],
        kill_grace: float = KILL_GRACE_SECONDS,
        pipe_grace: float = PIPE_GRACE_SECONDS,
        options: Callable[[str], str | None] | None = None,
    ) -> None:
        self._command = command
        self._environ = environ
        self._open_log = open_log
        self._selector = selector
        self._monotonic = monotonic
        self._kill_grace = kill_grace
        self._pipe_grace = pipe_grace
        self._options = options or (lambda _: None)
        self._children: dict[str, _Child] = {}

    def __len__(self) -> int:
        return len(self._children)

    def launch(self, launch: Launch) -> Started:
        oom_before = oom_kills()
        popen = subprocess.Popen(
            list(self._command(launch)),
            env=child_environment(self._environ, launch, options=self._options(launch.job_id)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        process = Started(pid=popen.pid, started=start_ticks(popen.pid))
        try:
            assert isinstance(popen.stdout, io.FileIO)
            capture = Capture(popen.stdout, self._log(launch.run_id), name=f"run {launch.run_id}")
            self._selector.register(capture.pipe, selectors.EVENT_READ, capture)
        except BaseException:
            signal_group(popen.pid, signal.SIGKILL)
            popen.wait()
            raise
        self._children[launch.run_id] = _Child(launch.run_id, process, popen, capture, oom_before)
        return process

    def _log(self, run_id: str) -> Sink | None:
        try:
            return self._open_log(run_id)
        except Exception:  # a run without a log is better than none
            log.warning(
                "the output of run %s cannot be kept", run_id, exc_info=True, extra={"run_id": run_id}
            )
            return None

    def adopt(self, run_id: str, process: Started) -> None:
        self._children[run_id] = _Child(run_id, process, None, None)

    def stop(self, run_id: str) -> None:
        child = self._children.get(run_id)
        if child is None or child.kill_at is not None:
            return
        child.kill_at = self._monotonic() + self._kill_grace
        self._signal(child, signal.SIGTERM)

    def kill(self, run_id: str) -> None:
        child = self._children.get(run_id)
        if child is not None:
            child.kill_at = float("inf")
            self._signal(child, signal.SIGKILL)

    @staticmethod
    def _signal(child: _Child, number: int) -> None:
        if child.popen is not None:
            signal_group(child.process.pid, number)
            return
        try:
            signal_run(child.process.pid, child.process.started, number)
        except PermissionError:  # its daemon was root's, as in a container
            log.warning(
                "run %s is another user's and cannot be ended (pid %d)",
                child.run_id, child.process.pid, extra={"run_id": child.run_id},
            )  # fmt: skip

    def read(self, capture: Capture) -> None:
        """The selector says that `capture` is readable."""
        if capture.open and not capture.read():
            self._close(capture)

    def _close(self, capture: Capture) -> None:
        if capture.open:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(capture.pipe)
            capture.close()

    def reap(self) -> list[Exit]:
        """The runs that have ended since the last call, with everything in their groups. Never waits.

        To be called on SIGCHLD, when an output ends, and when `next_deadline` has come.
        """
        exits = []
        now = self._monotonic()
        for child in list(self._children.values()):
            if child.kill_at is not None and now >= child.kill_at:
                log.warning(
                    "run %s did not end on SIGTERM: SIGKILL to its group",
                    child.run_id,
                    extra={"run_id": child.run_id},
                )
                self.kill(child.run_id)
            if child.ended is None:
                child.ended = self._ended(child)
                if child.ended is None:
                    continue
                child.abandon_at = now + self._pipe_grace
            if child.capture is not None and child.capture.open and now < (child.abandon_at or now):
                continue
            exits.append(self._forget(child))
        return exits

    def next_deadline(self) -> float | None:
        """When `reap` has something to do although nothing was heard, on the monotonic clock."""
        deadlines = [
            deadline
            for child in self._children.values()
            for deadline in (child.kill_at, child.abandon_at)
            if deadline is not None and deadline != float("inf")
        ]
        return min(deadlines, default=None)

    def _ended(self, child: _Child) -> Exit | None:
        if child.popen is None:
            return None if alive(child.process.pid, child.process.started) else Exit(child.run_id)
        status = _peek(child.popen)
        if status is None:
            return None
        if status >= 0:
            return Exit(child.run_id, code=status)
        oom = -status == signal.SIGKILL and oom_kills() > child.oom_kills_before
        return Exit(child.run_id, signal=-status, out_of_memory=oom)

    def _forget(self, child: _Child) -> Exit:
        """End what is left of the group, reap its leader, and say how it ended."""
        assert child.ended is not None
        tail = ""
        if child.popen is not None:
            signal_group(child.process.pid, signal.SIGKILL)
            child.popen.wait()
        if child.capture is not None:
            for _ in range(16):  # what is still in the pipe, a bounded piece of it
                if not child.capture.open or not child.capture.read():
                    break
            tail = child.capture.tail
            self._close(child.capture)
        del self._children[child.run_id]
        return Exit(child.run_id, child.ended.code, child.ended.signal, child.ended.out_of_memory, tail)

    def reap_orphans(self, spare: int | None) -> None:
        """As process 1 of a container: take the exit statuses of processes whose parents have gone, so that none stays a zombie.

        Stops at the first that is a run's own process, which `reap` deals with, or `spare`, whose status is somebody else's to
        take; the rest is taken the next time.
        """
        mine = {child.process.pid for child in self._children.values()} | {spare}
        with contextlib.suppress(ChildProcessError):
            while info := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if info.si_pid in mine:
                    return
                os.waitpid(info.si_pid, os.WNOHANG)

    def close(self) -> None:
        """Let go of everything; processes that still run are not waited for."""
        for child in self._children.values():
            if child.capture is not None:
                self._close(child.capture)
            if child.popen is not None:
                child.popen.poll()
        self._children.clear()


def _peek(popen: subprocess.Popen[bytes]) -> int | None:
    """The exit status, negative for a signal, of a child that has ended, which stays a zombie; None while it runs."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return popen.poll()
    try:
        info = os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return popen.poll()
    if info is None:
        return None
    return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
