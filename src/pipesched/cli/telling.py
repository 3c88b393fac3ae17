"""What a run that no daemon watches tells itself: its pings and, where no daemon is there to do it, its notifications."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from pipesched.errors import PipeschedError
from pipesched.files import KernelLock

if TYPE_CHECKING:
    from pipesched.cli.app import App
    from pipesched.cli.execution import Executed, Request
    from pipesched.jobs.model import Job, JobFile
    from pipesched.notify.pinger import Pinger
    from pipesched.options import PipelineConfig, PipelineOptions
    from pipesched.settings import Paths
    from pipesched.views.scheduler import SchedulerFacts

log = logging.getLogger(__name__)

STOP_SECONDS: Final = 15.0
"""How long the end of the command waits for what it tells."""


@dataclass
class Telling:
    """Around one run. A dry run tells nothing: it is no run of the job."""

    app: App
    job: Job
    request: Request
    options: PipelineOptions
    _pinger: Pinger | None = field(default=None, init=False)
    _done: Executed | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        if self.job.policy.ping and not self.options.dry_run:
            from pipesched.notify.pinger import Pinger

            self._pinger = Pinger(os.environ)
            self._pinger.put(self.job.policy.ping, "start", self.request.run_id)
        return self

    def ended(self, done: Executed) -> None:
        self._done = done

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        until = time.monotonic() + STOP_SECONDS
        if self._pinger is not None:
            self._ping(self._pinger)
        if self.job.policy.notify and not self.options.dry_run:
            self._notify()
        if self._pinger is not None:
            self._pinger.stop(max(1.0, until - time.monotonic()))

    def _ping(self, pinger: Pinger) -> None:
        from pipesched.notify.pings import suffix_of

        done = self._done
        suffix: str | None = "fail"  # an error of its own: the report could not be written
        if done is not None:
            suffix = suffix_of(done.report.outcome.status, done.report.exit_code, retrying=False)
        if suffix is not None:
            assert self.job.policy.ping is not None
            pinger.put(self.job.policy.ping, suffix, self.request.run_id)

    def _notify(self) -> None:
        """The daemon, where one runs, looks at runs by hand too. Nothing that goes wrong here fails the run."""
        try:
            if KernelLock(self.app.paths.daemon_lock).is_held():
                return
        except PipeschedError as error:
            log.warning("notifications could not be sent: %s", error.message)
            return
        from pipesched.notify.service import notify_once

        notify_once(_Here(self.app), os.environ, self.job.id)


@dataclass
class _Here:
    """The Source of a command: everything read now."""

    app: App
    _job_file: JobFile | None = None

    @property
    def paths(self) -> Paths:
        return self.app.paths

    @property
    def environment(self) -> PipelineConfig:
        return self.app.environment

    def job_file(self) -> JobFile:
        from pipesched.jobs.store import JobStore

        if self._job_file is None:
            self._job_file = JobStore(self.app.paths.job_file).load()
        return self._job_file

    def facts(self) -> SchedulerFacts:
        from pipesched.views.scheduler import read_facts

        return read_facts(self.app.paths, self.app.now())

    def now(self) -> datetime:
        return self.app.now()
