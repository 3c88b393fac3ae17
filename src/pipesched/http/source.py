"""What the endpoint asks of the process it lives in."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from pipesched.errors import PipeschedError
from pipesched.settings import Paths
from pipesched.views.scheduler import SchedulerFacts

if TYPE_CHECKING:
    from pipesched.jobs.model import JobFile
    from pipesched.options import PipelineConfig


class Source(Protocol):
    """The daemon, as the endpoint sees it. Called from the endpoint's threads; every answer is immediate."""

    @property
    def paths(self) -> Paths: ...

    @property
    def environment(self) -> PipelineConfig:
        """The pipeline options that PIPESCHED_<OPTION> variables set."""
        ...

    def now(self) -> datetime:
        """The daemon's wall clock, aware, UTC."""
        ...

    def job_file(self) -> JobFile:
        """The jobs that the daemon works from: the last ones that could be read."""
        ...

    def job_file_error(self) -> PipeschedError | None:
        """Why the job file as it is now cannot be used, if so."""
        ...

    def facts(self) -> SchedulerFacts: ...

    def alive(self) -> bool:
        """Whether the scheduling loop turns: False once it has not for longer than it ever may."""
        ...
