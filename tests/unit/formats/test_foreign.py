"""The files of the scheduler that pipesched replaces, in their three shapes."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pipesched.jobs.formats import detect
from pipesched.jobs.formats.model import Context, Found, Reading, Refused

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
CONTEXT = Context("Europe/Riga", NOW)

CONFIGURATION = {
    "jobs": [
        {
            "job_id": "daily_incremental_update",
            "type": "cron",
            "hour": 2,
            "minute": 0,
            "config": {"incremental_mode": "auto", "force_recreate": False, "ci_mode": True},
        },
        {
            "job_id": "weekly_full_rebuild",
            "type": "cron",
            "day_of_week": "sun",
            "hour": 1,
            "minute": 0,
            "conevalsfig": {"incremental_mode": "full"},
        },
        {"job_id": "hourly_health_check", "type": "interval", "hours": 1, "config": {"dry_run": True}},
        {"id": "launch", "name": "Launch", "type": "onetime", "run_date": "2026-04-01T09:00:00"},
    ]
}
EXPORT = {
    "exported_at": "2026-03-01T00:11:13.486181",
    "scheduler_stats": {"jobs_executed": 0},
    "jobs": [
        {
            "job_id": "once",
            "name": "Simple Pipeline Job: once",
            "next_run_time": "2026-06-17T00:11:43.485972-05:00",
            "trigger": "date[2026-06-17 00:11:43 CDT]",
            "type": "date",
            "run_date": "2026-06-17T00:11:43.485972-05:00",
        },
        {
            "job_id": "hourly",
            "next_run_time": "2026-03-02T13:11:13.485819-05:00",
            "trigger": "interval[1:00:00]",
            "type": "interval",
            "hours": 1,
        },
        {"job_id": "daily", "trigger": "cron[hour='2', minute='0']", "type": "cron"},
        {"job_id": "sunday", "trigger": "cron[hour='1', minute='0']", "type": "cron", "day_of_week": 6},
    ],
}


def read(document: object) -> Reading:
    return detect.read(json.dumps(document).encode(), name="old.json", context=CONTEXT)


def found(document: dict) -> Found:
    (entry,) = read({"jobs": [{"id": "a", **document}]}).entries
    assert isinstance(entry, Found), entry
    return entry


def refused(document: dict) -> Refused:
    (entry,) = read({"jobs": [{"id": "a", **document}]}).entries
    assert isinstance(entry, Refused), entry
    return entry


def expression(document: dict) -> str:
    return found(document).job.trigger.expression


def test_the_configuration_file_comes_in_with_its_config() -> None:
    reading = read(CONFIGURATION)
    daily, weekly, hourly, launch = reading.entries
    assert daily.job.trigger.expression == "0 2 * * *"
    assert daily.job.timezone == "Europe/Riga"
    assert daily.job.config.set_values() == {
        "incremental_mode": "auto",
        "force_recreate": False,
        "ci_mode": True,
    }
    assert weekly.job.trigger.expression == "0 1 * * sun"
    assert hourly.job.trigger.seconds == 3600
    assert hourly.job.config.dry_run is True
    assert launch.job.trigger.at == datetime(2026, 4, 1, 6, tzinfo=UTC)
    assert launch.job.name == "Launch"
    assert [bool(entry.warnings) for entry in reading.entries] == [False, True, False, False]


def test_an_unknown_key_is_warned_about_with_the_nearest_known_one() -> None:
    warning = read(CONFIGURATION).entries[1].warnings[0]
    assert "'conevalsfig'" in warning
    assert "did you mean 'config'?" in warning
    (warning,) = found({"type": "cron", "hour": 1, "config": {"chunk_sise": 500, "job_id": "a"}}).warnings
    assert "'chunk_sise'" in warning
    assert "did you mean 'chunk_size'?" in warning
    assert "max_workers" in read({"max_workers": 4, "jobs": []}).warnings[0]


def test_an_export_gives_back_what_its_trigger_texts_hold() -> None:
    once, hourly, daily, sunday = read(EXPORT).entries
    assert once.job.trigger.at == datetime(2026, 6, 17, 5, 11, 43, 485972, tzinfo=UTC)
    assert once.job.name == "Simple Pipeline Job: once"
    assert hourly.job.trigger.seconds == 3600
    assert hourly.job.trigger.anchor == datetime(2026, 3, 2, 18, 11, 13, tzinfo=UTC)
    assert daily.job.trigger.expression == "0 2 * * *"
    assert sunday.job.trigger.expression == "0 1 * * sun"
    assert "does not hold its config" in daily.warnings[0]


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"type": "cron", "cron_expression": "0 1 * * 0"}, "0 1 * * 0"),
        ({"type": "cron", "cron_expression": "0 1 * * 7"}, "0 1 * * 7"),
        ({"type": "cron", "hour": 1, "day_of_week": 6}, "0 1 * * sun"),
        ({"type": "cron", "hour": 1, "day_of_week": "6"}, "0 1 * * sun"),
        ({"type": "cron", "hour": 1, "day_of_week": "sun"}, "0 1 * * sun"),
        ({"trigger": "cron[day_of_week='6', hour='1', minute='0']"}, "0 1 * * sun"),
        ({"trigger": "cron[day_of_week='sun', hour='1', minute='0']"}, "0 1 * * sun"),
        ({"trigger": "cron[hour='1']", "day_of_week": "sun"}, "0 1 * * sun"),
        ({"trigger": {"type": "CronTrigger", "fields": [
            {"name": "day_of_week", "is_default": False, "expressions": [{"step": None, "first": 6, "last": 6}]},
            {"name": "hour", "is_default": False, "expressions": [{"step": None, "first": 1, "last": 1}]},
        ]}}, "0 1 * * sun"),
    ],
)  # fmt: skip
def test_sunday_is_sunday_in_every_shape(document: dict, wanted: str) -> None:
    job = found(document).job
    assert job.trigger.expression == wanted
    following = job.schedule().next(NOW)
    assert f"{following.at:%a}" in {"Sat", "Sun"}  # 01:00 in Riga is Saturday's 23:00
    assert f"{following.at.astimezone(ZoneInfo(job.timezone)):%a %H:%M}" == "Sun 01:00"


@pytest.mark.parametrize(
    ("days", "wanted"),
    [
        (0, "mon"), ("0-4", "mon-fri"), ("mon-fri", "mon-fri"), ("5,6", "sat,sun"), ("*", "*"), ("*/2", "mon,wed,fri,sun"),
        ("0-6", "*"), ("1", "tue"), ("4-6", "fri-sun"), ("mon,wed", "mon,wed"), ("1/2", "tue,thu,sat"),
    ],
)  # fmt: skip
def test_weekdays_count_from_monday_there(days: object, wanted: str) -> None:
    assert expression({"type": "cron", "hour": 1, "day_of_week": days}) == f"0 1 * * {wanted}"


@pytest.mark.parametrize("days", [7, -1, "mun", "fri-mon", 1.5, True, [0], ""])
def test_a_weekday_that_is_none_there_is_refused(days: object) -> None:
    assert "day_of_week" in refused({"type": "cron", "hour": 1, "day_of_week": days}).reason


@pytest.mark.parametrize(
    ("trigger", "wanted"),
    [
        ("cron[hour='2', minute='0']", "0 2 * * *"),
        ("cron[hour='2']", "0 2 * * *"),
        ("cron[minute='30']", "30 * * * *"),
        ("cron[day_of_week='mon']", "0 0 * * mon"),
        ("cron[month='1']", "0 0 1 1 *"),
        ("cron[day='15', hour='6']", "0 6 15 * *"),
        ("cron[day='last']", "0 0 L * *"),
        ("cron[day='2nd fri', hour='9']", "0 9 * * fri#2"),
        ("cron[day='last sun', hour='9']", "0 9 * * L0"),
        ("cron[day='*/2', day_of_week='mon', hour='9']", "0 9 */2 * mon"),
        ("cron[hour='9-17', minute='*/15', second='0']", "*/15 9-17 * * *"),
        ("cron[month='jan-mar', day='1', hour='0', minute='0']", "0 0 1 jan-mar *"),
    ],
)
def test_the_fields_that_a_trigger_text_leaves_out_have_their_defaults(trigger: str, wanted: str) -> None:
    assert expression({"trigger": trigger}) == wanted


@pytest.mark.parametrize(
    ("trigger", "word"),
    [
        ("cron[second='*/10']", "second"),
        ("cron[year='2027', hour='2']", "year"),
        ("cron[week='5']", "week"),
        ("cron[day='1-7', day_of_week='mon', hour='2']", "either"),
        ("cron[hour='25']", "hour"),
        ("cron[hour=2]", "cannot be read"),
        ("cron[]", "no cron field"),
        ("cron[hours='2']", "hours"),
        ("every day at two", "cannot be read"),
        ("interval[soon]", "cannot be read"),
        ("interval[0:00:00]", "over 0"),
        ("interval[-1 day, 23:00:00]", "cannot be used"),
        ("date[2025-06-20 15:30:00 UTC]", "has passed"),
        ("date[2026-06-20 15:30:00 CDT]", "CDT"),
        ("date[tomorrow]", "cannot be read"),
        (5, "trigger is a number"),
    ],
)
def test_a_trigger_that_cannot_be_said_here_is_refused_with_the_reason(trigger: object, word: str) -> None:
    answer = refused({"trigger": trigger})
    assert answer.id == "a"
    assert word in answer.reason
    assert answer.hint


@pytest.mark.parametrize(
    ("trigger", "seconds"),
    [
        ("interval[1:30:00]", 5400),
        ("interval[0:00:10]", 10),
        ("interval[1 day, 0:00:00]", 86_400),
        ("interval[2 days, 3:04:05]", 183_845),
        ("interval[0:00:01.500000]", 1.5),
    ],
)
def test_an_interval_is_recovered_from_its_text(trigger: str, seconds: float) -> None:
    assert found({"trigger": trigger}).job.trigger.seconds == seconds


@pytest.mark.parametrize(
    ("trigger", "beside", "at"),
    [
        ("date[2026-06-20 15:30:00 UTC]", {}, datetime(2026, 6, 20, 15, 30, tzinfo=UTC)),
        ("date[2026-06-20 15:30:00 UTC+02:00]", {}, datetime(2026, 6, 20, 13, 30, tzinfo=UTC)),
        ("date[2026-06-20 15:30:00]", {}, datetime(2026, 6, 20, 12, 30, tzinfo=UTC)),
        ("date[2026-06-20 15:30:00 Asia/Tokyo]", {}, datetime(2026, 6, 20, 6, 30, tzinfo=UTC)),
        (
            "date[2026-06-20 15:30:00 CDT]",
            {"next_run_time": "2026-06-20T15:30:00-05:00"},
            datetime(2026, 6, 20, 20, 30, tzinfo=UTC),
        ),
    ],
)
def test_a_single_time_is_recovered_with_its_offset(trigger: str, beside: dict, at: datetime) -> None:
    assert found({"trigger": trigger, **beside}).job.trigger.at == at


def cron_fields(**fields: list[dict]) -> dict:
    return {
        "type": "CronTrigger",
        "fields": [{"name": name, "is_default": False, "expressions": each} for name, each in fields.items()],
    }


ANY = [{"step": None}]
FULL = {
    "year": ANY, "month": ANY, "day": ANY, "week": ANY, "day_of_week": ANY,
    "hour": [{"step": None, "first": 2, "last": 2}],
    "minute": [{"step": None, "first": 0, "last": 0}],
    "second": [{"step": None, "first": 0, "last": 0}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, "0 2 * * *"),
        ({"minute": [{"step": 15}]}, "*/15 2 * * *"),
        ({"minute": [{"step": 10, "first": 5}]}, "5/10 2 * * *"),
        ({"minute": [{"step": 1, "first": 5, "last": 5}, {"step": None, "first": 30, "last": 30}]}, "5,30 2 * * *"),
        ({"hour": [{"step": 2, "first": 8, "last": 18}]}, "0 8-18/2 * * *"),
        ({"day_of_week": [{"step": None, "first": 0, "last": 4}]}, "0 2 * * mon-fri"),
        ({"day_of_week": [{"step": None, "first": "sat", "last": "sun"}]}, "0 2 * * sat,sun"),
    ],
)  # fmt: skip
def test_the_other_export_gives_back_its_cron_fields(changed: dict, wanted: str) -> None:
    job = found(
        {
            "name": "Cron Job: a",
            "trigger": cron_fields(**(FULL | changed)),
            "args": [{"job_id": "a", "chunk_size": 500}],
            "kwargs": {},
        }
    )
    assert job.job.trigger.expression == wanted
    assert job.job.config.set_values() == {"chunk_size": 500}
    assert job.warnings == ()


@pytest.mark.parametrize(("kind", "word"), [("IntervalTrigger", "add-interval"), ("DateTrigger", "add-once")])
def test_a_schedule_that_the_export_lost_is_refused_by_name(kind: str, word: str) -> None:
    answer = refused({"trigger": {"type": kind, "fields": {}}, "args": [{}], "kwargs": {}})
    assert "lost" in answer.reason
    assert kind in answer.reason
    assert f"pipesched {word} --help" in answer.hint


@pytest.mark.parametrize(
    ("trigger", "word"),
    [
        ({"type": "CronTrigger", "fields": {}}, "not in the file"),
        ({"type": "CronTrigger", "fields": [3]}, "cannot be read"),
        ({"type": "CronTrigger", "fields": [{"name": "hour", "expressions": []}]}, "cannot be read"),
        (cron_fields(hour=[{"first": {}, "last": 3}]), "hour"),
        (cron_fields(hour=[{"first": 1, "last": 1, "weekday": 3}]), "no counterpart"),
        (cron_fields(second=[{"step": 10}]), "second"),
        (cron_fields(second=["0/1"]), "second"),
        (cron_fields(day=["1st mon", "2nd xyz"]), "xyz"),
        ({"type": "AndTrigger"}, "not known"),
        ({}, "not known"),
    ],
)
def test_a_trigger_object_that_cannot_be_read_is_refused(trigger: dict, word: str) -> None:
    assert word in refused({"trigger": trigger}).reason


def test_arguments_that_are_no_config_are_named() -> None:
    job = found(
        {
            "trigger": cron_fields(**FULL),
            "args": [],
            "kwargs": {"pipeline_config": {"chunk_size": 500}, "x": 1},
        }
    )
    assert job.job.config.chunk_size == 500
    assert "'x'" in job.warnings[0]
    assert "args" in found({"trigger": cron_fields(**FULL), "args": [{}, 2]}).warnings[0]


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({}, "no type"),
        ({"type": "weekly"}, "not known"),
        ({"type": "cron"}, "no schedule"),
        ({"type": "cron", "hour": True}, "hour"),
        ({"type": "cron", "hour": 24}, "hour"),
        ({"type": "cron", "cron_expression": "0 0 30 2 *"}, "never fires"),
        ({"type": "cron", "cron_expression": 5}, "number"),
        ({"type": "interval"}, "no interval"),
        ({"type": "interval", "hours": -1}, "hours: -1"),
        ({"type": "interval", "hours": "soon"}, "no number"),
        ({"type": "interval", "hours": True}, "hours"),
        ({"type": "interval", "minutes": 0}, "over 0"),
        ({"type": "date"}, "run_date"),
        ({"type": "date", "run_date": "2025-01-01T00:00:00Z"}, "has passed"),
        ({"type": "date", "run_date": "soon"}, "not a time"),
        ({"type": "cron", "hour": 1, "timezone": "Europe/Rigga"}, "Rigga"),
        ({"type": "cron", "hour": 1, "timezone": 5}, "timezone"),
        ({"type": "cron", "hour": 1, "config": []}, "config is a list"),
        ({"type": "cron", "hour": 1, "config": {"chunk_size": 5}}, "chunk_size"),
        ({"type": "cron", "hour": 1, "config": {"embedding_model": "gpt"}}, "embedding_model"),
        ({"type": "cron", "hour": 1, "name": 5}, "name"),
        ({"type": "cron", "hour": 1, "enabled": "no"}, "enabled"),
        ({"type": "cron", "hour": 1, "job_id": "b"}, "id"),
        ({"type": "cron", "hour": 1, "id": "two words"}, "two words"),
    ],
)
def test_a_job_that_cannot_be_used_is_refused_with_the_file_s_own_keys(document: dict, word: str) -> None:
    answer = refused(document)
    assert word in answer.reason
    assert "--" not in answer.reason


def test_jobs_without_a_name_are_told_by_their_number() -> None:
    entries = read({"jobs": [{"type": "cron", "hour": 1}, 5, None]}).entries
    assert [entry.id for entry in entries] == ["number 1", "number 2", "number 3"]


def test_the_units_of_an_interval_add_up_and_may_be_left_out() -> None:
    assert found({"type": "interval", "hours": 1, "minutes": 30}).job.trigger.seconds == 5400
    assert found({"type": "interval", "minutes": 30}).job.trigger.seconds == 1800
    assert found({"type": "interval", "weeks": 1, "days": None}).job.trigger.seconds == 604_800
    assert found({"minutes": "30"}).job.trigger.seconds == 1800


def test_a_cron_expression_holds_over_the_fields_and_says_so() -> None:
    job = found({"type": "cron", "cron_expression": "0 5 * * *", "hour": 2})
    assert job.job.trigger.expression == "0 5 * * *"
    assert "hour" in job.warnings[0]


def test_a_job_that_is_off_comes_in_paused() -> None:
    job = found({"type": "cron", "hour": 1, "enabled": False}).job
    assert not job.enabled
    assert job.paused_at == NOW


def test_a_bare_list_of_jobs_is_read_too() -> None:
    (entry,) = read([{"id": "a", "type": "cron", "hour": 1}]).entries
    assert isinstance(entry, Found)


def test_a_next_run_in_another_zone_is_said() -> None:
    document = {"trigger": "cron[hour='2', minute='0']", "config": {}}
    (warning,) = found({**document, "next_run_time": "2026-03-03T02:00:00-05:00"}).warnings
    assert "--timezone" in warning
    assert found({**document, "next_run_time": "2026-03-03T02:00:00+02:00"}).warnings == ()
    assert found({**document, "next_run_time": None}).warnings == ()


def test_each_field_that_narrows_a_cron_job_is_read_or_refused_never_left_out() -> None:
    monthly = found({"type": "cron", "day": 1, "hour": 3, "minute": 0})
    assert monthly.job.trigger.expression == "0 3 1 * *"
    assert monthly.warnings == ()
    assert "second '30'" in refused({"type": "cron", "hour": 3, "second": 30}).reason
    assert "had to match there" in refused({"type": "cron", "day": 1, "day_of_week": 0, "hour": 3}).reason


def test_an_expression_with_two_kinds_of_day_is_taken_as_cron_s_and_said() -> None:
    entry = found({"type": "cron", "cron_expression": "0 1 1 * 1"})
    assert entry.job.trigger.expression == "0 1 1 * 1"
    (warning,) = entry.warnings
    assert "here it runs when either does" in warning
    assert found({"type": "cron", "cron_expression": "0 1 * * 1"}).warnings == ()


def test_a_truth_value_is_no_number_of_hours() -> None:
    assert refused({"type": "interval", "hours": True}).reason == "hours True is no number"
