"""At the start: what an earlier daemon left queued or running is taken up again, or recorded as lost."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipesched.daemon.admission import Waiting
from pipesched.daemon.launch import Exit, Started
from pipesched.daemon.planning import Claim
from pipesched.daemon.processes import find_run
from pipesched.daemon.scheduler import Scheduler
from pipesched.daemon.setback import settle_setback
from pipesched.daemon.verdict import judge
from pipesched.runs.process import GONE, NEVER_SEEN, start_ticks
from pipesched.schedule.outlook import opens_for, too_late
from pipesched.schedule.tick import REMOVED

if TYPE_CHECKING:
    from pipesched.runs.ledger import Ledger
    from pipesched.runs.model import Run

log = logging.getLogger(__name__)


def recover(ledger: Ledger, scheduler: Scheduler, *, now: datetime) -> None:
    """Before the first step. The jobs must be known. Raises what the ledger raises.

    A queued row never started, and starts now, unless that is later than its job's policy allows. A running one whose process
    still runs is watched, whoever started it; one whose process is gone ended as its report says, and is lost without one.
    """
    settle_setback(ledger, scheduler.planner.job, now)
    lost = {run.run_id for run in ledger.find_lost()}
    for run in ledger.active():
        if run.trigger == "manual":
            continue  # the run keeps its row itself; see `forget_dead_manual_runs`
        waiting = _waiting(run, scheduler, now)
        if run.status == "queued":
            _queue(waiting, run, scheduler, now)
        elif run.run_id not in lost:
            assert run.pid is not None
            _adopt(waiting, run, Started(run.pid, run.pid_started), scheduler, now)
        elif run.pid is None and (pid := find_run(run.run_id)) is not None:
            # The daemon died between the start of the process and the record of its pid.
            _adopt(waiting, run, Started(pid, start_ticks(pid)), scheduler, now)
        else:
            found = scheduler.report(run.run_id, run.started_at or now)
            verdict = judge(Exit(run.run_id), stop=None, report=found)
            if verdict.status == "lost" and run.pid is None:
                verdict = replace(verdict, reason=NEVER_SEEN)
            scheduler.record(waiting, verdict, found)


def forget_dead_manual_runs(ledger: Ledger, now: datetime) -> None:
    """Runs by hand keep their own rows; where one was killed, nobody else says so. They are not tried again."""
    for run in ledger.find_lost():
        if run.trigger == "manual":
            ledger.finish(run.run_id, status="lost", reason=GONE, now=now)
            log.warning(
                "run %s, started by hand, is lost: %s", run.run_id, GONE, extra={"run_id": run.run_id}
            )


def _waiting(run: Run, scheduler: Scheduler, now: datetime) -> Waiting:
    since = run.not_before or run.queued_at or run.scheduled_for
    assert since is not None
    assert run.job_id is not None
    # Where the clock was set back meanwhile, the run waits as long as it was to wait, and not until that time comes again.
    since = min(since, now + (since - run.queued_at if run.queued_at else timedelta(0)))
    return Waiting(
        run_id=run.run_id,
        job_id=run.job_id,
        scheduled_for=run.scheduled_for or since,
        attempt=run.attempt,
        not_before=since,
        store=scheduler.planner.settings(run.job_id).store,
        order=-1,
    )


def _queue(waiting: Waiting, run: Run, scheduler: Scheduler, now: datetime) -> None:
    job = scheduler.planner.job(waiting.job_id)
    if job is None or job.paused_at is not None:
        scheduler.give_up(waiting, "paused" if job else REMOVED)
        return
    at = opens_for(job, waiting.not_before, now)
    reason = too_late(job, waiting.scheduled_for, waiting.not_before, at) if waiting.attempt == 1 else ""
    if reason:
        scheduler.give_up(waiting, reason)
        return
    waiting = replace(waiting, not_before=max(waiting.not_before, at))
    log.info("job %s: run %s was still waiting, and goes on", waiting.job_id, run.run_id, extra=waiting.ids)
    scheduler.take([Claim(waiting)])


def _adopt(waiting: Waiting, run: Run, process: Started, scheduler: Scheduler, now: datetime) -> None:
    log.info(
        "job %s: run %s of an earlier daemon still runs (pid %d)",
        waiting.job_id,
        run.run_id,
        process.pid,
        extra=waiting.ids,
    )
    scheduler.adopt(waiting, process, started_at=run.started_at or now)
