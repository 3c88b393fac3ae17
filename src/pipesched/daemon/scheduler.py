"""The state machine of the daemon: claimed runs are admitted, started, ended when they must be, judged and recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pipesched.daemon.admission import Occupied, Seats, Waiting, admit
from pipesched.daemon.cancellation import CANCELLED, Cancellations
from pipesched.daemon.clock import Clock
from pipesched.daemon.launch import Exit, Launch, Spawner, Started
from pipesched.daemon.planning import TROUBLE_SECONDS, Claim, Planner
from pipesched.daemon.records import Recorder
from pipesched.daemon.setback import settle_setback
from pipesched.daemon.verdict import Stop, Verdict, document_counts, judge
from pipesched.errors import InputOutputError, PipeschedError
from pipesched.runs.model import EXECUTED, FAILED
from pipesched.schedule.tick import REMOVED

if TYPE_CHECKING:
    from pipesched.jobs.model import Job

log = logging.getLogger(__name__)

Report = Mapping[str, Any]
FOREVER: Final = float("inf")
LEAD: Final = timedelta(milliseconds=25)
"""How long before its time an occurrence is claimed: several times what a disk takes to make a claim durable."""
CLOCK_SLACK: Final = timedelta(milliseconds=1)
"""Reports have their times in milliseconds."""


@dataclass(slots=True)
class _Running:
    """A run whose process lives. `deadline`: when it has run too long, on the monotonic clock. `stop`: why it is being ended."""

    waited: Waiting
    started_at: datetime
    deadline: float | None = None
    stop: Stop | None = None


class Scheduler:
    """One `step` at each turn of the loop; `ended` for each process that has ended. Never waits, and starts nothing twice.

    `report`: a run's report by its id, None where it wrote none. `horizon`: leave what comes due later than this (run once).
    `lead`: so long before its time an occurrence is claimed, so that nothing is left to do but to start it.
    """

    def __init__(
        self,
        planner: Planner,
        recorder: Recorder,
        spawner: Spawner,
        *,
        clock: Clock,
        report: Callable[[str], Report | None],
        cancellations: Cancellations,
        max_workers: int,
        horizon: datetime | None = None,
        lead: timedelta = timedelta(0),
    ) -> None:
        self.planner = planner
        self.recorder = recorder
        self._spawner = spawner
        self._clock = clock
        self._report = report
        self._cancellations = cancellations
        self._max_workers = max_workers
        self._horizon = horizon
        self._lead = lead
        self._waiting: dict[str, Waiting] = {}
        self._ready: dict[str, Waiting] = {}
        """Claimed and marked as started: each starts, whatever happens, when its time comes, which is within `lead`."""
        self._running: dict[str, _Running] = {}
        self._unnoted: list[tuple[str, Started]] = []
        self._waits_for: dict[str, str] = {}
        self._next_admission: datetime | None = None
        self._more_is_due = False
        self.launching = True
        self._failures = 0

    # What is known

    @property
    def running(self) -> int:
        return len(self._running) + len(self._ready)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing is due, waits, runs, or is yet to be written down."""
        return not (self.running or self._waiting or self._more_is_due or self.recorder.unwritten)

    @property
    def has_failed(self) -> bool:
        """Whether a run has failed, or nothing could be claimed."""
        return self._failures > 0 or self.planner.in_trouble

    def _plan_time(self, now: datetime | None = None) -> datetime:
        now = now or self._clock.now()
        return now if self._horizon is None else min(now, self._horizon)

    # What happens

    def set_jobs(self, jobs: Mapping[str, Job]) -> None:
        """The job file says this now. What waits for a job that is gone or paused does not start any more."""
        changed = self.planner.set_jobs(jobs, self._plan_time())
        for run in list(self._waiting.values()):
            job = jobs.get(run.job_id)
            if job is None:
                self.give_up(run, REMOVED)
            elif run.job_id in changed and not job.enabled:
                self.give_up(run, "paused")
            else:
                self._waiting[run.run_id] = replace(run, store=self.planner.settings(run.job_id).store)

    def step(self) -> float:
        """Do what is to be done now; the seconds until there is more to do, unless something happens before."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        self.launch_ready()
        self.recorder.flush(monotonic=monotonic)
        self._end_overdue(monotonic)
        self._settle_cancelled()
        if self.launching:
            self._admit(now)  # who waits already starts before what comes due now
            # One time for both: a claim from a microsecond later would wait for the next turn, and a second sync.
            ahead = self._plan_time(now + self._lead)
            seats = Seats(
                self._waiting.values(), self._occupied(), limit=self._max_workers, now=max(now, ahead)
            )
            planned = self.planner.plan(ahead, now, seats.take)
            self._more_is_due = planned.more
            if planned.claims:
                self.take(planned.claims)
                self._admit(now)
        self._note_processes(monotonic)
        return self._pause(self._clock.now(), self._clock.monotonic())

    def take(self, claims: Iterable[Claim]) -> None:
        """These occurrences are ours; they start as soon as they may."""
        for claim in claims:
            if claim.begun:
                self._ready[claim.run.run_id] = claim.run
            else:
                self._waiting[claim.run.run_id] = claim.run
            for run_id in claim.replaces:
                self._replace(run_id, claim.run)
        self.launch_ready()

    def adopt(self, run: Waiting, process: Started, *, started_at: datetime) -> None:
        """A run that an earlier daemon started is still alive: watch it, with the time that it has had already."""
        running = _Running(run, started_at)
        job = self.planner.job(run.job_id)
        if job is not None and job.policy.timeout is not None:
            had = max(
                0.0, (self._clock.now() - started_at).total_seconds()
            )  # the clock may have been set back
            running.deadline = self._clock.monotonic() + max(0.0, job.policy.timeout - had)
        self._running[run.run_id] = running
        self._spawner.adopt(run.run_id, process)

    def ended(self, exit_: Exit) -> None:
        """A run's process has ended, with its group."""
        running = self._running.pop(exit_.run_id, None)
        if running is None:
            return
        run, stop = running.waited, running.stop
        if stop is None and self._cancellations.asked(run.run_id):
            stop = Stop("cancelled", CANCELLED)
        report = self.report(run.run_id, running.started_at)
        verdict = judge(exit_, stop=stop, report=report)
        if verdict.busy and stop is None:
            self._queue_again(run, verdict.reason)
        else:
            self.record(run, verdict, report, owed=self._was_cut_off(run, stop))
        self._cancellations.settle(run.run_id)

    def _was_cut_off(self, run: Waiting, stop: Stop | None) -> bool:
        """Whether the daemon's own end was the run's. What ends everything on a machine ends both, each with its signal."""
        if stop is None:
            return not self.launching
        return stop.kind == "drained" and not self._cancellations.asked(run.run_id)

    def record(
        self,
        run: Waiting,
        verdict: Verdict,
        report: Report | None,
        *,
        retry_exit_code: int | None = None,
        owed: bool = False,
    ) -> None:
        """Write down how a run ended, and look at what depends on it."""
        now = self._clock.now()
        self.recorder.ended(
            run,
            verdict,
            job=self.planner.job(run.job_id),
            documents=document_counts(report) if verdict.status in EXECUTED else None,
            now=now,
            monotonic=self._clock.monotonic(),
            retry_exit_code=retry_exit_code,
            owed=owed,
            then=lambda: self.planner.look_at(run.job_id, self._plan_time()),
        )
        self._failures += verdict.status in FAILED
        log.log(
            logging.INFO if verdict.status in EXECUTED else logging.WARNING,
            "job %s: run %s %s%s",
            run.job_id, run.run_id, verdict.status, f": {verdict.reason}" if verdict.reason else "",
            extra=run.ids,
        )  # fmt: skip

    def clock_went_back(self, by: timedelta) -> None:
        """What was to start in a moment still is."""
        for runs in (self._waiting, self._ready):
            for run in runs.values():
                runs[run.run_id] = replace(run, not_before=run.not_before - by)
        try:
            settle_setback(self.recorder.ledger, self.planner.job, self._clock.now())
        except PipeschedError as error:
            log.error("what the clock left behind cannot be settled: %s", error.message)  # noqa: TRY400  no traceback needed

    # Ending

    def stop_all(self, reason: str) -> None:
        """TERM to all that runs, KILL later."""
        self.launch_ready(early=True)
        for run_id, running in self._running.items():
            running.stop = running.stop or Stop("drained", reason)
            self._spawner.stop(run_id)

    def kill_all(self, reason: str) -> None:
        self.launch_ready(early=True)
        for run_id, running in self._running.items():
            running.stop = running.stop or Stop("drained", reason)
            self._spawner.kill(run_id)

    def _end_overdue(self, monotonic: float) -> None:
        for run_id, running in self._running.items():
            if running.deadline is not None and monotonic >= running.deadline and running.stop is None:
                job = self.planner.job(running.waited.job_id)
                limit = "" if job is None or job.policy.timeout is None else f" of {job.policy.timeout:g} s"
                running.stop = Stop("timeout", f"ran longer than its timeout{limit}")
                self._spawner.stop(run_id)

    def _replace(self, run_id: str, by: Waiting) -> None:
        reason = f"replaced by the run for {by.scheduled_for.isoformat()}"
        if run_id in self._ready:
            self.launch_ready(early=True)
        if waiting := self._waiting.get(run_id):
            self.give_up(waiting, reason)
        elif (running := self._running.get(run_id)) and running.stop is None:
            running.stop = Stop("replaced", reason)
            self._spawner.stop(run_id)

    def _settle_cancelled(self) -> None:
        for run_id in self._cancellations.pending():
            if run_id in self._waiting:
                self.give_up(self._waiting[run_id], CANCELLED)
                self._cancellations.settle(run_id)
            elif (running := self._running.get(run_id)) and running.stop is None:
                running.stop = Stop("cancelled", CANCELLED)
                self._spawner.stop(run_id)

    def give_up(self, run: Waiting, reason: str) -> None:
        """A claimed run that waits does not start any more, and is recorded as skipped."""
        self._waiting.pop(run.run_id, None)
        self.recorder.never_started(
            run,
            reason,
            now=self._clock.now(),
            monotonic=self._clock.monotonic(),
            then=lambda: self.planner.look_at(run.job_id, self._plan_time()),
        )
        log.info("job %s: run %s does not start: %s", run.job_id, run.run_id, reason, extra=run.ids)

    def _queue_again(self, run: Waiting, reason: str) -> None:
        not_before = self.recorder.busy(
            run,
            reason,
            now=self._clock.now(),
            monotonic=self._clock.monotonic(),
        )
        self._waiting[run.run_id] = replace(run, not_before=not_before, busy_count=run.busy_count + 1)
        log.info("job %s: run %s waits again: %s", run.job_id, run.run_id, reason, extra=run.ids)

    # Starting

    def _admit(self, now: datetime) -> None:
        self._next_admission = None
        if not self._waiting:
            return
        admission = admit(self._waiting.values(), self._occupied(), limit=self._max_workers, now=now)
        self._next_admission = admission.next_at
        self._say_waiting(admission.wait)
        for run in admission.start:
            self._start(run)

    def _say_waiting(self, waiting: Iterable[tuple[Waiting, str]]) -> None:
        """Why each that waits does, once for each reason."""
        said = {run.run_id: reason for run, reason in waiting}
        for run, reason in waiting:
            if self._waits_for.get(run.run_id) != reason:
                log.debug("job %s: run %s %s", run.job_id, run.run_id, reason, extra=run.ids)
        self._waits_for = said

    def _occupied(self) -> list[Occupied]:
        return [
            Occupied(run.run_id, run.job_id, run.store)
            for run in (*(each.waited for each in self._running.values()), *self._ready.values())
        ]

    def _start(self, run: Waiting) -> None:
        begun = self._clock.now()
        try:
            self.recorder.ledger.started(run.run_id, pid=None, pid_started=None, now=begun)
        except PipeschedError as error:
            log.error(  # noqa: TRY400  no traceback needed
                "run %s cannot start yet: %s", run.run_id, error.message, extra=run.ids
            )
            self._waiting[run.run_id] = replace(run, not_before=begun + timedelta(seconds=TROUBLE_SECONDS))
            return
        del self._waiting[run.run_id]
        self._launch(run, begun)

    def launch_ready(self, *, early: bool = False) -> None:
        """Start what is marked as started and whose time has come; `early`: all of it."""
        if not self._ready:
            return
        now = self._clock.now()
        for run in sorted(self._ready.values(), key=lambda run: (run.not_before, run.order)):
            if early or run.may_start_at(now):
                del self._ready[run.run_id]
                self._launch(run, self._clock.now())

    def _launch(self, run: Waiting, begun: datetime) -> None:
        """The run counts as started since `begun`, whatever happens: it is never started twice."""
        try:
            process = self._spawner.launch(Launch(run.run_id, run.job_id, run.scheduled_for, run.attempt))
        except Exception as error:  # too many files or processes, no memory, or a poison job
            known = isinstance(error, OSError)
            trace = None if known else error
            log.warning("run %s cannot be started: %s", run.run_id, error, exc_info=trace, extra=run.ids)
            verdict = Verdict("failed", None, f"its process could not be started: {error}")
            self.record(run, verdict, None, retry_exit_code=InputOutputError.exit_code)
            return
        running = self._running[run.run_id] = _Running(run, begun)
        job = self.planner.job(run.job_id)
        if job is not None and job.policy.timeout is not None:
            running.deadline = self._clock.monotonic() + job.policy.timeout
        now = self._clock.now()
        self._unnoted.append((run.run_id, process))
        self.recorder.observer.run_started(run.job_id, run.run_id)
        log.info(
            "job %s: run %s started, attempt %d, %.0f ms late (pid %d)",
            run.job_id, run.run_id, run.attempt, (now - run.not_before).total_seconds() * 1000, process.pid,
            extra=run.ids,
        )  # fmt: skip

    def _note_processes(self, monotonic: float) -> None:
        """Write down which processes were started in this turn."""
        if not self._unnoted:
            return
        started, now = self._unnoted, self._clock.now()
        self._unnoted = []

        def write() -> None:
            with self.recorder.ledger.batch():
                for run_id, process in started:
                    self.recorder.ledger.started(
                        run_id, pid=process.pid, pid_started=process.started, now=now
                    )

        self.recorder.later("which processes were started", write, monotonic=monotonic)

    def report(self, run_id: str, started_at: datetime) -> Report | None:
        """What the run that was started then has reported; an earlier try of the same run may have left another report."""
        try:
            report = self._report(run_id)
            if report is None or datetime.fromisoformat(report["timestamp"]) < started_at - CLOCK_SLACK:
                return None
            return report
        except Exception:  # a report that cannot be read is no reason to lose the run's end
            log.warning(
                "the report of run %s cannot be read", run_id, exc_info=True, extra={"run_id": run_id}
            )
            return None

    def _pause(self, now: datetime, monotonic: float) -> float:
        waits = [FOREVER, *((run.not_before - now).total_seconds() for run in self._ready.values())]
        if self.launching:
            if self._more_is_due:
                return 0.0
            waits += [
                (at - now).total_seconds()
                for at in (self._next_wake(), self._next_admission)
                if at is not None
            ]
        waits += [
            each.deadline - monotonic for each in self._running.values() if each.deadline and not each.stop
        ]
        again = self.recorder.next_try()
        if again is not None:
            waits.append(again - monotonic)
        return max(0.0, min(waits))

    def _next_wake(self) -> datetime | None:
        wake = self.planner.next_wake()
        if wake is None or (self._horizon is not None and wake > self._horizon):
            return None
        return wake - self._lead
