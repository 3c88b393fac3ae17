"""PURE: why a job fires now or does not, in words, for whoever debugs a schedule."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipesched.schedule.model import Fire, Progress, TimedJob


def why(fire: Fire, now: datetime) -> str:
    """What makes it fire, and when it is to start."""
    said = [fire.trigger.replace("_", " ") + (f" ({fire.reason})" if fire.reason else "")]
    if fire.collapsed > 1:
        said.append(f"stands for {fire.collapsed} occurrences")
    if fire.start_at > now:
        said.append(f"not before {fire.start_at.isoformat()}")
    said += [f"replaces run {run_id}" for run_id in fire.replaces]
    return ", ".join(said)


def why_not(job: TimedJob, progress: Progress, wake: datetime | None) -> str:
    """What it waits for, if for anything, and until when."""
    then = "never looked at again" if wake is None else f"looked at again at {wake.isoformat()}"
    if progress.waits_for:
        return f"it waits for {', '.join(progress.waits_for)}; {then}"
    if progress.active:
        return f"run {progress.active[0]} has not ended; {then}"
    if job.paused_at is not None or progress.auto_paused_at is not None:
        return f"it is paused; {then}"
    return then
