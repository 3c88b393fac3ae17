"""What a job's policy leaves of its schedule: its bounds, its grace, and the fires to come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from pipesched.schedule.model import Occurrence, Policy, Progress, Schedule, TimedJob
from pipesched.schedule.open_slots import OpenSchedule

SHORTEST_GRACE: Final = 60.0
LONGEST_GRACE: Final = 86_400.0
TICK: Final = timedelta(microseconds=1)


def upcoming(job: TimedJob, progress: Progress, after: datetime) -> Iterator[Occurrence]:
    """The occurrences strictly after `after` that will fire, as far as is known now; none of a paused job.

    Those inside a blackout are left out, and a job that has nothing else has none.
    """
    policy = job.policy
    left = runs_left(policy, progress)
    if job.paused_at is not None or progress.auto_paused_at is not None:
        return
    schedule = open_schedule(job)
    found = schedule.next(not_before_start(policy, after))
    while found is not None and left != 0 and not ended(policy, found.at):
        yield found
        left = None if left is None else left - 1
        found = schedule.next(found.at)


def open_schedule(job: TimedJob) -> Schedule:
    """The schedule without what the job's blackout takes out of it."""
    blackout = job.policy.blackout
    return job.schedule if blackout is None else OpenSchedule(job.schedule, blackout)


def grace_of(job: TimedJob, slot: datetime) -> float:
    """Seconds that the run for `slot` may be late: as set, else a period between a minute and a day."""
    if job.policy.grace is not None:
        return job.policy.grace
    return min(max(job.schedule.period(slot).total_seconds(), SHORTEST_GRACE), LONGEST_GRACE)


def not_before_start(policy: Policy, after: datetime) -> datetime:
    return after if policy.start is None else max(after, policy.start - TICK)


def begun(policy: Policy, at: datetime) -> bool:
    return (policy.start is None or at >= policy.start) and not ended(policy, at)


def ended(policy: Policy, at: datetime) -> bool:
    return policy.end is not None and at > policy.end


def runs_left(policy: Policy, progress: Progress) -> int | None:
    return None if policy.max_runs is None else max(policy.max_runs - progress.claimed, 0)
