"""The three jobs that `init` writes."""

from __future__ import annotations

from datetime import datetime

from pipesched.jobs.build import build_job
from pipesched.jobs.model import Job
from pipesched.jobs.triggers import TriggerOptions, build_trigger
from pipesched.options import PipelineConfig


def default_jobs(*, zone: str, now: datetime) -> list[Job]:
    """Nightly incremental, weekly from nothing, hourly a dry run that says what would change."""
    wanted = (
        (
            "daily_incremental",
            "Brings the index in step every night at 02:00",
            TriggerOptions(expression="0 2 * * *"),
            PipelineConfig(incremental_mode="auto"),
        ),
        (
            "weekly_rebuild",
            "Builds a new index from nothing every Sunday at 01:00",
            TriggerOptions(expression="0 1 * * 0"),
            PipelineConfig(incremental_mode="full", force_recreate=True),
        ),
        (
            "hourly_check",
            "Says every hour what a run would do, and changes nothing",
            TriggerOptions(every="1h", anchor=now.replace(minute=0, second=0, microsecond=0).isoformat()),
            PipelineConfig(dry_run=True),
        ),
    )
    return [
        build_job(
            job_id,
            build_trigger(trigger, job_id=job_id, zone=zone, now=now),
            {"description": description},
            config,
            zone=zone,
            now=now,
        )
        for job_id, description, trigger, config in wanted
    ]
