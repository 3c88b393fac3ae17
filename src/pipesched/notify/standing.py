"""How jobs stand, read from the ledger and the clock, for those who are to be told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from pipesched.notify.decision import Standing
from pipesched.runs.ledger import Ledger
from pipesched.runs.model import FAILED
from pipesched.settings import Paths
from pipesched.views.health import CATCH_UP, OVERDUE_AFTER, HealthFacts, check_lateness
from pipesched.views.scheduler import SchedulerFacts
from pipesched.views.snapshot import JobView, Memory, take
from pipesched.views.vitals import job_facts, only_dry

if TYPE_CHECKING:
    from pipesched.jobs.model import JobFile
    from pipesched.options import PipelineConfig


class Source(Protocol):
    """Where the jobs, the scheduler and the clock are asked."""

    @property
    def paths(self) -> Paths: ...

    @property
    def environment(self) -> PipelineConfig: ...

    def job_file(self) -> JobFile: ...

    def facts(self) -> SchedulerFacts: ...

    def now(self) -> datetime: ...


@dataclass(slots=True)
class Looker:
    """Looks at those jobs of the file that somebody is to be told of; remembers what has not changed."""

    source: Source
    _memory: Memory = field(default_factory=Memory)
    _whole: JobFile | None = None
    _part: JobFile | None = None

    def jobs(self) -> JobFile:
        """The job file with only the jobs that have a target."""
        whole = self.source.job_file()
        if self._part is None or whole is not self._whole:
            told = {job_id: job for job_id, job in whole.jobs.items() if job.policy.notify}
            self._whole, self._part = whole, replace(whole, jobs=told)
        return self._part

    def look(self) -> Iterator[tuple[JobView, Standing]]:
        """Raises what the ledger raises."""
        job_file = self.jobs()
        if not job_file.jobs:
            return
        source = self.source
        now = source.now()
        scheduler = source.facts()
        with Ledger.open(source.paths.ledger, create=False) as ledger:
            snapshot = take(
                now=now,
                paths=source.paths,
                job_file=job_file,
                facts=scheduler,
                ledger=ledger,
                memory=self._memory,
            )
            facts = HealthFacts(now=now, scheduler=scheduler, job_file=str(source.paths.job_file))
            for view in snapshot.jobs.values():
                yield view, standing(view, ledger, facts, source.environment, job_file)


def standing(
    view: JobView, ledger: Ledger, facts: HealthFacts, environment: PipelineConfig, job_file: JobFile
) -> Standing:
    job, summary = view.job, view.summary
    found = job_facts(view, ledger, facts.now, dry=only_dry(view, environment, job_file.defaults.config))
    late = None
    if job.enabled and view.state != "done" and not _may_catch_up(view, facts):
        late = check_lateness(found, facts)
    missed = summary.totals.get("missed", 0)
    newest = next(iter(ledger.history(job.id, {"missed"}, None, 1)), None) if missed else None
    retrying = view.progress.retry is not None or any(run.attempt > 1 for run in summary.active)
    failing_since = None
    if summary.failures_in_row:
        failed = ledger.history(job.id, FAILED, None, min(summary.failures_in_row, 1000))
        failing_since = failed[-1].finished_at if failed else None
    return Standing(
        job_id=job.id,
        last=found.last,
        failures=summary.failures_in_row,
        failing_since=failing_since,
        retrying=retrying,
        synced_at=found.synced_at,
        auto_paused_at=summary.auto_paused_at,
        late=late.message if late is not None else "",
        missed=missed,
        missed_at=None if newest is None else newest.queued_at,
        missed_reason="" if newest is None else newest.reason,
    )


def _may_catch_up(view: JobView, facts: HealthFacts) -> bool:
    """Whether what is late may be in order in a moment: it has just been started, or the scheduler has."""
    since = [run.started_at or run.queued_at for run in view.summary.active]
    if any(time is not None and facts.now - time < OVERDUE_AFTER for time in since):
        return True
    started = facts.scheduler.started_at
    return facts.scheduler.running and started is not None and facts.now - started < CATCH_UP


def schedule_words(view: JobView) -> str:
    return f"{view.timed.schedule.text} ({view.job.timezone})"
