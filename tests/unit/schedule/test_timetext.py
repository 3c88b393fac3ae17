# ruff: noqa: DTZ001  hypothesis wants naive bounds, and naive times are what people write
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.schedule.timetext import (
    format_duration,
    format_relative,
    parse_duration,
    parse_since,
    parse_time,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1d", 86_400),
        ("1w", 604_800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (" 1H30M ", 5400),
        ("1.5h", 5400),
        ("0.25s", 0.25),
        ("1w1d1h1m1s", 694_861),
    ],
)
def test_a_duration_is_numbers_with_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "90",
            "h",
            "1x",
            "1h30",
            "-5m",
            "+5m",
            "1m1h",
            "1h1h",
            "1 hour",
            "nan",
            "inf",
            "1e3s",
            "٣s",
            "1_0s",
        ),
        *("36526d", "9" * 40 + "s", "0.0000001s", "0s", "0h0m", "0"),
    ],
)
def test_what_is_no_duration_is_refused_with_a_hint(text):
    with pytest.raises(InvalidValue) as caught:
        parse_duration(text)
    assert caught.value.hint


def test_a_duration_without_a_unit_is_not_guessed():
    with pytest.raises(InvalidValue, match="no unit") as caught:
        parse_duration("90")
    assert caught.value.hint == "seconds are 90s, minutes 90m"


@pytest.mark.parametrize("text", ["0", "0s", "0h0m"])
def test_nothing_is_a_duration_where_it_is_allowed(text):
    assert parse_duration(text, allow_zero=True) == 0


@given(st.integers(1, 36_525 * 86_400 * 1000).map(lambda millis: millis / 1000))
def test_a_duration_survives_being_written(seconds):
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5400, "1h30m"),
        (86_400, "1d"),
        (864_000, "10d"),
        (1_209_600, "2w"),
        (0.5, "0.5s"),
        (0, "0s"),
        (-90, "-1m30s"),
    ],
)
def test_a_duration_is_written_short(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-24", "2026-12-23T23:00Z"),
        ("2026-12-24 18:00", "2026-12-24T17:00Z"),
        ("2026-07-24T18:00:30", "2026-07-24T16:00:30Z"),
        ("2026-12-24T18:00:00+05:30", "2026-12-24T12:30Z"),
        ("2026-12-24t18:00:00.25z", "2026-12-24T18:00:00.250000Z"),
        ("2026-12-24 18:00-03:00", "2026-12-24T21:00Z"),
        (" 2026-12-24\n", "2026-12-23T23:00Z"),
        ("+90m", "2026-03-01T13:30Z"),
        ("+1d", "2026-03-02T12:00Z"),
        ("2026-10-25 02:30", "2026-10-25T00:30Z"),  # twice: the first
    ],
)
def test_a_time_is_an_instant_in_utc(text, expected):
    found = parse_time(text, zone=BERLIN, now=NOW)
    assert found == datetime.fromisoformat(expected)
    assert found.tzinfo is UTC


def test_a_time_inside_a_gap_is_refused_with_what_it_would_be():
    with pytest.raises(InvalidValue, match="does not exist in Europe/Berlin") as caught:
        parse_time("2026-03-29 02:30", zone=BERLIN, now=NOW)
    assert "2026-03-29 03:30" in caught.value.hint


def test_the_skipped_day_of_apia_does_not_exist():
    with pytest.raises(InvalidValue, match="does not exist"):
        parse_time("2011-12-30 12:00", zone=ZoneInfo("Pacific/Apia"), now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "tomorrow",
            "18:00",
            "24.12.2026",
            "2026-13-01",
            "2026-02-30",
            "2026-01-01 24:00",
            "2026-01-01 1:00",
        ),
        *(
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T00:00:00+0100",
            "20260101",
            "2026-W01-1",
            "0000-01-01",
            "-1h",
            "1h",
        ),
        *("+", "+0s", "+99999d", "0001-01-01", "9999-12-31T23:59:59-01:00", "２０２６-01-01"),
    ],
)
def test_what_is_no_time_is_refused_with_a_hint(text):
    with pytest.raises(InvalidValue) as caught:
        parse_time(text, zone=BERLIN, now=NOW)
    assert caught.value.hint


def test_since_also_takes_a_duration_back():
    assert parse_since("2h", zone=UTC, now=NOW) == NOW - timedelta(hours=2)
    assert parse_since("2H", zone=UTC, now=NOW) == NOW - timedelta(hours=2)
    assert parse_since("2026-01-01", zone=UTC, now=NOW) == datetime(2026, 1, 1, tzinfo=UTC)
    for text in ("2", "x", "2hh"):
        with pytest.raises(InvalidValue):
            parse_since(text, zone=UTC, now=NOW)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York"]),
)
def test_an_instant_survives_being_written_in_any_zone(naive, name):
    instant = naive.replace(tzinfo=UTC)
    assert parse_time(instant.astimezone(ZoneInfo(name)).isoformat(), zone=UTC, now=NOW) == instant


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda wall: wall.replace(microsecond=0)))
def test_a_wall_time_is_read_as_the_first_instant_that_shows_it_or_refused(wall):
    passes = {
        candidate
        for fold in (0, 1)
        if (candidate := wall.replace(tzinfo=BERLIN, fold=fold).astimezone(UTC))
        .astimezone(BERLIN)
        .replace(tzinfo=None)
        == wall
    }
    if passes:
        assert parse_time(wall.isoformat(sep=" "), zone=BERLIN, now=NOW) == min(passes)
    else:
        with pytest.raises(InvalidValue):
            parse_time(wall.isoformat(sep=" "), zone=BERLIN, now=NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *(
            (0, "now"),
            (1, "in 1 s"),
            (59, "in 59 s"),
            (60, "in 1 min"),
            (3 * 3600, "in 3 h"),
            (36 * 3600, "in 36 h"),
        ),
        *((48 * 3600, "in 2 d"), (-90, "2 min ago"), (-5, "5 s ago"), (3600, "in 1 h")),
    ],
)
def test_a_distance_is_said_in_one_unit(seconds, text):
    assert format_relative(NOW + timedelta(seconds=seconds), NOW) == text
