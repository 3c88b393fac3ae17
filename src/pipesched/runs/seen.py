"""How the ledger looks to somebody who only reads: a run whose process is gone is lost, though nobody has written so yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pipesched.files import KernelLock
from pipesched.runs import process
from pipesched.runs.model import ACTIVE, JobSummary, Run
from pipesched.settings import DAEMON_LOCK


class Onlooker:
    """Looks at rows of the ledger in `state_dir`.

    While a daemon lives, it is about to record how its own runs ended, and knows better; its lock is looked at only when a process is
    missing.
    """

    def __init__(self, state_dir: Path) -> None:
        self._lock = KernelLock(state_dir / DAEMON_LOCK)
        self._daemon_lives: bool | None = None

    def run(self, run: Run) -> Run:
        if run.status != "running" or (run.pid is not None and process.alive(run.pid, run.pid_started)):
            return run
        if run.trigger != "manual":
            if self._daemon_lives is None:
                self._daemon_lives = self._lock.is_held()
            if self._daemon_lives:
                return run
        reason = process.NEVER_SEEN if run.pid is None else process.GONE
        return replace(run, status="lost", reason=reason)

    def runs(self, runs: Iterable[Run]) -> list[Run]:
        return [self.run(each) for each in runs]

    def active(self, runs: Iterable[Run]) -> list[Run]:
        """Those that are queued or run."""
        return [each for each in self.runs(runs) if each.status in ACTIVE]

    def summary(self, summary: JobSummary) -> JobSummary:
        if not summary.active:  # then nothing of it is running
            return summary
        return replace(
            summary,
            last_run=self.run(summary.last_run) if summary.last_run else None,
            active=tuple(self.active(summary.active)),
        )
