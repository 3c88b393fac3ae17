"""Following the job file."""

import json
import logging
import os
import threading
import time
from datetime import UTC, datetime

import pytest

from pipesched.daemon.jobwatch import LARGE_BYTES, JobWatch
from pipesched.errors import ConfigurationError, DataError
from pipesched.jobs.store import JobStore
from support.scheduling import job

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    store = JobStore(tmp_path / "schedules.json")
    store.add([job("a"), job("b")], NOW)
    return store


def bad(store, text: str) -> bytes:
    good = store.path.read_bytes()
    store.path.write_text(text)
    return good


def test_no_job_file_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no job file") as caught:
        JobWatch(JobStore(tmp_path / "none.json"))

    assert "pipesched init" in caught.value.hint


def test_a_damaged_file_at_the_start_is_an_error(store):
    bad(store, "{")
    with pytest.raises(DataError):
        JobWatch(store)


def test_an_unchanged_file_is_not_read_again(store):
    watch = JobWatch(store)
    before = watch.file

    assert not watch.poll()
    assert watch.file is before


def test_a_change_is_seen(store):
    watch = JobWatch(store)
    store.add([job("c")], NOW)

    assert watch.poll()
    assert set(watch.file.jobs) == {"a", "b", "c"}
    assert not watch.poll()


@pytest.mark.parametrize("text", ["", "{", '["top"]', "\0" * 100])
def test_a_bad_edit_leaves_the_last_good_jobs_and_warns_once(store, caplog, text):
    watch = JobWatch(store)
    good = bad(store, text)
    with caplog.at_level(logging.WARNING):
        assert not any(watch.poll() for _ in range(10))

    assert set(watch.file.jobs) == {"a", "b"}
    assert watch.error is not None
    assert len(caplog.records) == 1
    assert store.path.read_text() == text

    store.path.write_bytes(good)
    assert watch.poll()
    assert watch.error is None


def test_half_a_file_is_believed_when_it_is_seen_twice(store, caplog):
    watch = JobWatch(store)
    good = bad(store, "{")
    watch.poll()
    assert watch.error is None  # an editor that writes in place may be at work

    store.path.write_bytes(good)
    assert watch.poll()
    assert caplog.records == []


def test_a_file_that_is_gone_is_a_bad_edit_and_not_an_empty_one(store):
    watch = JobWatch(store)
    store.path.unlink()
    watch.poll()
    watch.poll()

    assert set(watch.file.jobs) == {"a", "b"}
    assert watch.error is not None
    assert "is gone" in watch.error.message


def test_the_last_good_version_of_a_job_goes_on_when_only_that_job_is_bad(store, caplog):
    watch = JobWatch(store)
    document = json.loads(store.path.read_text())
    for each in document["jobs"].values():
        if each["id"] == "a":
            each["trigger"]["every"] = "never"
        else:
            each["description"] = "changed"
    store.path.write_text(json.dumps(document))

    assert watch.poll()
    assert set(watch.file.jobs) == {"a", "b"}
    assert watch.file.jobs["b"].description == "changed"
    assert [problem.job_id for problem in watch.file.problems] == ["a"]
    assert len(caplog.records) == 1
    assert "its last good version goes on" in caplog.text


def test_a_reload_reads_a_file_whose_stamp_is_the_same(store):
    watch = JobWatch(store)
    info = store.path.stat()
    text = store.path.read_text()
    store.path.write_text(text.replace('"a"', '"z"'))
    os.utime(store.path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert not watch.poll()

    assert watch.reload()
    assert set(watch.file.jobs) == {"z", "b"}


def test_a_large_file_is_read_beside_the_loop_and_unchanged_jobs_stay_what_they_were(tmp_path):
    store = JobStore(tmp_path / "schedules.json")
    store.add([job(f"job-{number:04}") for number in range(LARGE_BYTES // 100)], NOW)
    watch = JobWatch(store)
    before = dict(watch.file.jobs)
    store.edit("job-0001", lambda found: found.model_copy(update={"description": "changed"}))

    assert not watch.poll()
    assert watch.loading
    for _ in range(1000):
        time.sleep(0.01)
        if watch.poll():
            break
    assert not watch.loading
    assert watch.file.jobs["job-0001"].description == "changed"
    same = [job_id for job_id, known in watch.file.jobs.items() if known is before[job_id]]
    assert len(same) == len(before) - 1


def test_a_large_file_is_read_by_the_loop_where_no_thread_can_be_started(tmp_path, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    store = JobStore(tmp_path / "schedules.json")
    store.add([job("a")], NOW)
    watch = JobWatch(store)
    store.add([job(f"job-{number:04}") for number in range(LARGE_BYTES // 100)], NOW)
    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert watch.poll()
    assert "job-0001" in watch.file.jobs


def test_a_file_that_goes_bad_while_it_is_read_beside_the_loop_is_refused(tmp_path):
    store = JobStore(tmp_path / "schedules.json")
    store.add([job("a")], NOW)
    watch = JobWatch(store)
    store.path.write_text("{" * LARGE_BYTES)
    for _ in range(1000):
        watch.poll()
        time.sleep(0.01)
        if watch.error is not None:
            break

    assert watch.error is not None
    assert set(watch.file.jobs) == {"a"}


@pytest.mark.parametrize(
    "worse",
    [
        {"calendar": ["2026-13-01"]},
        {"calendar": ["2026-12-24", "2026-12-2"]},
        {"calendar": ["2026-12-24"], "config": {"data_dirr": "posts"}},
        ["calendar"],
    ],
    ids=str,
)
def test_defaults_that_cannot_be_used_change_nothing_for_any_job(store, worse):
    """A job that ran without the calendar would run on a holiday, without its folder on another one."""

    def write(defaults) -> None:
        tables = json.loads(store.path.read_text())
        tables["defaults"] = {"1": defaults}
        store.path.write_text(json.dumps(tables))

    write({"calendar": ["2026-12-24"], "config": {"data_dir": "posts"}})
    watch = JobWatch(store)
    before = watch.file
    write(worse)

    assert not watch.poll()
    assert watch.file is before
    assert "defaults" in watch.error.message
    write({"calendar": ["2026-12-25"]})
    assert watch.poll()
    assert watch.error is None
    assert watch.file.jobs["a"].calendar == ("2026-12-25",)


def test_defaults_that_were_bad_from_the_start_do_not_keep_an_edit_from_being_followed(store):
    tables = json.loads(store.path.read_text())
    tables["defaults"] = {"1": {"config": {"data_dirr": "posts"}}}
    store.path.write_text(json.dumps(tables))
    watch = JobWatch(store)
    store.add([job("c")], NOW)

    assert watch.poll()
    assert set(watch.file.jobs) == {"a", "b", "c"}
