"""From a command's options to a job."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.jobs.build import (
    Edit,
    build_job,
    build_policy,
    edited,
    paused_job,
    resumed_job,
    unset_names,
)
from pipesched.jobs.model import CronTrigger, IntervalTrigger, JobPolicy, OnceTrigger
from pipesched.jobs.triggers import TriggerOptions, build_trigger
from pipesched.options import PipelineConfig
from pipesched.schedule.model import PendingRetry, Progress
from pipesched.schedule.outlook import upcoming
from pipesched.schedule.tick import plan_job
from pipesched.schedule.unrecorded import unrecorded_slots

NOTHING = PipelineConfig()


def trigger(now: datetime, zone: str = "Europe/Riga", **options):
    return build_trigger(TriggerOptions(**options), job_id="a", zone=zone, now=now)


def new(now: datetime, *, zone: str = "UTC", given=None, **options):
    built = build_trigger(TriggerOptions(**options), job_id="a", zone=zone, now=now)
    return build_job("a", built, given or {}, NOTHING, zone=zone, now=now)


@pytest.mark.parametrize(
    ("options", "expression"),
    [
        ({"hour": "2"}, "0 2 * * *"),
        ({"minute": "30"}, "30 * * * *"),
        ({"hour": "2", "minute": "30", "day_of_week": "mon-fri"}, "30 2 * * mon-fri"),
        ({"hour": "1", "day_of_week": "7"}, "0 1 * * 7"),
        ({"day_of_week": "sun"}, "0 0 * * sun"),
        ({"expression": "  0   2 * *  1-5 "}, "0 2 * * 1-5"),
        ({"expression": "@daily"}, "@daily"),
    ],
)
def test_a_cron_trigger_is_an_expression_or_its_parts(now, options: dict, expression: str) -> None:
    assert trigger(now, **options) == CronTrigger(expression=expression)


@pytest.mark.parametrize("day", ["0", "7", "sun", "Sun"])
def test_zero_and_seven_and_the_name_are_sunday(now, day: str) -> None:
    job = new(now, hour="1", day_of_week=day)
    assert job.schedule().next(now).at == datetime(2026, 3, 8, 1, tzinfo=UTC)


@given(
    days=st.none() | st.integers(0, 30),
    hours=st.none() | st.integers(0, 100),
    minutes=st.none() | st.integers(0, 100),
    seconds=st.none() | st.integers(0, 100),
)
def test_an_interval_is_the_sum_of_its_parts(days, hours, minutes, seconds) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    parts = {"days": days, "hours": hours, "minutes": minutes, "seconds": seconds}
    given = {unit: value for unit, value in parts.items() if value is not None}
    total = timedelta(**given).total_seconds()
    if total == 0:
        with pytest.raises(InvalidValue):
            trigger(now, **parts)
    else:
        built = trigger(now, **parts)
        assert isinstance(built, IntervalTrigger)
        assert built.seconds == total


def test_an_intervals_grid_starts_now_or_goes_through_its_anchor(now) -> None:
    assert new(now, every="90m").schedule().next(now).at == now + timedelta(minutes=90)
    anchored = new(now, zone="Europe/Riga", every="1h", anchor="2026-01-01 00:10")
    assert anchored.schedule().next(now).at == datetime(2026, 3, 2, 12, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hours": -1},
        {"hours": 2, "minutes": -1},
        {"hours": float("nan")},
        {"days": float("inf")},
        {"seconds": 0.5},
        {"days": 1e9},
        {"every": "0s"},
        {"every": "soon"},
        {"every": "1h", "hours": 1},
        {"anchor": "2026-01-01"},
        {"every": "1h", "anchor": "2026-03-29 03:30"},
        {"expression": "61 * * * *"},
        {"expression": "0 0 30 2 *"},
        {"expression": "* * * * * *"},
        {"expression": "1," * 60_000},
        {"expression": "0 2 * * *", "hour": "3"},
        {"hour": "2 3"},
        {"hour": ""},
        {"expression": "0 2 * * *", "every": "1h"},
        {"at": "2027-01-01", "hour": "1"},
        {"at": "yesterday"},
        {"at": "2026-03-02 13:59"},
        {"at": "2026-03-02 14:00"},
        {"at": "2027-01-01", "if_past": "maybe"},
        {"if_past": "run"},
        {"at": "2027-03-28 03:30"},
    ],
)
def test_what_is_no_schedule_is_refused_with_a_hint(now, options: dict) -> None:
    with pytest.raises(InvalidValue) as caught:
        trigger(now, **options)
    assert caught.value.hint
    assert len(caught.value.message) < 400


def test_a_time_is_read_in_the_jobs_zone_and_keeps_its_offset(now) -> None:
    assert trigger(now, at="2026-07-01 09:00").at.isoformat() == "2026-07-01T09:00:00+03:00"
    assert trigger(now, at="2026-10-25 03:30").at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert trigger(now, at="+90m").at == now + timedelta(minutes=90)


def test_a_past_time_that_is_to_run_fires_at_once(now) -> None:
    job = new(now, at="2020-01-01", if_past="run")
    (fire,) = plan_job(job.timed(), Progress(), now).decisions
    assert fire.scheduled_for == datetime(2020, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidValue, match="contradict"):
        new(now, at="2020-01-01", if_past="run", given={"catch_up": "none"})


def test_options_become_a_policy_with_lists_once_each(now) -> None:
    policy = build_policy(
        {
            "grace": "2h",
            "retries": 3,
            "retry_delay": "0s",
            "after": ["x", "y", "x"],
            "notify": ["env:HOOK", "mailto://u:p@example.com"],
            "start": "2026-04-01",
            "overlap": "queue",
        },
        zone=UTC,
        now=now,
    )
    assert policy.grace == 7200
    assert policy.retry_delay == 0
    assert policy.after == ("x", "y")
    assert policy.start == datetime(2026, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"grace": "0s"}, "--grace"),
        ({"grace": "-5m"}, "--grace"),
        ({"timeout": "x"}, "--timeout"),
        ({"catch_up": "some"}, "--catch-up"),
        ({"retries": -1}, "--retries"),
        ({"max_runs": 0}, "--max-runs"),
        ({"pause_after_failures": 0}, "--pause-after-failures"),
        ({"start": "2026-03-29 03:30"}, "--start"),
        ({"start": "2027-01-01", "end": "2026-01-01"}, "after start"),
        ({"after": ["../x"]}, "--after"),
        ({"notify": ["hunter2"]}, "--notify"),
        ({"notify": ["env:1X"]}, "--notify"),
        ({"ping": "hunter2"}, "--ping"),
        ({"tag": ["a,b"]}, "--tag:"),
        ({"description": "a\x1b[31m"}, "--description"),
        ({"end": "2026-03-02 12:30"}, "would never run"),
        ({"jitter": "25h"}, "--jitter"),
    ],
)
def test_what_cannot_be_a_policy_is_named_by_its_flag_and_secrets_are_not_repeated(
    now, given: dict, said: str
) -> None:
    zone = "Europe/Riga" if "start" in given else "UTC"
    with pytest.raises(InvalidValue) as caught:
        new(now, zone=zone, expression="0 2 * * *", given=given)
    assert said in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_jitter_may_fill_the_period_of_a_schedule_with_several(now) -> None:
    assert new(now, expression="0 9 * * mon-fri", given={"jitter": "24h"}).policy.jitter == 86_400
    with pytest.raises(InvalidValue, match="1h"):
        new(now, expression="0 9,10 * * *", given={"jitter": "61m"})


def edit(job, now, *, unset=(), default_zone="UTC", config=NOTHING, given=None, **options):
    change = Edit(given=given or {}, config=config, trigger=TriggerOptions(**options), unset=unset)
    return edited(job, change, default_zone=default_zone, now=now)


def test_an_edit_of_the_schedule_counts_from_now_and_another_does_not(job, now) -> None:
    later = now + timedelta(days=2)
    old = job("a", policy=JobPolicy(retries=2), tags=("x",))
    new_hour = edit(old, later, hour="5")
    assert new_hour.trigger == CronTrigger(expression="0 5 * * *")
    assert (new_hour.since, new_hour.policy, new_hour.tags) == (later, old.policy, old.tags)
    assert edit(old, later, given={"timezone": "Europe/Riga"}).since == later
    assert edit(old, later, expression="0 2 * * *").since == now
    assert edit(old, later, given={"description": "d", "retries": 3}).since == now


def test_an_edit_may_change_the_type(job, now) -> None:
    later = now + timedelta(days=2)
    interval = edit(job("a"), later, every="2h")
    assert interval.trigger == IntervalTrigger(seconds=7200, anchor=later)
    once = edit(interval, later, at="2026-04-01 10:00", given={"timezone": "Europe/Riga"})
    assert once.trigger == OnceTrigger(at=datetime(2026, 4, 1, 7, tzinfo=UTC))
    assert edit(once, later, expression="@daily").kind == "cron"


def test_an_edited_interval_keeps_its_grid_unless_told_otherwise(job, now) -> None:
    later = now + timedelta(hours=5)
    old = job("a", trigger=IntervalTrigger(seconds=3600, anchor=now))
    assert edit(old, later, every="30m").trigger == IntervalTrigger(seconds=1800, anchor=now)
    moved = edit(old, later, anchor="2026-03-02 12:05").trigger
    assert moved == IntervalTrigger(seconds=3600, anchor=now + timedelta(minutes=5))


def test_lists_replace_and_unset_takes_away(job, now) -> None:
    old = job(
        "a",
        tags=("x", "y"),
        description="d",
        policy=JobPolicy(timeout=60, notify=("env:A",), after=("b",), retries=3),
        config=PipelineConfig(data_dir="x", chunk_size=500),
    )
    assert edit(old, now, given={"tag": ["z"]}).tags == ("z",)
    assert edit(old, now, given={"notify": ["env:B", "env:C"]}).policy.notify == ("env:B", "env:C")
    less = edit(old, now, unset=["timeout", "notify", "after", "tag", "description", "data_dir"])
    assert less.policy.model_dump(exclude_unset=True) == {"retries": 3}
    assert (less.tags, less.description) == ((), "")
    assert less.config.set_values() == {"chunk_size": 500}
    assert edit(
        job("a", timezone="Europe/Riga"), now, unset=["timezone"], default_zone="Asia/Tokyo"
    ).timezone == ("Asia/Tokyo")


def test_an_edit_is_checked_as_a_whole(job, now) -> None:
    old = job("a", config=PipelineConfig(chunk_size=500, chunk_overlap=100))
    with pytest.raises(InvalidValue, match="below"):
        edit(old, now, config=PipelineConfig(chunk_size=90))
    with pytest.raises(InvalidValue, match="would never run"):
        edit(old, now, given={"end": "2026-03-02 12:01"})
    with pytest.raises(InvalidValue, match="start"):
        edit(job("a", policy=JobPolicy(end="2026-06-01T00:00:00Z")), now, given={"start": "2027-01-01"})


def test_a_done_job_can_still_be_described(job, now) -> None:
    done = job("a", trigger=OnceTrigger(at=now - timedelta(days=2)))
    assert edit(done, now, given={"description": "was good"}).description == "was good"


def test_what_a_list_says_twice_is_kept_once(job, now) -> None:
    made = new(now, expression="@daily", given={"tag": ["t", "t"], "after": ["b", "c", "b"]})
    assert (made.tags, made.policy.after) == (("t",), ("b", "c"))


def test_unset_takes_any_spelling_and_names_the_nearest() -> None:
    assert unset_names(["--data-dir", "retry_delay", "tags"], given=()) == ["data_dir", "retry_delay", "tag"]
    with pytest.raises(InvalidValue) as caught:
        unset_names(["timout"], given=())
    assert "timeout" in caught.value.hint
    with pytest.raises(InvalidValue, match="at once"):
        unset_names(["timeout"], given=["timeout"])
    with pytest.raises(InvalidValue) as caught:
        unset_names(["paused"], given=())
    assert "resume" in caught.value.hint


def test_pause_and_resume_are_about_now_and_repeat_without_harm(job, now) -> None:
    later, latest = now + timedelta(hours=20), now + timedelta(hours=50)
    paused = paused_job(job("a"), later)
    assert (paused.enabled, paused.paused_at) == (False, later)
    assert paused_job(paused, latest) == paused
    assert next(upcoming(paused.timed(), Progress(), later), None) is None
    resumed = resumed_job(paused, latest)
    assert (resumed.enabled, resumed.paused_at, resumed.since) == (True, None, latest)
    assert resumed_job(job("a"), latest).since == now
    assert edit(job("a"), later, given={"paused": True}) == paused
    assert edit(paused, latest, given={"paused": False}) == resumed
    assert edit(paused, latest, hour="3").enabled is False


def test_a_job_is_added_paused(now) -> None:
    job = new(now, every="1h", given={"paused": True})
    assert (job.enabled, job.paused_at) == (False, now)


def test_slots_of_a_pause_are_skipped_and_those_before_it_missed(job, now) -> None:
    paused = paused_job(job("a", trigger=IntervalTrigger(seconds=3600, anchor=now)), now + timedelta(hours=3))
    missed, skipped = unrecorded_slots(paused.timed(), Progress(), now + timedelta(hours=10))
    assert (missed.status, missed.count, missed.first) == ("missed", 3, now + timedelta(hours=1))
    assert (skipped.status, skipped.reason, skipped.count) == ("skipped", "paused", 7)
    assert skipped.last == now + timedelta(hours=10)
    handled = Progress(handled=now + timedelta(hours=9))
    (rest,) = unrecorded_slots(paused.timed(), handled, now + timedelta(hours=10))
    assert rest.count == 1


def test_slots_that_an_edit_leaves_behind_are_missed(job, now) -> None:
    (missed,) = unrecorded_slots(job("a").timed(), Progress(), now + timedelta(days=10))
    assert (missed.status, missed.count) == ("missed", 10)
    assert missed.reason == "not run before its schedule was changed"
    assert unrecorded_slots(job("a").timed(), Progress(), now) == []


def test_what_is_due_at_the_daemons_start_waits_for_no_other_job(job, now) -> None:
    trigger = CronTrigger(expression=" @Reboot ")
    with pytest.raises(InvalidValue, match="cannot wait for another job"):
        build_job("a", trigger, {"after": ["b"]}, PipelineConfig(), zone="UTC", now=now)
    waits = build_job(
        "a", CronTrigger(expression="@daily"), {"after": ["b"]}, PipelineConfig(), zone="UTC", now=now
    )
    at_start = Edit(given={}, config=PipelineConfig(), trigger=TriggerOptions(expression="@reboot"))
    with pytest.raises(InvalidValue, match="cannot wait for another job"):
        edited(waits, at_start, default_zone="UTC", now=now)


def test_a_retry_that_a_removal_leaves_behind_is_recorded_as_such(job, now) -> None:
    progress = Progress(handled=now, retry=PendingRetry(now, 2, now + timedelta(hours=1)))
    (left,) = unrecorded_slots(job("a").timed(), progress, now + timedelta(minutes=1), why="gone")
    assert (left.status, left.first, left.reason) == ("skipped", now, "gone")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"not_during": ["08:00-10:00"]}, "only inside --not-during"),
        ({"start": "2027-01-01"}, "between --start"),
    ],
)
def test_a_past_time_that_is_to_run_and_never_would_is_refused(now, given, reason) -> None:
    at = (now - timedelta(days=1)).replace(hour=9, minute=0)
    with pytest.raises(InvalidValue, match=reason):
        new(now, at=at.isoformat(), if_past="run", given=given)
    new(now, at=at.isoformat(), if_past="run", given={"not_during": ["10:00-12:00"]})
