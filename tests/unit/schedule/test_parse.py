"""Intervals, single instants, and expressions from parts."""
# ruff: noqa: DTZ001  hypothesis wants naive bounds

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.schedule.model import Occurrence
from pipesched.schedule.parse import cron, cron_from_parts, interval, once

ANCHOR = datetime(2026, 1, 1, 0, 7, tzinfo=UTC)
times = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))


@given(times, st.floats(1, 10**7).map(lambda seconds: round(seconds, 3)), times)
def test_an_interval_fires_on_its_grid_of_elapsed_time(anchor, seconds, at):
    schedule = interval(seconds, anchor)
    step = timedelta(seconds=seconds)
    found = schedule.next(at)
    assert at < found.at <= at + step
    assert (found.at - anchor) % step == timedelta(0)
    assert schedule.next(found.at).at - found.at == step == schedule.period(at)
    assert schedule.latest(at, found.at) == found
    assert schedule.latest(at, found.at - timedelta(microseconds=1)) is None
    end = at + 5 * step + timedelta(seconds=0.1)
    assert schedule.count(at, end) == len(list(schedule.between(at, end)))
    assert schedule.count(end, at) == 0


def test_an_interval_pays_no_heed_to_the_clocks():
    schedule = interval(3600, datetime(2026, 3, 28, 0, 30, tzinfo=ZoneInfo("Europe/Berlin")))
    found = list(
        schedule.between(datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 3, tzinfo=UTC))
    )
    assert [each.at.hour for each in found] == [23, 0, 1, 2]


@pytest.mark.parametrize("seconds", [0, -1, 0.5, float("nan"), float("inf"), 1e12])
def test_an_interval_that_cannot_be_is_refused(seconds):
    with pytest.raises(InvalidValue):
        interval(seconds, ANCHOR)


def test_an_interval_ends_where_the_calendar_does():
    assert interval(86_400 * 36_525, ANCHOR).next(datetime(9990, 1, 1, tzinfo=UTC)) is None


def test_once_is_due_once():
    schedule = once(datetime(2027, 1, 1, 9, tzinfo=ZoneInfo("Europe/Berlin")))
    due = datetime(2027, 1, 1, 8, tzinfo=UTC)
    before = due - timedelta(microseconds=1)
    assert schedule.text == "once at 2027-01-01T09:00:00+01:00"
    assert schedule.next(before) == Occurrence(due) == schedule.latest(before, due)
    assert schedule.next(due) is None
    assert list(schedule.between(before, due)) == [Occurrence(due)]
    assert schedule.count(before, due) == 1
    assert schedule.count(due, due + timedelta(days=1)) == 0
    assert schedule.period(due) == timedelta(days=1)


@pytest.mark.parametrize(
    ("hour", "minute", "weekday", "expression"),
    [
        ("2", None, None, "0 2 * * *"),
        (None, "30", None, "30 * * * *"),
        ("2", "30", None, "30 2 * * *"),
        ("9-17", "*/15", "mon-fri", "*/15 9-17 * * mon-fri"),
        (None, None, "sun", "0 0 * * sun"),
        ("3", None, "7", "0 3 * * 7"),
        (None, "5", "0", "5 * * * 0"),
    ],
)
def test_parts_make_an_expression(hour, minute, weekday, expression):
    assert cron_from_parts(hour, minute, weekday) == expression


@pytest.mark.parametrize(
    ("hour", "minute", "weekday"),
    [
        (None, None, None),
        ("24", None, None),
        ("2 3", None, None),
        ("", None, None),
        (None, "60", None),
        (None, None, "x"),
    ],
)
def test_parts_that_cannot_be_are_refused(hour, minute, weekday):
    with pytest.raises(InvalidValue) as caught:
        cron_from_parts(hour, minute, weekday)
    assert caught.value.hint


def test_a_schedule_keeps_what_was_written():
    assert cron("  */15  9-17 * *\tMON-FRI", zone="UTC", job_id="job").text == "*/15 9-17 * * MON-FRI"


def test_an_unknown_zone_is_refused():
    with pytest.raises(InvalidValue, match="no time zone"):
        cron("0 2 * * *", zone="Europe/Berln", job_id="job")
