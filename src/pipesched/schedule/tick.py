"""What is to be done about a job now: each occurrence becomes one Fire, or is inside one Skip, with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from pipesched.schedule.delays import jitter_offset, retry_after
from pipesched.schedule.model import (
    Decision,
    Fire,
    JobPlan,
    Occurrence,
    Policy,
    Progress,
    RunTrigger,
    Schedule,
    Skip,
    TimedJob,
)
from pipesched.schedule.timetext import format_duration

__all__ = ["grace_of", "plan_job", "plan_start", "retry_after", "upcoming"]

CATCH_UP_LIMIT: Final = 100
PUNCTUAL: Final = 60.0
"""Seconds: a fire this late is on time (the loop was busy), and no matter of catch-up."""
SHORTEST_GRACE: Final = 60.0
LONGEST_GRACE: Final = 86_400.0
SHORTEST_LATENESS: Final = 1.0
"""Seconds that a run may be late even where its grace is less: no loop is at every slot in the very instant."""

PAUSED: Final = "paused"
SUPERSEDED: Final = "superseded"

_TICK: Final = timedelta(microseconds=1)


def plan_job(job: TimedJob, progress: Progress, now: datetime, *, stagger: float = 0.0) -> JobPlan:
    """The decisions about `job` that are due at `now` (aware), oldest first, and when to ask again.

    `stagger` (seconds) delays what is late, so that a start-up is no stampede. A Fire of a job with active runs that it
    does not replace waits until they have ended; several Fires run one after the other.
    """
    return _Planner(job, progress, now, stagger).plan()


def plan_start(job: TimedJob, progress: Progress, now: datetime) -> JobPlan:
    """The decisions about an `@reboot` job when the daemon starts, at `now`; none about any other job."""
    if not job.schedule.at_start or not _begun(job.policy, now) or _runs_left(job.policy, progress) == 0:
        return JobPlan()
    if progress.handled is not None and progress.handled >= now:
        return JobPlan()  # the clock went back over an earlier start
    planner = _Planner(job, progress, now, 0.0)
    return JobPlan(tuple(planner.at_start()))


def upcoming(job: TimedJob, progress: Progress, after: datetime) -> Iterator[Occurrence]:
    """The occurrences strictly after `after` that will fire, as far as is known now; none of a paused job."""
    policy = job.policy
    left = _runs_left(policy, progress)
    if job.paused_at is not None or progress.auto_paused_at is not None:
        return
    found = job.schedule.next(_not_before_start(policy, after))
    while found is not None and left != 0 and not _ended(policy, found.at):
        yield found
        left = None if left is None else left - 1
        found = job.schedule.next(found.at)


def grace_of(job: TimedJob, slot: datetime) -> float:
    """Seconds that the run for `slot` may be late: as set, else a period between a minute and a day."""
    if job.policy.grace is not None:
        return job.policy.grace
    return min(max(job.schedule.period(slot).total_seconds(), SHORTEST_GRACE), LONGEST_GRACE)


def _not_before_start(policy: Policy, after: datetime) -> datetime:
    return after if policy.start is None else max(after, policy.start - _TICK)


def _begun(policy: Policy, at: datetime) -> bool:
    return (policy.start is None or at >= policy.start) and not _ended(policy, at)


def _ended(policy: Policy, at: datetime) -> bool:
    return policy.end is not None and at > policy.end


def _runs_left(policy: Policy, progress: Progress) -> int | None:
    return None if policy.max_runs is None else max(policy.max_runs - progress.claimed, 0)


@dataclass
class _Planner:
    """The state of one `plan_job`."""

    job: TimedJob
    progress: Progress
    now: datetime
    stagger: float

    @property
    def policy(self) -> Policy:
        return self.job.policy

    @property
    def schedule(self) -> Schedule:
        return self.job.schedule

    @property
    def paused(self) -> bool:
        return self.job.paused_at is not None or self.progress.auto_paused_at is not None

    def plan(self) -> JobPlan:
        handled = self.progress.handled
        floor = self.job.since if handled is None else max(self.job.since, handled)
        floor = _not_before_start(self.policy, floor)
        left = _runs_left(self.policy, self.progress)
        first = None if left == 0 else self.schedule.next(floor)
        if first is not None and _ended(self.policy, first.at):
            first = None
        if first is None or first.at > self.now:
            decisions, wake = self.retry(superseded=False)
            return JobPlan(tuple(decisions), _earliest(wake, None if first is None else first.at))

        until = self.now if self.policy.end is None else min(self.now, self.policy.end)
        decisions, _ = self.retry(superseded=True)
        give_up: datetime | None = None
        if self.paused:
            decisions += self.paused_slots(floor, until)
        else:
            decided, give_up = self.due(floor, until, left)
            decisions += decided
            if left is not None:
                left -= sum(isinstance(decision, Fire) and decision.attempt == 1 for decision in decided)
        following = None if left == 0 else self.schedule.next(max(self.now, floor))
        if following is not None and _ended(self.policy, following.at):
            following = None
        return JobPlan(tuple(decisions), _earliest(give_up, None if following is None else following.at))

    def retry(self, *, superseded: bool) -> tuple[list[Decision], datetime | None]:
        """What becomes of a pending retry, and when it is due."""
        retry = self.progress.retry
        if retry is None:
            return [], None
        reason = ""
        if superseded:
            reason = SUPERSEDED
        elif self.paused:
            reason = PAUSED if self.job.paused_at is not None else self.auto_paused()
        elif _ended(self.policy, max(self.now, retry.not_before)):
            reason = "after the job's end"
        if reason:
            slot = retry.scheduled_for
            return [Skip(self.job.id, slot, slot, 1, "skipped", reason)], None
        if self.progress.active:
            return [], None  # a run by hand is in the way; asked again when it has ended
        if retry.not_before > self.now:
            return [], retry.not_before
        return [
            Fire(
                self.job.id,
                retry.scheduled_for,
                "retry",
                start_at=self.now,
                attempt=retry.attempt,
                reason=f"attempt {retry.attempt} of {self.policy.retries + 1}",
            )
        ], None

    def auto_paused(self) -> str:
        count = self.policy.pause_after_failures
        return f"paused after {count} failures in a row" if count else "paused after failures"

    def paused_slots(self, floor: datetime, until: datetime) -> list[Decision]:
        """Slots of the time before the pause are missed, later ones skipped, each for the pause that was first."""
        by_hand, by_failures = self.job.paused_at, self.progress.auto_paused_at
        begins = min(at for at in (by_hand, by_failures) if at is not None)
        taken_over = max(begins, until if by_hand is None else by_hand)
        return [
            *self.skip(floor, min(begins, until), "missed", "not run before the job was paused"),
            *self.skip(max(floor, begins), min(taken_over, until), "skipped", self.auto_paused()),
            *self.skip(max(floor, taken_over), until, "skipped", PAUSED),
        ]

    def due(
        self, floor: datetime, until: datetime, left: int | None
    ) -> tuple[list[Decision], datetime | None]:
        """Decisions about the slots in floor < slot <= until, and when those that wait are given up."""
        newest = self.schedule.latest(floor, until)
        assert newest is not None
        grace = grace_of(self.job, newest.at)
        waits = self.progress.waits_for
        lateness, reason = self.lateness(grace)
        decisions: list[Decision] = []
        if lateness is not None:
            too_late = self.now - timedelta(seconds=lateness) - _TICK
            decisions += self.skip(
                floor,
                min(too_late, until),
                "skipped" if waits else "missed",
                f"waited for {', '.join(waits)} until the grace of {format_duration(grace)} ended"
                if waits
                else reason,
            )
            floor = max(floor, too_late)
        if newest.at <= floor:
            return decisions, None

        blocked = self.blocked()
        catches_all_up = self.policy.catch_up == "all"
        if blocked and not catches_all_up:
            return [*decisions, *self.skip(floor, until, "skipped", blocked)], None
        if waits:
            oldest = self.schedule.next(floor)
            assert oldest is not None
            assert lateness is not None
            return decisions, oldest.at + timedelta(seconds=lateness, milliseconds=1)
        if catches_all_up:
            # What is caught up runs one after the other, and so behind any other run too; what is on time may not.
            on_time = max(floor, self.now - timedelta(seconds=PUNCTUAL) - _TICK) if blocked else until
            decisions += self.each(floor, min(on_time, until), left)
            if blocked and (left is None or left > sum(isinstance(decision, Fire) for decision in decisions)):
                decisions += self.skip(on_time, until, "skipped", blocked)
            return decisions, None
        return [*decisions, *self.newest(floor, newest)], None

    def lateness(self, grace: float) -> tuple[float | None, str]:
        """How many seconds late a run may start, None: any number, and what is said of those that are later."""
        if self.policy.catch_up == "none" and not self.policy.after:
            return max(min(grace, PUNCTUAL), SHORTEST_LATENESS), "late, and nothing is caught up"
        if self.policy.catch_up == "all" and self.policy.grace is None and not self.progress.waits_for:
            return None, ""
        return max(grace, SHORTEST_LATENESS), f"late by more than the grace of {format_duration(grace)}"

    def blocked(self) -> str:
        """Why no run may be added to those that are active; empty when one may."""
        active = self.progress.active
        if not active:
            return ""
        if self.policy.overlap == "skip":
            return f"run {active[0]} had not ended"
        if self.policy.overlap == "queue" and self.progress.queued:
            return "another run was queued already"
        return ""

    def newest(self, floor: datetime, newest: Occurrence) -> list[Decision]:
        """One run for all slots since `floor`."""
        older = self.skip(
            floor,
            newest.at - _TICK,
            "missed",
            f"made up for by the run for {newest.at.isoformat(timespec='seconds')}",
        )
        begun = older[0].first if older else newest.at
        count = 1 + sum(skip.count for skip in older)
        late = (self.now - begun).total_seconds() > PUNCTUAL
        reason = ""
        if late:
            reason = f"{format_duration(round((self.now - newest.at).total_seconds()))} late"
            if count > 1:
                reason += f", for {count} slots"
        return [*older, self.fire(newest, late=late, reason=reason)]

    def each(self, floor: datetime, until: datetime, left: int | None) -> list[Decision]:
        """A run for each slot since `floor`, the newest hundred."""
        count = self.schedule.count(floor, until)
        decisions: list[Decision] = []
        if count > CATCH_UP_LIMIT:
            kept_after = self.back(floor, until, CATCH_UP_LIMIT)
            decisions += self.skip(
                floor, kept_after, "missed", f"more than {CATCH_UP_LIMIT} slots to catch up with"
            )
            floor = kept_after
        for slot in self.schedule.between(floor, until):
            if left == 0:
                break
            left = None if left is None else left - 1
            late = (self.now - slot.at).total_seconds() > PUNCTUAL
            reason = f"{format_duration(round((self.now - slot.at).total_seconds()))} late" if late else ""
            decisions.append(self.fire(slot, late=late, reason=reason))
        # The runs come one after the other, so only the first has anything to replace.
        first = len(decisions) - sum(isinstance(decision, Fire) for decision in decisions)
        return [
            replace(decision, replaces=()) if isinstance(decision, Fire) and place > first else decision
            for place, decision in enumerate(decisions)
        ]

    def back(self, floor: datetime, until: datetime, keep: int) -> datetime:
        """The slot before the last `keep` ones."""
        at = until
        for _ in range(keep):
            slot = self.schedule.latest(floor, at)
            assert slot is not None
            at = slot.at - _TICK
        slot = self.schedule.latest(floor, at)
        assert slot is not None
        return slot.at

    def fire(self, slot: Occurrence, *, late: bool, reason: str) -> Fire:
        active = self.progress.active
        if active and self.policy.overlap == "queue" and not reason:
            reason = f"queued behind run {active[0]}"
        trigger: RunTrigger = "schedule"
        if late:
            trigger = "dependency" if self.policy.after else "catch_up"
        start_at = slot.at
        if self.policy.jitter > 0:
            start_at += jitter_offset(self.job.id, self.policy.jitter, self.schedule.period(slot.at))
        start_at = max(start_at, self.now)
        if late:
            start_at += timedelta(seconds=self.stagger)
        return Fire(
            self.job.id,
            slot.at,
            trigger,
            start_at=start_at,
            collapsed=slot.collapsed,
            reason=reason or slot.note,
            replaces=active if self.policy.overlap == "replace" else (),
        )

    def at_start(self) -> list[Decision]:
        slot = Occurrence(self.now)
        blocked = self.blocked()
        if self.paused:
            blocked = PAUSED if self.job.paused_at is not None else self.auto_paused()
        if blocked:
            return [Skip(self.job.id, self.now, self.now, 1, "skipped", blocked)]
        decisions, _ = self.retry(superseded=True)
        return [*decisions, self.fire(slot, late=False, reason="the daemon started")]

    def skip(
        self, after: datetime, until: datetime, status: Literal["missed", "skipped"], reason: str
    ) -> list[Skip]:
        """The slots in after < slot <= until as one Skip; nothing when there are none."""
        last = self.schedule.latest(after, until) if until > after else None
        if last is None:
            return []
        first = self.schedule.next(after)
        assert first is not None
        return [Skip(self.job.id, first.at, last.at, self.schedule.count(after, until), status, reason)]


def _earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)
