"""What the daemon shows of itself to its HTTP endpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pipesched import __version__
from pipesched.daemon.clock import Clock
from pipesched.daemon.jobwatch import JobWatch
from pipesched.errors import PipeschedError
from pipesched.settings import Paths
from pipesched.views.scheduler import SchedulerFacts

if TYPE_CHECKING:
    from pipesched.jobs.model import JobFile
    from pipesched.options import PipelineConfig

STALLED_SECONDS: Final = 20.0
"""A loop that has not turned for longer is stuck: it turns every second, and at its slowest takes a few."""


class DaemonSource:
    """The endpoint's Source. Read from its threads; every value is replaced whole, never changed in place."""

    def __init__(
        self, paths: Paths, environment: PipelineConfig, watch: JobWatch, clock: Clock, *, pid: int
    ) -> None:
        self._paths = paths
        self._environment = environment
        self._watch = watch
        self._clock = clock
        self._pid = pid
        self._started_at = clock.now()
        self._turned = (self._started_at, clock.monotonic())
        self.http: str | None = None
        self.certificate_until: datetime | None = None

    @property
    def paths(self) -> Paths:
        return self._paths

    @property
    def environment(self) -> PipelineConfig:
        return self._environment

    @property
    def started_at(self) -> datetime:
        return self._started_at

    def turned(self) -> None:
        """The loop has turned."""
        self._turned = (self._clock.now(), self._clock.monotonic())

    def now(self) -> datetime:
        return self._clock.now()

    def job_file(self) -> JobFile:
        return self._watch.file

    def job_file_error(self) -> PipeschedError | None:
        return self._watch.error

    def facts(self) -> SchedulerFacts:
        return SchedulerFacts(
            running=True,
            pid=self._pid,
            http=self.http,
            started_at=self._started_at,
            last_tick=self._turned[0].astimezone(UTC),
            version=__version__,
            certificate_until=self.certificate_until,
        )

    def alive(self) -> bool:
        return self._clock.monotonic() - self._turned[1] < STALLED_SECONDS
