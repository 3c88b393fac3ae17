"""A daemon's state machine on a real ledger, with a clock that is set and processes that are pretended."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipesched.daemon.cancellation import Cancellations
from pipesched.daemon.launch import Exit, Launch, Started
from pipesched.daemon.planning import Planner, RunSettings
from pipesched.daemon.records import Recorder
from pipesched.daemon.recovery import recover
from pipesched.daemon.scheduler import Scheduler
from pipesched.jobs.model import IntervalTrigger, Job, JobPolicy, OnceTrigger
from pipesched.runs.ledger import Ledger
from pipesched.runs.model import Run

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FakeClock:
    def __init__(self) -> None:
        self.wall = START
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    def pass_time(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.seconds += seconds

    def set_wall(self, by: timedelta) -> None:
        self.wall += by


class FakeSpawner:
    """Processes that live until the test ends them."""

    def __init__(self) -> None:
        self.launched: list[Launch] = []
        self.adopted: list[str] = []
        self.stopped: list[str] = []
        self.killed: list[str] = []
        self.error: Exception | None = None

    def launch(self, launch: Launch) -> Started:
        if self.error is not None:
            raise self.error
        self.launched.append(launch)
        return Started(pid=2**22 + len(self.launched), started=1)  # beyond any real pid

    def adopt(self, run_id: str, process: Started) -> None:
        self.adopted.append(run_id)

    def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)

    def kill(self, run_id: str) -> None:
        self.killed.append(run_id)


def job(
    job_id: str,
    *,
    every: float | None = None,
    at: datetime | None = None,
    enabled: bool = True,
    **policy: Any,
) -> Job:
    """A job that is due `at` once, else on a grid of `every` seconds from START."""
    trigger = OnceTrigger(at=at) if at is not None else IntervalTrigger(seconds=every or 60.0, anchor=START)
    return Job(
        id=job_id,
        timezone="UTC",
        trigger=trigger,
        policy=JobPolicy(**policy),
        enabled=enabled,
        created_at=START - timedelta(seconds=1) if at is None else at - timedelta(seconds=1),
        since=START if at is None else at - timedelta(seconds=1),
        paused_at=None if enabled else START,
    )


class Daemon:
    """`stores`: what each job writes to, its own store by default. `reports`: what runs have reported, by run id."""

    def __init__(
        self,
        folder: Path,
        *,
        max_workers: int = 2,
        horizon: datetime | None = None,
        stagger: float = 0.0,
        lead: timedelta = timedelta(0),
        clock: FakeClock | None = None,
    ) -> None:
        self.folder = folder
        self.clock = clock or FakeClock()
        self.spawner = FakeSpawner()
        self.stores: dict[str, str] = {}
        self.reports: dict[str, Mapping[str, Any]] = {}
        self.ledger = Ledger.open(folder / "ledger.sqlite3", create=True)
        self.cancellations = Cancellations(folder)
        self.planner = Planner(self.ledger, settings=self.settings, stagger=stagger)
        self.scheduler = Scheduler(
            self.planner,
            Recorder(self.ledger),
            self.spawner,
            clock=self.clock,
            report=self.report,
            cancellations=self.cancellations,
            max_workers=max_workers,
            horizon=horizon,
            lead=lead,
        )

    def settings(self, job: Job) -> RunSettings:
        return RunSettings(self.stores.get(job.id, f"store-{job.id}"))

    def report(self, run_id: str) -> Mapping[str, Any] | None:
        found = self.reports.get(run_id)
        return None if found is None else {"timestamp": self.clock.now().isoformat(), **found}

    def jobs(self, *jobs: Job) -> None:
        self.scheduler.set_jobs({job.id: job for job in jobs})

    def pass_time(self, seconds: float, *, turns: float = 1.0) -> None:
        """Let the loop turn for so long, every `turns` seconds."""
        end = self.clock.seconds + seconds
        self.scheduler.step()
        while self.clock.seconds < end:
            self.clock.pass_time(min(turns, end - self.clock.seconds))
            self.scheduler.step()

    def end(self, launch: Launch, *, code: int | None = 0, signal: int | None = None, tail: str = "") -> None:
        self.scheduler.ended(Exit(launch.run_id, code if signal is None else None, signal, tail=tail))
        self.scheduler.step()

    def recover(self) -> None:
        recover(self.ledger, self.scheduler, now=self.clock.now())

    def run(self, launch: Launch) -> Run:
        found = self.ledger.run(launch.run_id)
        assert found is not None
        return found

    def history(self, job_id: str) -> list[tuple[str, str]]:
        """(status, reason), oldest first."""
        return [(run.status, run.reason) for run in reversed(self.ledger.history(job_id, limit=None))]

    @property
    def launched(self) -> list[Launch]:
        return self.spawner.launched
