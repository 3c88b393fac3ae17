"""Everything the views are made from, read once: jobs, what the ledger knows of them, the scheduler, the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pipesched.errors import PipeschedError
from pipesched.runs.model import Counters, JobSummary, Run
from pipesched.schedule.model import Occurrence, Progress, TimedJob
from pipesched.schedule.tick import upcoming
from pipesched.settings import Paths
from pipesched.views.scheduler import SchedulerFacts

if TYPE_CHECKING:
    from pipesched.jobs.model import Job, JobFile
    from pipesched.runs.ledger import Ledger

State = Literal["scheduled", "running", "paused", "done"]
_NOTHING: Mapping[str, JobSummary] = {}


@dataclass(slots=True)
class NextFires:
    """Each job's next occurrence, kept between snapshots: it holds until it has passed or the job or its progress changes."""

    _known: dict[str, tuple[Job, Progress, TimedJob, Occurrence | None]] = field(default_factory=dict)

    def of(self, job: Job, progress: Progress, now: datetime) -> tuple[TimedJob, Occurrence | None]:
        """The job's timing and its next occurrence strictly after `now`. Raises InvalidValue."""
        known = self._known.get(job.id)
        if known is not None and known[0] is job and known[1] == progress:
            occurrence = known[3]
            if occurrence is None or occurrence.at > now:
                return known[2], occurrence
            timed = known[2]
        else:
            timed = job.timed()
        occurrence = next(upcoming(timed, progress, now), None)
        self._known[job.id] = (job, progress, timed, occurrence)
        return timed, occurrence

    def keep(self, job_ids: Mapping[str, object]) -> None:
        """Forget the jobs that are gone."""
        if len(self._known) > len(job_ids):
            self._known = {job_id: known for job_id, known in self._known.items() if job_id in job_ids}


@dataclass(frozen=True, slots=True)
class JobView:
    """One job at the snapshot's time. `next`: its next occurrence, None where there is none."""

    job: Job
    timed: TimedJob
    progress: Progress
    summary: JobSummary
    next: Occurrence | None

    @property
    def state(self) -> State:
        if self.summary.active and any(run.status == "running" for run in self.summary.active):
            return "running"
        if not self.job.enabled or self.progress.auto_paused_at is not None:
            return "paused"
        if self.next is None and not self.timed.schedule.at_start and not self.owes:
            return "done"
        return "scheduled"

    @property
    def owes(self) -> bool:
        """Whether a slot or a retry is still to be decided about: a one-time job that fell due while no scheduler ran."""
        progress, policy = self.progress, self.timed.policy
        if progress.active or progress.retry is not None:
            return True
        if policy.max_runs is not None and progress.claimed >= policy.max_runs:
            return False
        since = self.timed.since if progress.handled is None else max(self.timed.since, progress.handled)
        first = self.timed.schedule.next(since)
        return first is not None and (policy.end is None or first.at <= policy.end)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment. `job_file_error`: why the job file as it is now cannot be used, while `job_file` is the last good one."""

    now: datetime
    paths: Paths
    job_file: JobFile
    job_file_error: PipeschedError | None
    facts: SchedulerFacts
    jobs: Mapping[str, JobView]
    counters: Counters
    active: tuple[Run, ...]


def take(
    *,
    now: datetime,
    paths: Paths,
    job_file: JobFile,
    facts: SchedulerFacts,
    ledger: Ledger,
    job_file_error: PipeschedError | None = None,
    fires: NextFires | None = None,
) -> Snapshot:
    """Read the ledger once, and put everything together. Raises InvalidValue, DataError (a damaged ledger)."""
    fires = NextFires() if fires is None else fires
    timed = [job.timed() for job in job_file.jobs.values()]
    progress = ledger.progress(timed)
    summaries = ledger.summaries(None) if timed else _NOTHING
    views: dict[str, JobView] = {}
    for job in job_file.jobs.values():
        mine = progress.get(job.id, Progress())
        when, occurrence = fires.of(job, mine, now)
        views[job.id] = JobView(job, when, mine, summaries.get(job.id, JobSummary()), occurrence)
    fires.keep(job_file.jobs)
    return Snapshot(
        now=now,
        paths=paths,
        job_file=job_file,
        job_file_error=job_file_error,
        facts=facts,
        jobs=views,
        counters=ledger.counters(),
        active=tuple(ledger.active()),
    )
