"""A job file, a ledger and reports with a past, written through the parts that write them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipesched.errors import PipeschedError
from pipesched.jobs.model import CronTrigger, IntervalTrigger, Job, JobFile, OnceTrigger
from pipesched.jobs.store import JobStore
from pipesched.options import PipelineConfig
from pipesched.report import Outcome, RunReport, RunStats
from pipesched.runs.ledger import Ledger, new_run_id
from pipesched.runs.process import start_ticks
from pipesched.runs.reports import write_report
from pipesched.schedule.model import Skip
from pipesched.settings import Paths
from pipesched.views.health import Health, health
from pipesched.views.scheduler import SchedulerFacts
from pipesched.views.snapshot import Snapshot, take
from pipesched.views.vitals import Reach, health_facts

NOTHING_SET = PipelineConfig()
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=60)


@dataclass
class World:
    """Everything below `home`. `now` is the time of whoever looks."""

    home: Path
    now: datetime = NOW
    facts: SchedulerFacts = field(default_factory=lambda: SchedulerFacts(running=False))
    is_alive: bool = True
    error: PipeschedError | None = None

    @property
    def paths(self) -> Paths:
        return Paths.resolve(file=str(self.home / "schedules.json"), environ={}, cwd=self.home)

    @property
    def store(self) -> JobStore:
        return JobStore(self.paths.job_file)

    def job(self, job_id: str, trigger: str | float | datetime = "0 2 * * *", **fields: Any) -> Job:
        """A job in the file; a cron expression, seconds of an interval, or one time."""
        made: CronTrigger | IntervalTrigger | OnceTrigger
        match trigger:
            case str():
                made = CronTrigger(expression=trigger)
            case datetime():
                made = OnceTrigger(at=trigger)
            case _:
                made = IntervalTrigger(seconds=trigger)
        values = {"timezone": "UTC", "created_at": LONG_AGO, "since": LONG_AGO} | fields
        job = Job(id=job_id, trigger=made, **values)
        self.store.add([job], job.since)  # slots count from the time that it is added at
        return job

    def ran(
        self,
        job_id: str | None,
        at: datetime,
        status: str = "succeeded",
        *,
        took: float = 2.0,
        reason: str = "",
        documents: Mapping[str, int] | None = None,
        dry_run: bool = False,
        report: bool = False,
    ) -> str:
        """A run in the ledger that started at `at`; `running` ones are not finished."""
        run_id = new_run_id(job_id or "run", at)
        with Ledger.open(self.paths.ledger, create=True) as ledger:
            if job_id is None:
                ledger.begin_manual(run_id, None, now=at, pid=1, dry_run=dry_run)
            else:
                assert ledger.claim(
                    run_id, job_id, scheduled_for=at, attempt=1, trigger="schedule", now=at, dry_run=dry_run
                )
                # A reader takes a running run whose process is gone for lost; this process is there.
                ledger.started(run_id, pid=os.getpid(), pid_started=start_ticks(os.getpid()), now=at)
            if status != "running":
                ledger.finish(
                    run_id,
                    status=status,  # type: ignore[arg-type]
                    exit_code={"succeeded": 0, "partial": 3}.get(status, 1),
                    reason=reason,
                    now=at + timedelta(seconds=took),
                    documents=documents,
                )
        if report:
            self.report(run_id, job_id, at, status, reason or status, took)
        return run_id

    def report(
        self, run_id: str, job_id: str | None, at: datetime, status: str, message: str, took: float = 2.0
    ) -> Path:
        outcome = Outcome(
            status=status,  # type: ignore[arg-type]
            message=message,
            mode="incremental",
            mode_reason="a manifest exists",
            stats=RunStats(total_documents=12, unchanged_documents=12),
        )
        made = RunReport(
            run_id=run_id,
            job_id=job_id,
            timestamp=at.isoformat(),
            scheduled_for=at.isoformat(),
            finished_at=(at + timedelta(seconds=took)).isoformat(),
            duration_seconds=took,
            outcome=outcome,
            dry_run=False,
        )
        return write_report(made, self.paths.output_dir)

    def skipped(
        self, job_id: str, first: datetime, last: datetime, count: int, status: str, reason: str
    ) -> None:
        with Ledger.open(self.paths.ledger, create=True) as ledger:
            ledger.record_slots(Skip(job_id, first, last, count, status, reason), last)  # type: ignore[arg-type]

    def snapshot(self, environment: PipelineConfig | None = NOTHING_SET) -> Snapshot:
        with Ledger.open(self.paths.ledger, create=False) as ledger:
            return take(
                now=self.now,
                paths=self.paths,
                job_file=self.store.load(),
                facts=self.facts,
                ledger=ledger,
                environment=environment,
            )

    def health(self, environment: PipelineConfig = NOTHING_SET, reach: Reach | None = None) -> Health:
        """As `health --no-scheduler` judges it."""
        with Ledger.open(self.paths.ledger, create=False) as ledger:
            facts = health_facts(
                self.snapshot(), ledger=ledger, environment=environment, no_scheduler=True, reach=reach
            )
        return health(facts)


class WorldSource:
    """What a daemon would tell the endpoint about a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.loads = 0

    @property
    def paths(self) -> Paths:
        return self.world.paths

    @property
    def environment(self) -> PipelineConfig:
        return PipelineConfig()

    def now(self) -> datetime:
        return self.world.now

    def job_file(self) -> JobFile:
        self.loads += 1
        return self.world.store.load()

    def job_file_error(self) -> PipeschedError | None:
        return self.world.error

    def facts(self) -> SchedulerFacts:
        return self.world.facts

    def alive(self) -> bool:
        return self.world.is_alive
