"""What another engine cannot say of a job is named, whichever of its settings it is."""

from datetime import timedelta

import pytest

from pipesched.jobs.formats import crontab, kubernetes, systemd
from pipesched.jobs.model import JobFile, JobPolicy, OnceTrigger
from pipesched.options import PipelineOptions
from support.random_jobs import NOW

WRITERS = {"crontab": crontab.write, "systemd": systemd.write, "kubernetes": kubernetes.write}
SETTINGS = {
    "catch_up": "all", "grace": "30m", "overlap": "queue", "timeout": "1h", "retries": 3, "retry_delay": "5m", "jitter": "5m",
    "after": ("first",), "trigger_on": "any", "not_during": ("22:00-23:00",), "start": NOW, "end": NOW + timedelta(days=9),
    "max_runs": 3, "pause_after_failures": 3, "notify": ("env:HOOK",), "ping": "env:PING",
}  # fmt: skip
SAID = {
    # What each engine does itself, and so in silence. A delay is part of retries.
    "crontab": {"retry_delay"},
    "systemd": {"retry_delay", "timeout", "jitter"},
    "kubernetes": {"retry_delay", "grace", "timeout"},
}


def test_every_setting_of_a_policy_is_looked_at() -> None:
    # One that comes to be has to be here too, and so in limits.py.
    assert set(SETTINGS) == set(JobPolicy.model_fields)


@pytest.mark.parametrize("engine", WRITERS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_is_said_or_named(job, place, engine: str, setting: str) -> None:
    def remarks(policy: JobPolicy) -> set[str]:
        jobs = [job("first"), job("it", policy=policy)]
        made = WRITERS[engine](JobFile({each.id: each for each in jobs}), place=place(), now=NOW)
        assert made.refused == ()
        return {
            text.partition(": ")[2] for text in made.warnings if "it" in text.partition(": ")[0].split(", ")
        }

    more = remarks(JobPolicy(**{setting: SETTINGS[setting]})) - remarks(JobPolicy())
    assert bool(more) == (setting not in SAID[engine]), more


@pytest.mark.parametrize("engine", WRITERS)
def test_dates_of_the_calendar_are_named(job, place, engine: str) -> None:
    closed = job("it").with_calendar(("2026-12-24",))
    made = WRITERS[engine](JobFile({"it": closed}), place=place(), now=NOW)
    assert any("calendar" in text for text in made.warnings)


@pytest.mark.parametrize("engine", WRITERS)
def test_jobs_that_write_to_one_store_are_named_because_nobody_lets_them_wait(
    job, place, engine: str
) -> None:
    store = PipelineOptions(data_dir="/srv/blog/a", storage_path="/srv/blog/db")
    other = PipelineOptions(data_dir="/srv/blog/a", storage_path="/srv/blog/db2")
    looks = PipelineOptions(data_dir="/srv/blog/a", storage_path="/srv/blog/db2", dry_run=True)
    jobs = [job("a"), job("b"), job("c"), job("d")]
    made = WRITERS[engine](
        JobFile({each.id: each for each in jobs}), place=place(a=store, b=store, c=other, d=looks), now=NOW
    )
    (said,) = [text for text in made.warnings if "one store" in text]
    assert said.startswith("a, b: ")


def test_a_time_that_has_passed_is_named(job, place) -> None:
    past = job("it", trigger=OnceTrigger(at=NOW - timedelta(days=1)))
    made = systemd.write(JobFile({"it": past}), place=place(), now=NOW)
    assert any("has passed" in text for text in made.warnings)
