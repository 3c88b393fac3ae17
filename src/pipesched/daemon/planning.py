"""From jobs whose time has come to claimed runs: asks the ledger, decides purely, writes all decisions down at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Final

from pipesched.daemon.admission import Waiting
from pipesched.daemon.agenda import Agenda
from pipesched.daemon.reasons import why, why_not
from pipesched.errors import PipeschedError
from pipesched.runs.ids import new_run_id
from pipesched.schedule.model import Decision, Fire, JobPlan, Progress, Skip, TimedJob
from pipesched.schedule.tick import CHANGED, REMOVED, plan_job, plan_start
from pipesched.schedule.unrecorded import unrecorded_slots

if TYPE_CHECKING:
    from pipesched.jobs.model import Job
    from pipesched.runs.ledger import Ledger

log = logging.getLogger(__name__)

BATCH: Final = 256
"""Jobs that are planned in one turn of the loop, so that signals and exits are never kept waiting for long."""
TROUBLE_SECONDS: Final = 5.0
"""Until the next try where the ledger could not be used."""
POISON_SECONDS: Final = 60.0
POISON_CAP_SECONDS: Final = 3600.0
BY_HAND_SECONDS: Final = 5.0
"""How soon a job sees that a run by hand, which nobody tells the daemon of, is what it waits for."""
STAGGER_SECONDS: Final = 0.25
STAGGER_CAP_SECONDS: Final = 60.0
SPIN_SECONDS: Final = 1.0
"""A job that is due again at once, whatever was decided, is looked at again no sooner."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the daemon has to know of a run's options: the store that it writes to ("": none), and whether it is a dry run."""

    store: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """An occurrence that is ours now. `replaces`: runs to be ended first.

    `begun`: it is marked as started already, because it starts when its time comes, at once or in a moment: one sync of the
    disk instead of two.
    """

    run: Waiting
    replaces: tuple[str, ...] = ()
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """`more`: further jobs are due already."""

    claims: tuple[Claim, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class _LeftBehind:
    """A job as it was: its slots up to `until` are nobody else's to record. `why`: they are missed."""

    job: TimedJob
    until: datetime
    why: str


def _never(_: Waiting) -> bool:
    return False


class Planner:
    """Knows the jobs and when to look at each.

    `stagger`: seconds between the starts of runs that are late, so that the end of a downtime is no stampede.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        settings: Callable[[Job], RunSettings],
        stagger: float = STAGGER_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._settings_of = settings
        self._agenda = Agenda()
        self._jobs: dict[str, Job] = {}
        self._timed: dict[str, TimedJob] = {}
        self._dependents: dict[str, set[str]] = {}
        self._settings: dict[str, RunSettings] = {}
        self._failures: dict[str, int] = {}
        self._left_behind: list[_LeftBehind] = []
        self._order = count()
        self._ledger_trouble = ""
        self._stagger_step = stagger
        self._stagger = 0.0

    # The jobs

    def set_jobs(self, jobs: Mapping[str, Job], now: datetime) -> set[str]:
        """These are the jobs from now on. The ids of those that are new, changed or gone are returned."""
        changed = {
            job_id
            for job_id, job in jobs.items()
            if (known := self._jobs.get(job_id)) is not job and known != job
        }
        gone = self._jobs.keys() - jobs.keys()
        self._leave_behind(jobs, changed | gone, now)
        self._jobs = dict(jobs)
        self._settings.clear()  # the file's defaults may have changed
        for job_id in gone:
            self._agenda.set(job_id, None)
            self._timed.pop(job_id, None)
            self._failures.pop(job_id, None)
        for job_id in changed:
            self._failures.pop(job_id, None)
            try:
                self._timed[job_id] = jobs[job_id].timed()
            except Exception as error:  # noqa: BLE001  a poison job must not stop the others
                self._timed.pop(job_id, None)
                self._agenda.set(job_id, None)
                log.warning("job %s cannot be scheduled: %s", job_id, error, extra={"job_id": job_id})
                continue
            self._agenda.set(job_id, now)
        self._dependents = {}
        for job in self._timed.values():
            for parent in job.policy.after:
                self._dependents.setdefault(parent, set()).add(job.id)
        return changed | gone

    def _leave_behind(self, jobs: Mapping[str, Job], changed: set[str], now: datetime) -> None:
        """What was due by an old schedule and not decided about, as a slot that waits for another job, is to be recorded."""
        # Without created_at: the ledger is not to take the job that was for the one that is.
        for job_id in changed & self._timed.keys():
            old, new = self._timed[job_id], jobs.get(job_id)
            if new is None:
                self._left_behind.append(_LeftBehind(replace(old, created_at=None), now, REMOVED))
            elif new.since > old.since:
                self._left_behind.append(_LeftBehind(replace(old, created_at=None), new.since, CHANGED))

    def job(self, job_id: str) -> TimedJob | None:
        return self._timed.get(job_id)

    def settings(self, job_id: str) -> RunSettings:
        """Where the job's options do not fit together, its run will say so: it writes to no store."""
        found = self._settings.get(job_id)
        if found is None:
            job = self._jobs.get(job_id)
            try:
                found = RunSettings("") if job is None else self._settings_of(job)
            except Exception as error:  # noqa: BLE001  as above
                log.warning("job %s: %s", job_id, error, extra={"job_id": job_id})
                found = RunSettings("")
            self._settings[job_id] = found
        return found

    # When to look

    def look_at(self, job_id: str, at: datetime) -> None:
        """Something happened to the job: plan it anew, and those that wait for it."""
        for each in (job_id, *self._dependents.get(job_id, ())):
            if each in self._timed:
                self._agenda.set(each, at)

    def look_at_all(self, at: datetime) -> None:
        for job_id in self._timed:
            self._agenda.set(job_id, at)

    @property
    def in_trouble(self) -> bool:
        """Whether the ledger could not be used the last time."""
        return self._ledger_trouble != ""

    def next_wake(self) -> datetime | None:
        return self._agenda.next_wake()

    # What is due

    def plan(self, horizon: datetime, now: datetime, starts: Callable[[Waiting], bool] = _never) -> Planned:
        """Decide about the jobs that are due at `horizon`, and record what was decided; at most BATCH of them.

        `starts` says of each claim, once, whether it starts when its time comes.

        `horizon` is a moment after `now`, so that the disk is done with a claim when its time comes; it is before `now` where a
        daemon that runs once leaves what comes due while it works.
        """
        due = self._agenda.due(horizon, limit=BATCH)
        jobs = [self._timed[job_id] for job_id, _ in due if job_id in self._timed]
        if not jobs and not self._left_behind:
            return Planned()
        try:
            latest = max(horizon, now)
            self._record(
                [(each.job, self._slots_of(each)) for each in self._left_behind], now, latest, _never
            )
            self._left_behind.clear()
            progress = self._ledger.progress(jobs)
            plans = [(job, plan) for job in jobs if (plan := self._plan(job, progress[job.id], horizon, now))]
            claims = self._record([(job, plan.decisions) for job, plan in plans], now, latest, starts)
        except PipeschedError as error:
            self._say_trouble(error)
            for job in jobs:
                self._agenda.set(job.id, now + timedelta(seconds=TROUBLE_SECONDS))
            return Planned()
        self._ledger_trouble = ""
        for job, plan in plans:
            wake = _wake(job, plan, progress[job.id], latest)
            self._agenda.set(job.id, wake)
            if not plan.decisions and log.isEnabledFor(logging.DEBUG):
                idle = why_not(job, progress[job.id], wake)
                log.debug("job %s: nothing to do: %s", job.id, idle, extra={"job_id": job.id})
        wake = self._agenda.next_wake()
        more = wake is not None and wake <= horizon
        if not more:
            self._stagger = 0.0
        return Planned(tuple(claims), more)

    def _slots_of(self, left: _LeftBehind) -> tuple[Skip, ...]:
        progress = self._ledger.progress([left.job])[left.job.id]
        try:
            return tuple(unrecorded_slots(left.job, progress, left.until, why=left.why))
        except Exception:  # as in `_plan`
            log.exception(
                "job %s: what was left of its old schedule is not known",
                left.job.id,
                extra={"job_id": left.job.id},
            )
            return ()

    def fire_at_start(self, now: datetime) -> tuple[Claim, ...]:
        """The jobs that are due because the daemon starts (`@reboot`). Raises what the ledger raises."""
        jobs = [job for job in self._timed.values() if job.schedule.at_start]
        progress = self._ledger.progress(jobs)
        decided = [(job, plan_start(job, progress[job.id], now).decisions) for job in jobs]
        return tuple(self._record(decided, now, now, _never))

    def _plan(self, job: TimedJob, progress: Progress, horizon: datetime, now: datetime) -> JobPlan | None:
        try:
            plan = plan_job(job, progress, horizon, stagger=self._stagger)
        except Exception as error:  # a poison job must neither stop the others nor spin
            failures = self._failures[job.id] = self._failures.get(job.id, 0) + 1
            wait = min(POISON_SECONDS * 2 ** min(failures - 1, 40), POISON_CAP_SECONDS)
            log.exception(
                "job %s cannot be planned; looked at again in %d s",
                job.id,
                wait,
                exc_info=error,
                extra={"job_id": job.id},
            )
            self._agenda.set(job.id, now + timedelta(seconds=wait))
            return None
        self._failures.pop(job.id, None)
        if any(
            isinstance(each, Fire) and each.trigger in {"catch_up", "dependency"} for each in plan.decisions
        ):
            self._stagger = min(self._stagger + self._stagger_step, STAGGER_CAP_SECONDS)
        return plan

    def _record(
        self,
        decided: Iterable[tuple[TimedJob, tuple[Decision, ...]]],
        now: datetime,
        latest: datetime,
        starts: Callable[[Waiting], bool],
    ) -> list[Claim]:
        """Write the decisions down, all together, and return what was claimed. `latest`: as far as was planned ahead."""
        todo = [(job, decisions) for job, decisions in decided if decisions]
        if not todo:
            return []
        fired: list[tuple[Fire, Claim]] = []
        with self._ledger.batch():
            for _, decisions in todo:
                for decision in decisions:
                    if isinstance(decision, Skip):
                        self._ledger.record_slots(decision, now)
                    elif claim := self._claim(decision, now, latest, starts):
                        fired.append((decision, claim))
        # Said only now: before the end of the batch nothing has happened.
        for job, decisions in todo:
            for decision in decisions:
                if isinstance(decision, Skip):
                    log.info(
                        "job %s: %d x %s, until %s: %s",
                        job.id, decision.count, decision.status, decision.last.isoformat(), decision.reason,
                        extra={"job_id": job.id},
                    )  # fmt: skip
        for fire, claim in fired:
            log.debug(
                "job %s: fires for %s as run %s: %s",
                fire.job_id, fire.scheduled_for.isoformat(), claim.run.run_id, why(fire, now), extra=claim.run.ids,
            )  # fmt: skip
        return [claim for _, claim in fired]

    def _claim(
        self, fire: Fire, now: datetime, latest: datetime, starts: Callable[[Waiting], bool]
    ) -> Claim | None:
        settings = self.settings(fire.job_id)
        at = min(max(now, fire.start_at), latest)  # the record tells of no run before its time
        run_id = new_run_id(fire.job_id, now)
        mine = self._ledger.claim(
            run_id,
            fire.job_id,
            scheduled_for=fire.scheduled_for,
            attempt=fire.attempt,
            trigger=fire.trigger,
            count=fire.collapsed,
            reason=fire.reason,
            not_before=fire.start_at if fire.start_at > at else None,
            now=at,
            dry_run=settings.dry_run,
        )
        if not mine:
            return None
        run = Waiting(
            run_id=run_id,
            job_id=fire.job_id,
            scheduled_for=fire.scheduled_for,
            attempt=fire.attempt,
            not_before=fire.start_at,
            store=settings.store,
            order=next(self._order),
        )
        begun = starts(run)
        if begun:
            self._ledger.started(run_id, pid=None, pid_started=None, now=at)
        return Claim(run, fire.replaces, begun)

    def _say_trouble(self, error: PipeschedError) -> None:
        if error.message != self._ledger_trouble:
            log.error("nothing can be claimed: %s. %s", error.message, error.hint)
        self._ledger_trouble = error.message


def _wake(job: TimedJob, plan: JobPlan, progress: Progress, now: datetime) -> datetime | None:
    wake = plan.wake_at
    if (job.policy.after and progress.waits_for) or (progress.retry and progress.active):
        soon = now + timedelta(seconds=BY_HAND_SECONDS)
        wake = soon if wake is None else min(wake, soon)
    if wake is not None and wake <= now:
        wake = now + timedelta(seconds=SPIN_SECONDS)
    return wake
