"""The job file as people write it by hand."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import DataError
from pipesched.jobs import documents, encoding
from pipesched.jobs.model import IntervalTrigger, JobFile
from pipesched.jobs.store import JobStore
from pipesched.options import PipelineConfig

WRITTEN = datetime(2026, 3, 1, tzinfo=UTC)


def write(store: JobStore, jobs: object, *, at: datetime = WRITTEN, **tables: object) -> None:
    store.path.write_text(json.dumps({"jobs": jobs, **tables}))
    os.utime(store.path, (at.timestamp(), at.timestamp()))


def load_one(store: JobStore, document: dict) -> JobFile:
    write(store, {"1": document})
    return store.load()


def problem(store: JobStore, document: dict) -> tuple[str, str]:
    loaded = load_one(store, document)
    assert loaded.jobs == {}
    (found,) = loaded.problems
    return found.message, found.hint


def test_the_shortest_job_gets_its_zone_and_its_times(store: JobStore, monkeypatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Riga")
    job = load_one(store, {"id": "a", "trigger": {"expression": "0 2 * * *"}}).job("a")
    assert job.kind == "cron"
    assert job.timezone == "Europe/Riga"
    assert job.since == WRITTEN
    assert job.created_at is None


@pytest.mark.parametrize(
    "seconds", [{"every": "1h30m"}, {"seconds": 5400}, {"seconds": "90m"}, {"every": 5400.0}]
)
def test_an_interval_may_be_text_or_seconds(store: JobStore, seconds: dict) -> None:
    job = load_one(store, {"id": "a", "timezone": "UTC", "trigger": seconds}).job("a")
    assert isinstance(job.trigger, IntervalTrigger)
    assert job.trigger.seconds == 5400
    assert job.schedule().text == "every 1h30m"


def test_a_trigger_may_lie_flat_and_the_id_be_a_job_id(store: JobStore) -> None:
    job = load_one(
        store, {"job_id": "a", "type": "once", "at": "2027-01-01 09:00", "timezone": "Europe/Riga"}
    ).job("a")
    assert job.trigger.at == datetime(2027, 1, 1, 7, tzinfo=UTC)


def test_wall_times_are_in_the_jobs_zone_and_a_gap_is_refused(store: JobStore) -> None:
    policy = {"start": "2026-04-01", "end": "2026-05-01 12:00"}
    document = {"id": "a", "timezone": "Europe/Riga", "trigger": {"expression": "@daily"}, "policy": policy}
    job = load_one(store, document).job("a")
    assert job.policy.start == datetime(2026, 3, 31, 21, tzinfo=UTC)
    assert job.policy.end == datetime(2026, 5, 1, 9, tzinfo=UTC)
    message, _ = problem(store, {**document, "policy": {"start": "2026-03-29 03:30"}})
    assert "start" in message


def test_a_jobs_id_may_be_its_key(store: JobStore) -> None:
    write(
        store,
        {"nightly": {"trigger": {"expression": "@daily"}}, "4": {"id": "b", "trigger": {"every": "5m"}}},
    )
    assert list(store.load().jobs) == ["nightly", "b"]
    store.edit("nightly", lambda job: job.model_copy(update={"description": "d"}))
    assert {number: job["id"] for number, job in json.loads(store.path.read_text())["jobs"].items()} == {
        "5": "nightly",
        "4": "b",
    }


def test_a_block_that_was_copied_under_its_old_number_is_kept(store: JobStore) -> None:
    one = {"id": "one", "trigger": {"every": "5m"}}
    two = {"id": "two", "trigger": {"every": "6m"}}
    store.path.write_text(f'{{"jobs": {{"1": {json.dumps(one)}, "1": {json.dumps(two)}}}}}')
    assert list(store.load().jobs) == ["one", "two"]
    store.edit("two", lambda job: job)
    assert list(store.load().jobs) == ["one", "two"]


@pytest.mark.parametrize("number", ["01", "9" * 5000])
def test_a_number_that_tinydb_would_write_otherwise_costs_no_job(store: JobStore, number: str) -> None:
    write(
        store,
        {"1": {"id": "one", "trigger": {"every": "5m"}}, number: {"id": "two", "trigger": {"every": "6m"}}},
    )
    assert list(store.load().jobs) == ["one", "two"]
    store.edit("one", lambda job: job)
    assert list(store.load().jobs) == ["one", "two"]


def test_an_id_that_is_no_text_keeps_no_other_job_from_being_removed(store: JobStore) -> None:
    write(store, {"1": {"id": ["a"]}, "2": {"id": "b", "trigger": {"every": "5m"}}})
    store.remove(["b"])
    assert json.loads(store.path.read_text())["jobs"] == {"1": {"id": ["a"]}}


def test_any_other_double_key_is_refused_by_name(store: JobStore) -> None:
    store.path.write_text('{"jobs": {"1": {"id": "a", "trigger": {"every": "5m", "every": "6m"}}}}')
    with pytest.raises(DataError, match="'every' is there twice"):
        store.load()


def test_one_id_twice_is_named_and_neither_document_is_lost(store: JobStore) -> None:
    write(store, {"1": {"id": "a", "trigger": {"every": "5m"}}, "2": {"id": "a", "trigger": {"every": "6m"}}})
    loaded = store.load()
    assert loaded.job("a").trigger.seconds == 300
    assert "twice" in loaded.problems[0].message
    store.edit("a", lambda job: job.model_copy(update={"description": "d"}))
    first, second = json.loads(store.path.read_text())["jobs"].values()
    assert (first["description"], second) == ("d", {"id": "a", "trigger": {"every": "6m"}})


@pytest.mark.parametrize(
    ("document", "message", "hint"),
    [
        ({"policy": {"timout": "5m"}}, "policy.timout", "did you mean timeout?"),
        ({"conevalsfig": {}}, "conevalsfig", "did you mean config?"),
        ({"xyz": {}}, "xyz", "known here: id, name"),
        ({"config": {"chunk_sise": 3}}, "config.chunk_sise", "did you mean chunk_size?"),
        ({"trigger": {"every": "5m", "ancor": "x"}}, "trigger.ancor", "did you mean anchor?"),
        ({"timezone": "Europe/Berln"}, "Europe/Berln", "Europe/Berlin"),
        ({"policy": {"overlap": "maybe"}}, "policy.overlap", ""),
        ({"policy": {"retries": -1}}, "policy.retries", ""),
        ({"policy": {"grace": "soon"}}, "policy.grace", "1h30m"),
        ({"policy": {"grace": 0}}, "policy.grace", ""),
        ({"policy": {"after": ["-x"]}}, "policy.after", ""),
        ({"policy": {"start": "2026-02-02", "end": "2026-01-01"}}, "must be after start", ""),
        ({"config": {"chunk_size": 100, "chunk_overlap": 100}}, "must be below", ""),
        ({"trigger": {}}, "trigger", ""),
        ({"trigger": "0 2 * * *"}, "trigger", ""),
        ({"trigger": {"every": "inf"}}, "trigger.every", ""),
        ({"tags": ["a b"]}, "tags", ""),
        ({"description": "a\u0007b"}, "description", ""),
        ({"id": "../x"}, "id", ""),
        ({"id": "a\nb"}, "id", ""),
    ],
)
def test_what_cannot_be_used_is_named_by_its_key(
    store: JobStore, document: dict, message: str, hint: str
) -> None:
    said, advice = problem(store, {"id": "a", "trigger": {"every": "5m"}, **document})
    assert message in said
    assert hint in said + " " + advice


@pytest.mark.parametrize("document", [None, 5, "x", [], True])
def test_a_job_that_is_no_object_is_named_and_the_others_load(store: JobStore, document: object) -> None:
    write(store, {"1": document, "2": {"id": "b", "trigger": {"every": "5m"}}})
    loaded = store.load()
    assert list(loaded.jobs) == ["b"]
    assert "job number 1" in loaded.problems[0].message
    store.edit("b", lambda job: job)
    assert json.loads(store.path.read_text())["jobs"]["1"] == document


def test_a_save_keeps_what_it_cannot_use_as_it_was_written(store: JobStore) -> None:
    bad = {"id": "bad", "trigger": {"every": "soon"}, "note": "mine", "big": 2**70, "odd": "\ud800"}
    write(store, {"1": bad, "2": {"id": "b", "trigger": {"every": "5m"}}})
    store.edit("b", lambda job: job.model_copy(update={"description": "d"}))
    assert json.loads(store.path.read_text())["jobs"]["1"] == bad
    assert store.load().job("b").description == "d"


def test_a_secret_is_never_repeated_in_what_is_said_about_it(store: JobStore) -> None:
    for policy in (
        {"notify": ["hunter2"]},
        {"notify": "hunter2"},
        {"ping": "ftp://hunter2@x"},
        {"ping": ["hunter2"]},
    ):
        message, hint = problem(store, {"id": "a", "trigger": {"every": "5m"}, "policy": policy})
        assert "hunter2" not in message + hint


def test_a_schedule_that_was_changed_by_hand_counts_from_then(store: JobStore, job, now: datetime) -> None:
    store.add([job("a"), job("b")], now)
    tables = json.loads(store.path.read_text())
    tables["jobs"]["1"]["trigger"]["expression"] = "0 5 * * *"
    tables["jobs"]["2"]["description"] = "no other schedule"
    later = now + timedelta(days=3)
    write(store, tables["jobs"], at=later)
    loaded = store.load()
    assert loaded.job("a").since == later
    assert loaded.job("b").since == now
    # The next save moves the file's time, and must not move the job's with it.
    store.edit("b", lambda old: old)
    os.utime(store.path, (later.timestamp() + 9e5, later.timestamp() + 9e5))
    assert store.load().job("a").since == later


def test_a_job_that_was_paused_by_hand_is_paused_since_then(store: JobStore) -> None:
    job = load_one(store, {"id": "a", "trigger": {"every": "5m"}, "enabled": False}).job("a")
    assert job.timed().paused_at == WRITTEN


@pytest.mark.parametrize(
    "defaults",
    [
        {"1": {"timezone": "Europe/Riga", "data_dir": "posts"}},
        {"1": {"timezone": "Europe/Riga", "config": {"data_dir": "posts"}}},
        {"timezone": "Europe/Riga", "data_dir": "posts"},
        {"timezone": "Europe/Riga", "config": {"data_dir": "posts"}},
    ],
)
def test_defaults_may_be_flat_or_nested(store: JobStore, defaults: dict) -> None:
    write(store, {"1": {"id": "a", "trigger": {"every": "5m"}}}, defaults=defaults)
    loaded = store.load()
    assert loaded.defaults.config.data_dir == "posts"
    assert loaded.job("a").timezone == "Europe/Riga"
    store.edit("a", lambda job: job)
    assert store.load().defaults == loaded.defaults


def test_a_default_that_cannot_be_used_is_named_and_the_rest_holds(store: JobStore) -> None:
    write(store, {}, defaults={"1": {"data_dirr": "x", "chunk_size": 700}})
    loaded = store.load()
    assert "data_dirr" in loaded.problems[0].message
    assert loaded.problems[0].hint == "did you mean data_dir?"
    assert loaded.defaults.config.chunk_size == 700
    write(store, {}, defaults={"timezone": "Nowhere", "chunk_size": 700})
    loaded = store.load()
    assert "Nowhere" in loaded.problems[0].message
    assert (loaded.defaults.timezone, loaded.defaults.config.chunk_size) == (None, 700)


@pytest.mark.parametrize(
    "config", [{"chunk_size": 100, "chunk_overlap": 200}, {"timezone": "UTC"}, {"data_dirr": "x"}]
)
def test_options_that_cannot_be_used_take_neither_zone_nor_calendar_with_them(
    store: JobStore, config: dict
) -> None:
    defaults = {"timezone": "Europe/Riga", "calendar": ["2026-12-24", "soon"], "config": config}
    write(store, {}, defaults=defaults)
    loaded = store.load()
    assert loaded.problems
    assert loaded.defaults.timezone == "Europe/Riga"
    assert loaded.defaults.calendar == ("2026-12-24",)
    assert loaded.defaults.config == PipelineConfig()


def test_a_wait_for_a_job_that_is_not_there_or_in_a_ring_is_named(store: JobStore) -> None:
    def waits(job_id: str, *others: str) -> dict:
        return {"id": job_id, "trigger": {"every": "5m"}, "policy": {"after": list(others)}}

    write(store, {"1": waits("a", "gone"), "2": waits("b", "c"), "3": waits("c", "b"), "4": waits("d", "b")})
    loaded = store.load()
    assert sorted(loaded.jobs) == ["a", "b", "c", "d"]
    assert {problem.job_id for problem in loaded.problems} == {"a", "b", "c"}


def test_another_table_is_refused_with_the_nearest(store: JobStore) -> None:
    store.path.write_text('{"job": {}}')
    with pytest.raises(DataError) as caught:
        store.load()
    assert caught.value.hint == "did you mean 'jobs'?"


def test_another_schedulers_list_of_jobs_is_sent_to_import(store: JobStore) -> None:
    store.path.write_text('{"jobs": [{"job_id": "a", "type": "cron"}]}')
    with pytest.raises(DataError) as caught:
        store.load()
    assert "pipesched import" in caught.value.hint


def test_a_byte_order_mark_is_no_damage(store: JobStore) -> None:
    store.path.write_bytes(b'\xef\xbb\xbf{"jobs": {"1": {"id": "a", "trigger": {"every": "5m"}}}}')
    assert list(store.load().jobs) == ["a"]


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_a_job_file_or_a_data_error(data: bytes) -> None:
    try:
        tables = encoding.parse(data, name="x")
    except DataError:
        return
    assert set(tables) == {"meta", "defaults", "jobs"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["1", "2", "x"]), _json, max_size=3),
    _json,
    st.dictionaries(
        st.sampled_from(["id", "trigger", "policy", "config", "timezone", "tags", "enabled", "since"]), _json
    ),
)
def test_any_json_in_the_tables_is_read_or_named(jobs: dict, defaults: object, job: dict) -> None:
    data = json.dumps(
        {"jobs": {**jobs, "9": {"id": "a", "trigger": {"every": "5m"}, **job}}, "defaults": defaults}
    )
    context = documents.Context(timezone=lambda: "UTC", written_at=WRITTEN)
    try:
        tables = encoding.parse(data.encode(), name="x")
    except DataError:
        return
    reading = documents.read(tables, context=context, stamp=None, version=1)
    named = len(reading.job_file.jobs) + sum("job" in each.message for each in reading.job_file.problems)
    assert named >= len(tables["jobs"])


def test_jobs_share_what_they_have_in_common_and_a_change_of_one_changes_no_other(store, now) -> None:
    documents = {
        str(number): {
            "id": f"job-{number}",
            "trigger": {"type": "cron", "expression": f"{number} 2 * * *"},
            "timezone": "UTC",
            "since": "2026-03-01T00:00:00Z",
            "policy": {"retries": 2} if number else {"retries": 2.0},
            "config": {"data_dir": f"data/{number}"},
        }
        for number in range(4)
    }
    store.path.write_text(json.dumps({"jobs": documents}))
    jobs = store.load().jobs
    assert jobs["job-1"].policy is jobs["job-2"].policy
    assert {job.policy.retries for job in jobs.values()} == {2}
    before = [job.model_dump(exclude_unset=True) for job in jobs.values()]
    changed = jobs["job-1"].model_copy(update={"paused_at": now, "config": PipelineConfig(adopt=True)})
    assert "paused_at" in changed.model_fields_set
    assert [job.model_dump(exclude_unset=True) for job in jobs.values()] == before


def test_ten_thousand_jobs_take_three_kilobytes_each_at_most(tmp_path) -> None:
    jobs = {
        str(number): {
            "id": f"job-{number}",
            "trigger": {"type": "cron", "expression": f"{number % 60} {number % 24} * * *"},
            "timezone": "UTC",
            "since": "2026-03-01T00:00:00+00:00",
            "created_at": "2026-03-01T00:00:00+00:00",
            "policy": {"retries": 2} if number % 2 else {},
            "config": {"data_dir": f"data/{number}"},
        }
        for number in range(10_000)
    }
    (tmp_path / "schedules.json").write_text(json.dumps({"jobs": jobs}))
    script = (
        "from pathlib import Path; from pipesched.jobs.store import JobStore;"
        "size = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * 4096;"
        "JobStore(Path('empty.json')).load(); before = size();"
        "timed = [job.timed() for job in JobStore(Path('schedules.json')).load().jobs.values()];"
        "print((size() - before) / len(timed))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 3_500
