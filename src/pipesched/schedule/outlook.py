"""What a job's policy leaves of its schedule: its bounds, its grace, and the fires to come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pipesched.schedule.model import TICK, Occurrence, Policy, Progress, Schedule, TimedJob
from pipesched.schedule.open_slots import OpenSchedule
from pipesched.schedule.timetext import format_duration

SHORTEST_GRACE: Final = 60.0
LONGEST_GRACE: Final = 86_400.0
PUNCTUAL: Final = 60.0
"""Seconds: a fire this late is on time (the loop was busy), and no matter of catch-up."""
SHORTEST_LATENESS: Final = 1.0
"""Seconds that a run may be late even where its grace is less: no loop is at every slot in the very instant."""


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


def undecided_after(job: TimedJob, progress: Progress, now: datetime) -> datetime:
    """After what the job's fires are still to come: `now`, but where slots beyond it are decided already.

    The clock was set back, or the job was added while it was ahead.
    """
    return max(now, job.since) if progress.handled is None else max(now, job.since, progress.handled)


def open_schedule(job: TimedJob) -> Schedule:
    """The schedule without what the job's blackout takes out of it."""
    blackout = job.policy.blackout
    return job.schedule if blackout is None else OpenSchedule(job.schedule, blackout)


def grace_of(job: TimedJob, slot: datetime) -> float:
    """Seconds that the run for `slot` may be late: as set, else a period between a minute and a day."""
    if job.policy.grace is not None:
        return job.policy.grace
    return min(max(job.schedule.period(slot).total_seconds(), SHORTEST_GRACE), LONGEST_GRACE)


def lateness(policy: Policy, grace: float, *, waits: bool = False) -> tuple[float | None, str]:
    """How many seconds late a run may start, None: any number, and what is said of those that are later.

    `waits`: it still waits for other jobs.
    """
    if policy.catch_up == "none" and not policy.after:
        return max(min(grace, PUNCTUAL), SHORTEST_LATENESS), "late, and nothing is caught up"
    if policy.catch_up == "all" and policy.grace is None and not waits:
        return None, ""
    return max(grace, SHORTEST_LATENESS), f"late by more than the grace of {format_duration(grace)}"


def too_late(job: TimedJob, slot: datetime, since: datetime, at: datetime) -> str:
    """Why the claimed run for `slot`, which could have started `since`, is not to start any more `at`; empty when it is."""
    limit, reason = lateness(job.policy, grace_of(job, slot))
    return reason if limit is not None and (at - since).total_seconds() > limit else ""


def opens_for(job: TimedJob, since: datetime, now: datetime) -> datetime:
    """When a claimed run that could have started `since` may start: `now`, or, being late, when the blackout is over."""
    blackout = job.policy.blackout
    at = now
    if blackout is not None and (now - since).total_seconds() > PUNCTUAL:
        while blackout.reason(at):
            at = blackout.stretch(at).end
    return at


def not_before_start(policy: Policy, after: datetime) -> datetime:
    return after if policy.start is None else max(after, policy.start - TICK)


def begun(policy: Policy, at: datetime) -> bool:
    return (policy.start is None or at >= policy.start) and not ended(policy, at)


def ended(policy: Policy, at: datetime) -> bool:
    return policy.end is not None and at > policy.end


def runs_left(policy: Policy, progress: Progress) -> int | None:
    return None if policy.max_runs is None else max(policy.max_runs - progress.claimed, 0)
