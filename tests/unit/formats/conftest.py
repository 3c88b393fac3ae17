"""A place for exported jobs to run in, and what reading a text gives."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipesched.jobs.formats.model import Context
from pipesched.jobs.formats.place import Place
from pipesched.jobs.model import CronTrigger, Defaults, Job, JobFile
from pipesched.options import PipelineOptions
from pipesched.settings import Paths

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def context() -> Context:
    return Context(zone="Europe/Riga", now=NOW)


@pytest.fixture
def place():
    """`place(home="/srv/blog", **changes)`: pipesched in /opt, its folders beside the job file."""

    def make(
        home: str = "/srv/blog", *, user: str = "blog", zone: str = "UTC", **options: PipelineOptions
    ) -> Place:
        folder = Path(home)
        paths = Paths(folder / "schedules.json", folder / ".pipesched", folder / "output")
        return Place(("/opt/pipesched/bin/pipesched",), paths, zone, user, options)

    return make


@pytest.fixture
def job():
    def make(job_id: str = "a", expression: str = "0 2 * * *", **values) -> Job:
        given = {
            "timezone": "UTC",
            "trigger": CronTrigger(expression=expression),
            "created_at": NOW,
            "since": NOW,
        }
        return Job(id=job_id, **(given | values))

    return make


@pytest.fixture
def job_file():
    def make(*jobs: Job, defaults: Defaults | None = None) -> JobFile:
        return JobFile({job.id: job for job in jobs}, defaults or Defaults(), exists=True)

    return make
