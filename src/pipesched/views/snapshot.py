"""Everything the views are made from, read once: jobs, what the ledger knows of them, the scheduler, the clock."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pipesched.errors import PipeschedError
from pipesched.runs.model import Counters, JobSummary, Run
from pipesched.schedule.model import Occurrence, Progress, TimedJob
from pipesched.schedule.outlook import undecided_after, upcoming
from pipesched.settings import Paths
from pipesched.views.absence import knows_jobs
from pipesched.views.indexes import CollectionView, Place, collection_views, places
from pipesched.views.scheduler import SchedulerFacts

if TYPE_CHECKING:
    from pipesched.jobs.model import Job, JobFile
    from pipesched.options import PipelineConfig
    from pipesched.runs.ledger import Ledger

State = Literal["scheduled", "running", "paused", "done"]
SETTLED_SECONDS: Final = 1.0
_NO_PROGRESS: Final = Progress()
_NO_SUMMARY: Final = JobSummary()


@dataclass(slots=True)
class NextFires:
    """Each job's next occurrence, kept between snapshots: it holds until it has passed or the job or its progress changes."""

    _known: dict[str, tuple[Job, TimedJob, Progress | None, Occurrence | None]] = field(default_factory=dict)

    def timed(self, job: Job) -> TimedJob:
        """The job's timing, made once. Raises InvalidValue."""
        known = self._known.get(job.id)
        if known is None or known[0] is not job:
            known = (job, job.timed(), None, None)
            self._known[job.id] = known
        return known[1]

    def next(self, job: Job, progress: Progress, now: datetime) -> Occurrence | None:
        """Strictly after `now`."""
        timed = self.timed(job)
        _, _, seen, occurrence = self._known[job.id]
        if seen != progress or (occurrence is not None and occurrence.at <= now):
            occurrence = next(upcoming(timed, progress, undecided_after(timed, progress, now)), None)
            self._known[job.id] = (job, timed, progress, occurrence)
        return occurrence

    def keep(self, job_ids: Mapping[str, object]) -> None:
        """Forget the jobs that are gone."""
        if len(self._known) > len(job_ids):
            self._known = {job_id: known for job_id, known in self._known.items() if job_id in job_ids}


LedgerStamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger said at one moment about the jobs of one job file."""

    progress: Mapping[str, Progress]
    summaries: Mapping[str, JobSummary]
    counters: Counters
    active: tuple[Run, ...]


@dataclass(slots=True)
class Memory:
    """What one snapshot leaves for the next one of the same process: with 10,000 jobs, nine tenths of the work.

    The ledger's answers hold while nothing runs and neither its file nor its write-ahead log has changed.
    """

    fires: NextFires = field(default_factory=NextFires)
    _stamp: LedgerStamp | None = None
    _job_file: JobFile | None = None
    _facts: LedgerFacts | None = None
    _placed: JobFile | None = None
    _places: tuple[Place, ...] = ()

    def places(self, job_file: JobFile, environment: PipelineConfig, home: Path) -> tuple[Place, ...]:
        """Where the jobs write to; found out once for a job file, which is replaced whole when it changes."""
        if self._placed is not job_file:
            self._places = places(job_file, environment, home)
            self._placed = job_file
        return self._places

    def ledger(self, ledger: Ledger, job_file: JobFile, timed: list[TimedJob], now: datetime) -> LedgerFacts:
        stamp = ledger_stamp(ledger.path)
        if self._facts is not None and stamp == self._stamp and job_file is self._job_file:
            return self._facts
        facts = read_ledger(ledger, timed)
        # A file that was written a moment ago may be written again within the same tick of its clock.
        # And a run under way may be gone without anybody writing so.
        settled = not facts.active and all(
            mtime < (now.timestamp() - SETTLED_SECONDS) * 1e9 for mtime, _, _ in stamp
        )
        self._stamp, self._job_file = (stamp, job_file) if settled else (None, None)
        self._facts = facts if settled else None
        return facts


def read_ledger(ledger: Ledger, timed: list[TimedJob]) -> LedgerFacts:
    return LedgerFacts(
        progress=ledger.progress(timed),
        summaries=ledger.summaries(None) if timed else {},
        counters=ledger.counters(),
        active=tuple(ledger.active()),
    )


def ledger_stamp(path: Path) -> LedgerStamp:
    """(mtime_ns, size, inode) of the file and its log, as far as they are there."""
    found = []
    for each in (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(OSError):
            info = each.stat()
            found.append((info.st_mtime_ns, info.st_size, info.st_ino))
    return tuple(found)


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
        if any(run.status == "running" for run in self.summary.active):
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
    """One moment. `job_file_error`: why the job file as it is now cannot be used, while `job_file` is the last good one.

    `gone`: there is no job file, and there has been one.
    """

    now: datetime
    paths: Paths
    job_file: JobFile
    job_file_error: PipeschedError | None
    facts: SchedulerFacts
    jobs: Mapping[str, JobView]
    counters: Counters
    active: tuple[Run, ...]
    collections: tuple[CollectionView, ...] = ()
    gone: bool = False


def take(
    *,
    now: datetime,
    paths: Paths,
    job_file: JobFile,
    facts: SchedulerFacts,
    ledger: Ledger,
    job_file_error: PipeschedError | None = None,
    memory: Memory | None = None,
    environment: PipelineConfig | None = None,
) -> Snapshot:
    """Read the ledger once, and put everything together. `memory`: what the last snapshot left.

    `environment`: the options that variables set, the same at each call with one memory; None: nothing is asked of collections.

    Raises InvalidValue, DataError (a damaged ledger).
    """
    memory = Memory() if memory is None else memory
    fires = memory.fires
    timed = [fires.timed(job) for job in job_file.jobs.values()]
    known = memory.ledger(ledger, job_file, timed, now)
    views: dict[str, JobView] = {}
    for job, when in zip(job_file.jobs.values(), timed, strict=True):
        progress = known.progress.get(job.id, _NO_PROGRESS)
        summary = known.summaries.get(job.id, _NO_SUMMARY)
        views[job.id] = JobView(job, when, progress, summary, fires.next(job, progress, now))
    fires.keep(job_file.jobs)
    found = () if environment is None else memory.places(job_file, environment, paths.home)
    return Snapshot(
        now=now,
        paths=paths,
        job_file=job_file,
        job_file_error=job_file_error,
        facts=facts,
        jobs=views,
        counters=known.counters,
        active=known.active,
        collections=collection_views(found, known.summaries),
        gone=not job_file.exists and job_file_error is None and (facts.running or knows_jobs(ledger)),
    )
