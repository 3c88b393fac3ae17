"""Our own JSON: what is written is what is read."""

import json

import pytest
from hypothesis import given, settings

from pipesched.errors import DataError
from pipesched.jobs.documents import write_defaults, write_job
from pipesched.jobs.encoding import serialise
from pipesched.jobs.formats import detect, own
from pipesched.jobs.formats.model import Context, Found, Refused
from pipesched.jobs.formats.plan import plan_import
from pipesched.jobs.model import CronTrigger, Defaults, IntervalTrigger, Job, JobFile, JobPolicy, OnceTrigger
from pipesched.options import PipelineConfig
from support.random_jobs import NOW, job_lists

CONTEXT = Context("Pacific/Apia", NOW)  # of no job: nothing of it may come in
DEFAULTS = Defaults(
    timezone="Asia/Tokyo",
    calendar=("2026-12-24..2026-12-26", "2027-01-01"),
    config=PipelineConfig(data_dir="content", chunk_size=700),
)


def written(job_file: JobFile, *, secrets: bool = True) -> bytes:
    return json.dumps(own.write(job_file, now=NOW, secrets=secrets)).encode()


def read(data: bytes):
    return detect.read(data, name="f.json", context=CONTEXT)


@given(job_lists())
def test_what_is_exported_is_what_is_imported(jobs) -> None:
    before = JobFile({job.id: job for job in jobs}, DEFAULTS, exists=True)
    reading = read(written(before))
    assert [entry.job for entry in reading.entries] == jobs
    assert all(entry.own and not entry.warnings for entry in reading.entries)
    assert reading.defaults == DEFAULTS
    assert reading.warnings == ()
    # And in a new file it says, byte for byte, what the old one said, but from when on slots count.
    plan = plan_import(reading, JobFile(), replace=False, check=lambda *_: None, now=NOW)
    assert plan.refused == ()
    after = JobFile({job.id: job for job in plan.jobs}, plan.defaults or Defaults(), exists=True)
    assert without_since(written(after)) == without_since(written(before)) or not jobs


def without_since(data: bytes) -> list[dict]:
    document = json.loads(data)
    own_times = {"since", "created_at"}  # a job that a person wrote by hand is created by its import
    return [
        document["defaults"],
        *({k: v for k, v in job.items() if k not in own_times} for job in document["jobs"]),
    ]


def test_the_random_jobs_have_every_field_that_a_job_can_have() -> None:
    # A field that comes to be has to be in support/random_jobs.py too, or no test asks whether it comes back.
    seen: dict[type, set[str]] = {}

    @settings(max_examples=60, database=None, derandomize=True)
    @given(job_lists(most=6))
    def collect(jobs) -> None:
        for job in jobs:
            for model in (job, job.policy, job.config, job.trigger):
                plain = {
                    name
                    for name, field in type(model).model_fields.items()
                    if getattr(model, name) != field.default
                }
                seen.setdefault(type(model), set()).update(plain)

    collect()
    for model in (Job, JobPolicy, PipelineConfig, CronTrigger, IntervalTrigger, OnceTrigger):
        missing = set(model.model_fields) - seen[model] - {"type", "calendar", "enabled"}
        assert missing == set(), model
    assert "enabled" in seen[Job]


@given(job_lists(most=2))
def test_a_job_file_is_read_as_it_is(jobs) -> None:
    tables = {"jobs": {str(n): write_job(job) for n, job in enumerate(jobs, 1)}} | write_defaults(DEFAULTS)
    reading = read(serialise(tables))
    assert reading.format == own.JOB_FILE
    assert [entry.job.with_calendar(()) for entry in reading.entries] == jobs
    assert reading.defaults == DEFAULTS


def test_secrets_are_masked_unless_asked_for_and_a_mask_is_no_secret(job, job_file) -> None:
    policy = JobPolicy(
        notify=("mailto://u:pw@x.example", "env:HOOK"), ping="https://ping.example/uuid", retries=2
    )
    exported = written(job_file(job(policy=policy)), secrets=False)
    assert b"pw" not in exported
    assert b"uuid" not in exported
    (found,) = read(exported).entries
    assert found.job.policy == JobPolicy(notify=("env:HOOK",), retries=2)
    assert "masked" in found.warnings[0]


def test_a_job_that_cannot_be_used_is_refused_by_name_with_the_key(job, job_file) -> None:
    document = own.write(job_file(job("a"), job("b"), job("c")), now=NOW, secrets=True)
    document["jobs"][0]["policy"]["retrys"] = 2
    document["jobs"][1]["trigger"]["expression"] = "0 0 30 2 *"
    a, b, c = read(json.dumps(document).encode()).entries
    assert isinstance(a, Refused)
    assert (a.id, a.hint) == ("a", "did you mean retries?")
    assert isinstance(b, Refused)
    assert "never fires" in b.reason
    assert isinstance(c, Found)


def test_a_job_file_with_a_bad_job_names_it(job) -> None:
    tables = {"jobs": {"1": write_job(job("a")), "2": {"id": "b", "trigger": {"expression": "61 * * * *"}}}}
    a, b = read(serialise(tables)).entries
    assert isinstance(a, Found)
    assert isinstance(b, Refused)
    assert b.id == "b"


def test_what_a_newer_version_wrote_is_refused_whole(job, job_file) -> None:
    document = own.write(job_file(job()), now=NOW, secrets=True) | {"schema_version": 99}
    with pytest.raises(DataError) as refused:
        read(json.dumps(document).encode())
    assert refused.value.code == "schema_newer"
    with pytest.raises(DataError):
        read(serialise({"jobs": {}, "meta": {"1": {"schema_version": 99}}}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xff\xfe", "UTF-8"),
        (b"{", "line 1"),
        (b"{}", "no jobs"),
        (b'{"jobs": 3}', "number"),
        (b'{"jobs": [], "jobs": []}', "twice"),
        (b"[" * 100_000, "recursion"),
        (b'{"jobs": [{"id": ' + b"9" * 5000 + b"}]}", "digits"),
        (b"hello world\n", "neither JSON nor a crontab"),
        (b"# only words\nSome prose, which goes on for a while.\n", "neither JSON nor a crontab"),
        (b"0 2 * * * pipesched run\0", "neither"),
    ],
)
def test_what_is_no_file_of_jobs_is_unreadable_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as refused:
        read(data)
    assert refused.value.exit_code == 65
    assert refused.value.hint
