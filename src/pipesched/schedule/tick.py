"""What is to be done about a job now: each occurrence becomes one Fire, or is inside one Skip, with its reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, Literal

from pipesched.schedule.delays import jitter_offset
from pipesched.schedule.model import (
    TICK,
    Decision,
    Fire,
    JobPlan,
    Occurrence,
    Progress,
    RunTrigger,
    Schedule,
    Skip,
    TimedJob,
    TriggerOn,
)
from pipesched.schedule.open_slots import OpenSchedule
from pipesched.schedule.outlook import (
    PUNCTUAL,
    begun,
    ended,
    grace_of,
    lateness,
    not_before_start,
    open_schedule,
    runs_left,
    too_late,
)
from pipesched.schedule.timetext import format_duration

CATCH_UP_LIMIT: Final = 100

PAUSED: Final = "paused"
SUPERSEDED: Final = "superseded"
CUT_OFF: Final = "again, since the daemon's stop had cut it off"
CHANGED: Final = "not run before its schedule was changed"
REMOVED: Final = "the job was removed before its run could start"

_WAITED_FOR: Final[dict[TriggerOn, str]] = {"success": "", "failure": " to fail", "any": " to end"}


def plan_job(job: TimedJob, progress: Progress, now: datetime, *, stagger: float = 0.0) -> JobPlan:
    """The decisions about `job` that are due at `now` (aware), oldest first, and when to ask again.

    `stagger` (seconds) delays what is late, so that a start-up is no stampede. A Fire of a job with active runs that it
    does not replace waits until they have ended; several Fires run one after the other.
    """
    return _Planner(job, progress, now, stagger).plan()


def plan_start(job: TimedJob, progress: Progress, now: datetime) -> JobPlan:
    """The decisions about an `@reboot` job when the daemon starts, at `now`; none about any other job."""
    if not job.schedule.at_start or not begun(job.policy, now) or runs_left(job.policy, progress) == 0:
        return JobPlan()
    if progress.handled is not None and progress.handled >= now:
        return JobPlan()  # the clock went back over an earlier start
    return JobPlan(tuple(_Planner(job, progress, now, 0.0).at_start()))


@dataclass(frozen=True, slots=True)
class _Due:
    """What is decided about the slots up to `until`, and when those after it are given up or may start."""

    decisions: list[Decision]
    until: datetime
    wake_at: datetime | None = None


class _Planner:
    """The state of one `plan_job`. `schedule`: what the job's blackout leaves of its schedule."""

    def __init__(self, job: TimedJob, progress: Progress, now: datetime, stagger: float) -> None:
        self.job = job
        self.policy = job.policy
        self.progress = progress
        self.now = now
        self.stagger = stagger
        self.schedule = open_schedule(job)

    @property
    def paused(self) -> bool:
        return self.job.paused_at is not None or self.progress.auto_paused_at is not None

    def plan(self) -> JobPlan:
        handled = self.progress.handled
        floor = self.job.since if handled is None else max(self.job.since, handled)
        floor = not_before_start(self.policy, floor)
        left = runs_left(self.policy, self.progress)
        first = None if left == 0 else self.slot_after(floor)
        if first is None or first > self.now:
            decisions, wake = self.retry(superseded=False)
            return JobPlan(tuple(decisions), _earliest(wake, first))

        until = self.now if self.policy.end is None else min(self.now, self.policy.end)
        wake = None
        if self.paused:
            decisions, _ = self.retry(superseded=True)
            decisions += self.paused_slots(floor, until)
        elif (newest := self.schedule.latest(floor, until)) is None:
            decisions, wake = self.retry(superseded=False)
            decisions += self.closed(floor, until)
        else:
            owed = self.progress.retry is not None and self.progress.retry.owed
            # Where each slot is caught up, the newest does not stand for the one that was cut off.
            decisions, wake = self.retry(superseded=not (owed and self.policy.catch_up == "all"))
            due = self.due(floor, until, left, newest)
            wake = _earliest(wake, due.wake_at)
            if left is not None:
                fires = [each.scheduled_for for each in due.decisions if isinstance(each, Fire)]
                left -= len(fires)
                if left == 0:
                    until = fires[-1]  # with it the job is done
            decisions += self.with_closed(due.decisions, self.closed(floor, min(until, due.until)))
        following = None if left == 0 else self.slot_after(max(self.now, floor))
        return JobPlan(tuple(decisions), _earliest(wake, following))

    def slot_after(self, after: datetime) -> datetime | None:
        """The next one that is to be decided about, also one inside the blackout."""
        found = self.job.schedule.next(after)
        return None if found is None or ended(self.policy, found.at) else found.at

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
        elif ended(self.policy, max(self.now, retry.not_before)):
            reason = "after the job's end"
        elif retry.owed:
            reason = too_late(self.job, retry.scheduled_for, retry.scheduled_for, self.now)
        elif retry.attempt - retry.stops > self.policy.retries + 1:
            reason = "its retries were taken away"
        if reason:
            slot = retry.scheduled_for
            return [Skip(self.job.id, slot, slot, 1, "skipped", reason)], None
        if self.progress.active:
            return [], None  # a run by hand is in the way; asked again when it has ended
        if retry.not_before > self.now:
            return [], retry.not_before
        if (opens := self.opens_at()) is not None:
            return [], opens
        return [
            Fire(
                self.job.id,
                retry.scheduled_for,
                "retry",
                start_at=self.now,
                attempt=retry.attempt,
                reason=CUT_OFF
                if retry.owed
                else f"attempt {retry.attempt} of {self.policy.retries + 1 + retry.stops}",
            )
        ], None

    def opens_at(self) -> datetime | None:
        """Until when, at the least, nothing may start because of the blackout; None: something may now."""
        blackout = self.policy.blackout
        if blackout is None or not blackout.reason(self.now):
            return None
        return blackout.stretch(self.now).end

    def closed(self, after: datetime, until: datetime) -> list[Skip]:
        """The slots in after < slot <= until that the blackout swallows."""
        if not isinstance(self.schedule, OpenSchedule):
            return []
        return [
            Skip(self.job.id, each.first, each.last, each.count, "skipped", each.reason)
            for each in self.schedule.closed(after, until)
        ]

    def with_closed(self, decisions: Iterable[Decision], closed: list[Skip]) -> list[Decision]:
        """Both, oldest first; a Skip that has slots on both sides of a closed time becomes two."""
        if not closed:
            return list(decisions)
        merged: list[Decision] = []
        rest = deque(closed)
        for decision in decisions:
            if isinstance(decision, Fire):
                while rest and rest[0].first < decision.scheduled_for:
                    merged.append(rest.popleft())
                merged.append(decision)
                continue
            after = decision.first - TICK
            while rest and rest[0].first < decision.last:
                merged += self.skip(after, rest[0].first - TICK, decision.status, decision.reason)
                after = rest[0].last
                merged.append(rest.popleft())
            merged += self.skip(after, decision.last, decision.status, decision.reason)
        return [*merged, *rest]

    def auto_paused(self) -> str:
        count = self.policy.pause_after_failures
        return f"paused after {count} failures in a row" if count else "paused after failures"

    def paused_slots(self, floor: datetime, until: datetime) -> list[Decision]:
        """Slots of the time before the pause are missed, later ones skipped, each for the pause that was first."""
        by_hand, by_failures = self.job.paused_at, self.progress.auto_paused_at
        begins = min(at for at in (by_hand, by_failures) if at is not None)
        taken_over = max(begins, until if by_hand is None else by_hand)
        before = self.skip(floor, min(begins, until), "missed", "not run before the job was paused")
        everything = self.job.schedule
        return [
            *self.with_closed(before, self.closed(floor, min(begins, until))),
            *self.skip(max(floor, begins), min(taken_over, until), "skipped", self.auto_paused(), everything),
            *self.skip(max(floor, taken_over), until, "skipped", PAUSED, everything),
        ]

    def due(self, floor: datetime, until: datetime, left: int | None, newest: Occurrence) -> _Due:
        """Decisions about the slots in floor < slot <= until, the last of which is `newest`."""
        grace = grace_of(self.job, newest.at)
        waits = self.progress.waits_for
        late_by, reason = lateness(self.policy, grace, waits=bool(waits))
        status: Literal["missed", "skipped"] = "missed"
        if waits:
            status = "skipped"
            reason = (
                f"waited for {', '.join(waits)}{_WAITED_FOR[self.policy.trigger_on]}"
                f" until the grace of {format_duration(grace)} ended"
            )
        decisions: list[Decision] = []
        if late_by is not None:
            given_up = self.now - timedelta(seconds=late_by) - TICK
            decisions += self.skip(floor, min(given_up, until), status, reason)
            floor = max(floor, given_up)
        if newest.at <= floor:
            return _Due(decisions, until)

        blocked = self.blocked()
        catches_all_up = self.policy.catch_up == "all"
        if blocked and not catches_all_up:
            return _Due([*decisions, *self.skip(floor, until, "skipped", blocked)], until)
        opens = self.opens_at() if self.is_late(newest.at) else None
        if waits or opens:
            oldest = next(self.schedule.between(floor, until))
            give_up = None if late_by is None else oldest.at + timedelta(seconds=late_by, milliseconds=1)
            return _Due(decisions, oldest.at - TICK, _earliest(give_up, opens))
        if catches_all_up:
            # What is caught up runs one after the other, and so behind any other run too; what is on time may not.
            on_time = max(floor, self.now - timedelta(seconds=PUNCTUAL) - TICK) if blocked else until
            decisions += self.each(floor, min(on_time, until), left)
            if blocked and (left is None or left > sum(isinstance(decision, Fire) for decision in decisions)):
                decisions += self.skip(on_time, until, "skipped", blocked)
            return _Due(decisions, until)
        return _Due([*decisions, *self.newest(floor, newest)], until)

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
            newest.at - TICK,
            "missed",
            f"made up for by the run for {newest.at.isoformat(timespec='seconds')}",
        )
        oldest = older[0].first if older else newest.at
        count = 1 + sum(skip.count for skip in older)
        late = self.is_late(oldest)
        reason = ""
        if late:
            reason = self.how_late(newest.at)
            if count > 1:
                reason += f", for {count} slots"
        return [*older, self.fire(newest, late=late, reason=reason)]

    def each(self, floor: datetime, until: datetime, left: int | None) -> list[Decision]:
        """A run for each slot since `floor`, the newest hundred."""
        older: list[Skip] = []
        if self.schedule.count(floor, until) > CATCH_UP_LIMIT:
            kept_after = self.back(floor, until, CATCH_UP_LIMIT)
            older = self.skip(
                floor, kept_after, "missed", f"more than {CATCH_UP_LIMIT} slots to catch up with"
            )
            floor = kept_after
        fires: list[Fire] = []
        for slot in islice(self.schedule.between(floor, until), left):
            late = self.is_late(slot.at)
            fire = self.fire(slot, late=late, reason=self.how_late(slot.at) if late else "")
            # The runs come one after the other, so only the first has anything to replace.
            fires.append(replace(fire, replaces=()) if fires else fire)
        return [*older, *fires]

    def is_late(self, slot: datetime) -> bool:
        return (self.now - slot).total_seconds() > PUNCTUAL

    def how_late(self, slot: datetime) -> str:
        return f"{format_duration(round((self.now - slot).total_seconds()))} late"

    def back(self, floor: datetime, until: datetime, keep: int) -> datetime:
        """The slot before the last `keep` ones."""
        at = until
        for _ in range(keep):
            slot = self.schedule.latest(floor, at)
            assert slot is not None
            at = slot.at - TICK
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
        if late:
            start_at = max(start_at, self.now) + timedelta(seconds=self.stagger)
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
        if self.policy.blackout is not None:
            blocked = self.policy.blackout.reason(self.now) or blocked
        if self.paused:
            blocked = PAUSED if self.job.paused_at is not None else self.auto_paused()
        if blocked:
            return [Skip(self.job.id, self.now, self.now, 1, "skipped", blocked)]
        decisions, _ = self.retry(superseded=True)
        return [*decisions, self.fire(slot, late=False, reason="the daemon started")]

    def skip(
        self,
        after: datetime,
        until: datetime,
        status: Literal["missed", "skipped"],
        reason: str,
        schedule: Schedule | None = None,
    ) -> list[Skip]:
        """The slots in after < slot <= until as one Skip; nothing when there are none."""
        schedule = schedule or self.schedule
        last = schedule.latest(after, until) if until > after else None
        if last is None:
            return []
        first = next(schedule.between(after, until))
        return [Skip(self.job.id, first.at, last.at, schedule.count(after, until), status, reason)]


def _earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)
