"""The JOB document: a job with its schedule, state, options and policy, as every command and the HTTP endpoint show it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipesched.errors import InvalidValue
from pipesched.jobs.masking import masked
from pipesched.jobs.sharing import Resolver
from pipesched.runs.model import JobSummary
from pipesched.schedule.model import Progress, TimedJob
from pipesched.schedule.outlook import grace_of, undecided_after, upcoming
from pipesched.schedule.zones import load_zone
from pipesched.views.snapshot import JobView

if TYPE_CHECKING:
    from pipesched.jobs.model import Job, JobFile, JobPolicy
    from pipesched.options import PipelineConfig
    from pipesched.runs.ledger import Ledger

Json = dict[str, Any]


class JobDocuments:
    """Makes the documents of many jobs of one file: jobs that set the same are resolved once."""

    def __init__(self, *, job_file: JobFile, environment: PipelineConfig, home: Path, now: datetime) -> None:
        self._resolver = Resolver(defaults=job_file.defaults.config, environment=environment, home=home)
        self._now = now

    def of(self, job: Job, timed: TimedJob, *, summary: JobSummary | None, progress: Progress | None) -> Json:
        """The document of `job`; without `summary` and `progress` nothing is known of its runs."""
        mine = progress or Progress()
        occurrence = next(upcoming(timed, mine, undecided_after(timed, mine, self._now)), None)
        return self.of_view(JobView(job, timed, mine, summary or JobSummary(), occurrence))

    def of_view(self, view: JobView) -> Json:
        """The document of a job of a snapshot."""
        job = view.job
        zone = load_zone(job.timezone)
        last = view.summary.last_run
        return {
            "id": job.id,
            "job_id": job.id,
            "name": job.name or job.id,
            "description": job.description,
            "type": job.kind,
            "trigger": job.trigger.as_json(),
            "trigger_text": view.timed.schedule.text,
            "timezone": job.timezone,
            "next_run_time": None if view.next is None else view.next.at.astimezone(zone).isoformat(),
            "enabled": job.enabled,
            "state": view.state,
            "last_run": None
            if last is None
            else {
                "run_id": last.run_id,
                "status": last.status,
                "started_at": None if last.started_at is None else last.started_at.isoformat(),
                "duration_seconds": last.duration_seconds,
            },
            "statistics": statistics_document(view.summary),
            "config": job.config.set_values(),
            **self._effective(job),
            "policy": policy_document(job.policy, view.timed, self._now),
            "calendar": list(job.calendar),
            "tags": list(job.tags),
            "created_at": None if job.created_at is None else job.created_at.isoformat(),
            "paused_at": None if job.paused_at is None else job.paused_at.isoformat(),
        }

    def _effective(self, job: Job) -> Json:
        try:
            return {"effective_config": asdict_flat(self._resolver.job(job))}
        except InvalidValue as error:
            # The levels do not fit together (an overlap above the chunk size): said here, so that `list` still lists.
            return {"effective_config": None, "config_error": error.message}


def statistics_document(summary: JobSummary) -> Json:
    """How a job's runs went: the success rate of the last 20, seconds that the newest 100 syncs took, lifetime counts by state."""
    return {
        "success_rate": summary.success_rate,
        "duration_p50_seconds": summary.duration_p50,
        "duration_p95_seconds": summary.duration_p95,
        "totals": dict(summary.totals),
    }


def asdict_flat(options: Any) -> Json:
    """A dataclass of plain values as a dict; asdict copies each of them deeply, which 10,000 jobs feel."""
    return {name: getattr(options, name) for name in options.__slots__}


def policy_document(policy: JobPolicy, timed: TimedJob, now: datetime) -> Json:
    """The policy as it works; durations in seconds, secrets masked."""
    return {
        "catch_up": policy.catch_up,
        "grace": grace_of(timed, now),
        "overlap": policy.overlap,
        "timeout": policy.timeout,
        "retries": policy.retries,
        "retry_delay": policy.retry_delay,
        "jitter": policy.jitter,
        "after": list(policy.after),
        "trigger_on": policy.trigger_on,
        "not_during": list(policy.not_during),
        "start": None if policy.start is None else policy.start.isoformat(),
        "end": None if policy.end is None else policy.end.isoformat(),
        "max_runs": policy.max_runs,
        "pause_after_failures": policy.pause_after_failures,
        "notify": [masked(url) for url in policy.notify],
        "ping": None if policy.ping is None else masked(policy.ping),
    }


def job_documents(
    jobs: Mapping[str, Job],
    *,
    job_file: JobFile,
    environment: PipelineConfig,
    home: Path,
    ledger: Ledger | None,
    now: datetime,
) -> list[Json]:
    """JOB of the interface contract for each of `jobs`, in their order; the ledger is read once.

    Raises DataError (a damaged ledger), and InvalidValue for a schedule that cannot be used.
    """
    timed = [job.timed() for job in jobs.values()]
    progress: Mapping[str, Progress] = {}
    summaries: Mapping[str, JobSummary] = {}
    if ledger is not None and jobs:
        progress = ledger.progress(timed)
        summaries = ledger.summaries(list(jobs) if len(jobs) <= 100 else None)
    documents = JobDocuments(job_file=job_file, environment=environment, home=home, now=now)
    return [
        documents.of(job, when, summary=summaries.get(job.id), progress=progress.get(job.id))
        for job, when in zip(jobs.values(), timed, strict=True)
    ]
