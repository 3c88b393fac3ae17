"""PURE: the slots that no daemon has recorded when a job counts anew, or is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from pipesched.schedule.model import Progress, Skip, TimedJob
from pipesched.schedule.tick import CHANGED, PAUSED, plan_job

DECIDED: Final = timedelta(seconds=5)
"""What has been due for longer, a daemon that runs has decided about, but for what waits for another job."""


def unrecorded_slots(job: TimedJob, progress: Progress, now: datetime, *, why: str = CHANGED) -> list[Skip]:
    """What of a job's slots up to `now` no daemon has recorded, when it counts anew from there, or is gone.

    Missed because of `why`, or, of a paused job since its pause, skipped.
    """
    if job.paused_at is not None or progress.auto_paused_at is not None:
        return _skips(job, progress, now)
    return [
        skip if skip.status == "skipped" and skip.reason != PAUSED else replace(skip, reason=why)
        for skip in _skips(replace(job, paused_at=now), progress, now)
    ]


def _skips(job: TimedJob, progress: Progress, now: datetime) -> list[Skip]:
    return [decision for decision in plan_job(job, progress, now).decisions if isinstance(decision, Skip)]
