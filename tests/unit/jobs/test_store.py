"""The job file: what is written, what is read back, what stays as it was."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tinydb import TinyDB

from pipesched.errors import CannotCreate, DataError, InvalidValue, JobExists, NotFound, UsageError
from pipesched.jobs.model import (
    CronTrigger,
    Defaults,
    IntervalTrigger,
    Job,
    JobFile,
    JobPolicy,
    OnceTrigger,
)
from pipesched.jobs.store import JobStore
from pipesched.options import PipelineConfig


def raw(store: JobStore) -> dict:
    return json.loads(store.path.read_text())


def test_no_file_is_no_jobs_and_nothing_is_made(store: JobStore) -> None:
    assert store.load() == JobFile()
    assert not store.load().exists
    assert store.stamp() is None
    assert list(store.path.parent.iterdir()) == []


def test_what_is_added_is_read_back_as_it_was(store: JobStore, job, now: datetime) -> None:
    added = [
        job(
            "cron",
            name="n",
            description="d",
            tags=("x", "y"),
            timezone="Europe/Riga",
            policy=JobPolicy(retries=2, grace="90m", timeout=30.5, start=now, after=("interval",)),
            config=PipelineConfig(data_dir="posts", dry_run=False),
        ),
        job("interval", trigger=IntervalTrigger(seconds=5400, anchor=now)),
        job("once", trigger=OnceTrigger(at=now + timedelta(days=3)), enabled=False, paused_at=now),
    ]
    store.add(added, now)
    loaded = store.load()
    assert loaded.exists
    assert loaded.problems == ()
    assert list(loaded.jobs) == ["cron", "interval", "once"]
    for before in added:
        after = loaded.job(before.id)
        assert after.model_copy(update={"since_schedule": ""}) == before
        assert after.since_schedule == before.schedule_key
    assert loaded.job("cron").policy.grace == 5400.0


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    policy=st.fixed_dictionaries(
        {},
        optional={
            "grace": st.integers(1, 10**6),
            "timeout": st.floats(0.001, 10**6).map(lambda x: round(x, 3)),
            "jitter": st.integers(0, 3600),
            "retries": st.integers(0, 20),
            "retry_delay": st.integers(0, 7200),
            "overlap": st.sampled_from(["skip", "queue", "replace"]),
            "max_runs": st.integers(1, 9),
            "ping": st.just("https://example.org/x"),
        },
    ),
    seconds=st.floats(1, 10**7).map(lambda x: round(x, 6)),
    text=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=30),
)
def test_any_job_survives_the_file(
    tmp_path_factory, job, now, policy: dict, seconds: float, text: str
) -> None:
    store = JobStore(tmp_path_factory.mktemp("file") / "schedules.json")
    before = job(
        "x",
        description=text,
        policy=JobPolicy(**policy),
        trigger=IntervalTrigger(seconds=seconds, anchor=now),
    )
    store.add([before], now)
    after = store.load().job("x")
    assert after.policy.model_dump() == before.policy.model_dump()
    assert after.trigger.seconds == pytest.approx(seconds, abs=1e-6)
    assert after.description == text


def test_the_file_is_one_that_tinydb_reads(store: JobStore, job, now: datetime) -> None:
    store.add([job("a"), job("b")], now)
    with TinyDB(store.path) as database:
        assert database.tables() == {"meta", "defaults", "jobs"}
        assert [document["id"] for document in database.table("jobs").all()] == ["a", "b"]
        assert database.table("meta").all() == [{"schema_version": 1}]


def test_the_file_is_made_to_be_read_and_compared(store: JobStore, job, now: datetime) -> None:
    store.add([job("a", policy=JobPolicy(grace=5400)), job("b")], now)
    before = store.path.read_text()
    assert before.startswith('{\n  "meta": {')
    assert before.endswith("}\n")
    assert '"grace": "1h30m"' in before
    store.edit("b", lambda old: old.model_copy(update={"description": "more"}))
    changed = [
        (old, new)
        for old, new in zip(before.splitlines(), store.path.read_text().splitlines(), strict=True)
        if old != new
    ]
    assert changed == [('      "description": "",', '      "description": "more",')]


def test_an_id_that_exists_is_refused_and_the_file_is_the_same_to_the_byte(
    store: JobStore, job, now: datetime
) -> None:
    store.add([job("a")], now)
    before = store.path.read_bytes(), store.stamp()
    with pytest.raises(JobExists, match="'a' already"):
        store.add([job("new"), job("a")], now)
    with pytest.raises(JobExists):
        store.add([job("twice"), job("twice")], now)
    assert (store.path.read_bytes(), store.stamp()) == before


def test_an_id_is_taken_by_a_job_that_cannot_be_used_too(store: JobStore, job, now: datetime) -> None:
    store.path.write_text(json.dumps({"jobs": {"1": {"id": "bad", "trigger": {"every": "soon"}}}}))
    with pytest.raises(JobExists):
        store.add([job("bad")], now)


def test_what_is_added_counts_from_then(store: JobStore, job, now: datetime) -> None:
    later = now + timedelta(days=9)
    store.add([job("a")], later)
    added = store.load().job("a")
    assert (added.created_at, added.since) == (later, later)


def test_a_failed_edit_leaves_the_file_as_it_was(store: JobStore, job, now: datetime) -> None:
    store.add([job("a"), job("b")], now)
    before = store.path.read_bytes()

    def fail_on_b(old: Job) -> Job:
        if old.id == "b":
            raise InvalidValue("no")
        return old.model_copy(update={"description": "changed"})

    with pytest.raises(InvalidValue):
        store.edit_all(["a", "b"], fail_on_b)
    with pytest.raises(NotFound):
        store.edit_all(["a", "nope"], lambda old: old.model_copy(update={"description": "changed"}))
    assert store.path.read_bytes() == before


def test_a_check_that_refuses_leaves_the_file_as_it_was(store: JobStore, job, now: datetime) -> None:
    store.add([job("a")], now)
    before = store.path.read_bytes()
    seen = []

    def refuse(after: JobFile, changed) -> None:
        seen.append((sorted(after.jobs), list(changed)))
        raise UsageError("no")

    for attempt in (
        lambda: store.add([job("b")], now, check=refuse),
        lambda: store.edit("a", lambda old: old, check=refuse),
    ):
        with pytest.raises(UsageError):
            attempt()
    assert seen == [(["a", "b"], ["b"]), (["a"], ["a"])]
    assert store.path.read_bytes() == before


def test_an_edit_keeps_the_jobs_place_and_the_others_bytes(store: JobStore, job, now: datetime) -> None:
    store.add([job("a"), job("b"), job("c")], now)
    store.edit("b", lambda _: job("b", trigger=IntervalTrigger(seconds=60, anchor=now)))
    assert list(raw(store)["jobs"]) == ["1", "2", "3"]
    assert [document["trigger"]["type"] for document in raw(store)["jobs"].values()] == [
        "cron",
        "interval",
        "cron",
    ]


def test_numbers_of_removed_jobs_are_not_mistaken(store: JobStore, job, now: datetime) -> None:
    store.add([job("a"), job("b")], now)
    store.remove(["a"])
    store.add([job("c")], now)
    assert {number: document["id"] for number, document in raw(store)["jobs"].items()} == {"2": "b", "3": "c"}


def test_remove_is_all_or_nothing_and_names_the_nearest(store: JobStore, job, now: datetime) -> None:
    store.add([job("nightly"), job("b")], now)
    before = store.path.read_bytes()
    with pytest.raises(NotFound) as caught:
        store.remove(["b", "nighty"])
    assert caught.value.code == "job_not_found"
    assert "nightly" in caught.value.hint
    assert store.path.read_bytes() == before
    store.remove(["b", "nightly"])
    assert store.load().jobs == {}


def test_a_job_that_cannot_be_used_can_be_removed(store: JobStore, job, now: datetime) -> None:
    store.path.write_text(json.dumps({"jobs": {"7": {"id": "bad", "trigger": {"every": "soon"}}}}))
    store.remove(["bad"])
    assert raw(store)["jobs"] == {}


def test_a_change_where_there_is_no_file_finds_no_job_and_makes_nothing(store: JobStore) -> None:
    with pytest.raises(NotFound):
        store.edit("a", lambda old: old)
    with pytest.raises(NotFound):
        store.remove(["a"])
    assert list(store.path.parent.iterdir()) == []


def test_a_linked_job_file_stays_a_link(tmp_path: Path, job, now: datetime) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "shown").mkdir()
    link = tmp_path / "shown" / "schedules.json"
    link.symlink_to("../real/jobs.json")
    with pytest.raises(DataError, match="a link to"):
        JobStore(link).load()
    JobStore(tmp_path / "real" / "jobs.json").add([job("a")], now)
    JobStore(link).add([job("b")], now)
    assert link.is_symlink()
    assert sorted(JobStore(tmp_path / "real" / "jobs.json").load().jobs) == ["a", "b"]
    # One lock for both names, beside the real file.
    assert (tmp_path / "real" / ".jobs.json.lock").exists()
    assert [path.name for path in (tmp_path / "shown").iterdir()] == ["schedules.json"]


def test_the_files_permissions_stay(store: JobStore, job, now: datetime) -> None:
    store.add([job("a")], now)
    store.path.chmod(0o640)
    store.add([job("b")], now)
    assert store.path.stat().st_mode & 0o777 == 0o640


def test_the_stamp_changes_with_each_save_and_only_then(store: JobStore, job, now: datetime) -> None:
    store.add([job("a")], now)
    first = store.stamp()
    assert store.load().stamp == first == store.stamp()
    store.edit("a", lambda old: old)
    assert store.stamp() != first


def test_create_refuses_a_file_that_is_there_or_keeps_it(store: JobStore, job, now: datetime) -> None:
    assert store.create([job("a")]) is None
    before = store.path.read_bytes()
    with pytest.raises(CannotCreate, match="already"):
        store.create([job("b")])
    assert store.path.read_bytes() == before
    backup = store.create([job("b")], defaults=Defaults(timezone="Europe/Riga"), replace_existing=True)
    assert backup == store.path.with_name("schedules.json.bak")
    assert backup.read_bytes() == before
    assert list(store.load().jobs) == ["b"]
    assert store.load().defaults.timezone == "Europe/Riga"


def test_create_replaces_even_a_damaged_file_and_keeps_its_bytes(store: JobStore, job) -> None:
    store.path.write_bytes(b"\0\0\0")
    backup = store.create([job("a")], replace_existing=True)
    assert backup is not None
    assert backup.read_bytes() == b"\0\0\0"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, job, now: datetime) -> None:
    with pytest.raises(CannotCreate, match="no folder"):
        JobStore(tmp_path / "nowhere" / "schedules.json").add([job("a")], now)


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no regular file"):
        JobStore(tmp_path).load()


def test_a_pipe_or_a_device_in_the_files_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(DataError, match="no regular file"):
            JobStore(path).load()


# ---- secrets


SECRET = "https://user:password@example.com/token"


@pytest.mark.parametrize("policy", [{"ping": SECRET}, {"notify": ("env:ALERTS", SECRET)}])
def test_a_new_file_with_secrets_is_its_owners_alone(store: JobStore, job, now: datetime, policy) -> None:
    store.add([job("a", policy=JobPolicy(**policy))], now)
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_a_new_file_without_secrets_has_the_umasks_mode(store: JobStore, job, now: datetime) -> None:
    old = os.umask(0o022)
    try:
        store.add([job("a", policy=JobPolicy(ping="env:PING", notify=("env:ALERTS",)))], now)
    finally:
        os.umask(old)
    assert store.path.stat().st_mode & 0o777 == 0o644


def test_an_open_file_that_gets_secrets_keeps_its_mode_with_a_warning(
    store: JobStore, job, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    store.add([job("a")], now)
    store.path.chmod(0o640)
    assert caplog.messages == []
    store.add([job("b", policy=JobPolicy(ping=SECRET))], now)
    assert store.path.stat().st_mode & 0o777 == 0o640
    (said,) = caplog.messages
    assert f"chmod 600 {store.path}" in said
    assert SECRET not in said
    store.path.chmod(0o600)
    store.add([job("c")], now)
    assert len(caplog.messages) == 1


def test_a_backup_with_secrets_is_its_owners_alone(store: JobStore, job, now: datetime) -> None:
    backup = store.path.with_name("schedules.json.bak")
    store.add([job("a")], now)
    store.path.chmod(0o644)
    store.merge([job("a", policy=JobPolicy(ping=SECRET))], replacing=["a"])
    assert backup.stat().st_mode & 0o777 == 0o644
    store.create([job("b")], replace_existing=True)
    assert SECRET in backup.read_text()
    assert backup.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("make", ["add", "create"])
def test_what_root_makes_in_somebodys_folder_is_theirs(
    store: JobStore, job, now: datetime, make: str
) -> None:
    os.chown(store.path.parent, 65534, 65534)
    if make == "add":
        store.add([job("a")], now)
    else:
        store.create([job("a")])
    store.add([job("b")], now)
    store.merge([job("b")], replacing=["b"])
    made = {path.name: path.stat().st_uid for path in store.path.parent.iterdir()}
    assert made == dict.fromkeys([".schedules.json.lock", "schedules.json", "schedules.json.bak"], 65534)


def test_an_unused_job_is_named_with_the_nearest(store: JobStore, job, now: datetime) -> None:
    store.add([job("daily_incremental")], now)
    with pytest.raises(NotFound) as caught:
        store.load().job("daily_incremntal")
    assert caught.value.hint == "did you mean daily_incremental?"


def test_a_bad_schedule_is_a_problem_of_its_job_only(store: JobStore, job, now: datetime) -> None:
    store.add([job("a"), job("b", trigger=CronTrigger(expression="0 0 30 2 *"))], now)
    loaded = store.load()
    assert list(loaded.jobs) == ["a"]
    assert [problem.job_id for problem in loaded.problems] == ["b"]
    with pytest.raises(DataError, match="never fires"):
        loaded.job("b")
    assert list(store.load(schedules=False).jobs) == ["a", "b"]


def test_the_lock_that_a_save_leaves_does_not_stop_the_next(store: JobStore, job, now: datetime) -> None:
    store.add([job("a")], now)
    lock = store.path.with_name(".schedules.json.lock")
    assert lock.exists()
    os.utime(lock, (0, 0))
    store.add([job("b")], now)
    assert list(store.load().jobs) == ["a", "b"]
