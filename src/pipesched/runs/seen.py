"""How a ledger row looks to somebody who only reads: a run whose process is gone is lost, though nobody has said so yet."""

from __future__ import annotations

from dataclasses import replace

from pipesched.runs import process
from pipesched.runs.model import Run


def seen(run: Run, *, scheduler_runs: bool) -> Run:
    """`run`, or the same as `lost`.

    `scheduler_runs`: a daemon lives, which is about to record how its own runs ended, and knows better.
    """
    if run.status != "running" or (scheduler_runs and run.trigger != "manual"):
        return run
    if run.pid is not None and process.alive(run.pid, run.pid_started):
        return run
    return replace(run, status="lost", reason=process.GONE)
