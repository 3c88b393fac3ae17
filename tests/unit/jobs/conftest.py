"""A job file in a fresh folder, and jobs to put into it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipesched.jobs.model import CronTrigger, Job
from pipesched.jobs.store import JobStore

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "schedules.json")


@pytest.fixture
def now() -> datetime:
    return NOW


def make_job(job_id: str = "a", **values) -> Job:
    given = {
        "timezone": "UTC",
        "trigger": CronTrigger(expression="0 2 * * *"),
        "created_at": NOW,
        "since": NOW,
    } | values
    return Job(id=job_id, **given)


@pytest.fixture
def job():
    return make_job
