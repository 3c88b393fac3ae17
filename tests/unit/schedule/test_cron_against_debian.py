"""Our cron schedules against Debian cron's own loop, in zones with every kind of change."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.schedule.parse import cron
from support.debian_cron import transitions, walk
from unit.schedule.expressions import early, expressions

CASES = json.loads((Path(__file__).parent / "data" / "cron_dst.json").read_text())["cases"]

PLACES = {
    "America/New_York": (2026,),
    "Europe/Berlin": (2026,),
    "Europe/Riga": (2026,),
    "Europe/Dublin": (2026,),  # winter is the daylight saving time
    "Australia/Sydney": (2026,),
    "Australia/Lord_Howe": (2026, 2027),  # half an hour
    "Asia/Beirut": (2026, 2027),  # at midnight
    "America/Asuncion": (2023, 2024),
    "America/Havana": (2026,),
    "America/Santiago": (2026,),
    "Asia/Gaza": (2026,),
    "Africa/Casablanca": (2026,),  # Ramadan
    "Africa/Cairo": (2026,),
    "Asia/Tehran": (2022,),
    "America/St_Johns": (1988, 2006),  # two hours; at 00:01
    "America/Goose_Bay": (2010,),
    "Pacific/Chatham": (2026,),
    "Pacific/Apia": (2011,),  # a day that was not
    "Pacific/Kwajalein": (1993,),
    "Antarctica/Casey": (2018, 2019, 2020, 2022, 2023),  # three hours both ways
    "Antarctica/Troll": (2026,),  # two hours
    "Antarctica/Vostok": (1994, 2023),  # seven hours back
    "Antarctica/Davis": (2009, 2010),
    "Asia/Kathmandu": (1985,),  # a quarter of an hour
    "Asia/Pyongyang": (2015, 2018),
    "America/Caracas": (2007, 2016),
    "America/Danmarkshavn": (1996,),
}
CHANGES = [(zone, at) for zone, years in PLACES.items() for year in years for at in transitions(zone, year)]


def test_the_changes_are_many_and_of_every_kind():
    sizes = {
        (
            at.astimezone(ZoneInfo(zone)).utcoffset()
            - (at - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).utcoffset()
        )
        / timedelta(minutes=1)
        for zone, at in CHANGES
    }
    assert len(CHANGES) >= 45
    assert {-420, -180, -120, -60, -30, 15, 30, 60, 120, 180, 1440} <= sizes


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['expr']} {case['zone']}")
def test_the_published_cases_have_their_answers(case):
    schedule = cron(case["expr"], zone=case["zone"], job_id="job")
    at = datetime.fromisoformat(case["after"])
    found = []
    for _ in case["expected"]:
        occurrence = schedule.next(at)
        found.append((occurrence.at, occurrence.collapsed))
        at = occurrence.at
    collapsed = case.get("collapsed", [1] * len(found))
    expected = [datetime.fromisoformat(text) for text in case["expected"]]
    assert found == list(zip(expected, collapsed, strict=True))


@given(change=st.sampled_from(CHANGES), expression=st.one_of(early, early, expressions), data=st.data())
@settings(max_examples=300)
def test_every_fire_around_a_change_is_one_of_debians(change, expression, data):
    zone, at = change
    try:
        schedule = cron(expression, zone=zone, job_id="job")
    except InvalidValue as error:
        assume("never fires" not in error.message and "is only" not in error.message)
        raise
    start = at - timedelta(minutes=data.draw(st.integers(25 * 60, 40 * 60)))
    end = at + timedelta(minutes=data.draw(st.integers(5 * 60, 32 * 60)))

    expected = walk(expression, zone, start, end)

    found = [(occurrence.at, occurrence.collapsed) for occurrence in schedule.between(start, end)]
    assert found == expected
    assert schedule.count(start, end) == len(expected)

    # Any two points in between see the same list, whether they count, look forward or look back.
    span = int((end - start).total_seconds())
    low, high = sorted(data.draw(st.lists(st.integers(0, span), min_size=2, max_size=2)))
    low, high = start + timedelta(seconds=low), start + timedelta(seconds=high)
    inside = [fire for fire in expected if low < fire[0] <= high]
    assert schedule.count(low, high) == len(inside)
    latest = schedule.latest(low, high)
    assert (latest and (latest.at, latest.collapsed)) == (inside[-1] if inside else None)
    following = schedule.next(low)
    later = [fire for fire in expected if fire[0] > low]
    if later:
        assert (following.at, following.collapsed) == later[0]
    else:
        assert following is None or following.at > end


@given(
    expression=st.one_of(early, expressions),
    zone=st.sampled_from(sorted(PLACES)),
    days=st.integers(0, 20_000),
)
def test_looking_back_finds_what_looking_forward_found(expression, zone, days):
    try:
        schedule = cron(expression, zone=zone, job_id="job")
    except InvalidValue:
        assume(False)
    start = datetime(1975, 1, 1, tzinfo=UTC) + timedelta(days=days)
    found = schedule.next(start)
    assert found.at > start
    assert schedule.latest(start, found.at) == found
    assert schedule.count(start, found.at) == 1
    assert schedule.latest(start, found.at - timedelta(seconds=1)) is None
    assert schedule.count(start, found.at - timedelta(seconds=1)) == 0
    following = schedule.next(found.at)
    assert schedule.period(found.at) == following.at - found.at
    assert schedule.period(following.at - timedelta(seconds=1)) == following.at - found.at


@pytest.mark.parametrize(
    ("expression", "zone", "after", "note"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            "02:30 does not exist, the clocks go forward to 03:00",
        ),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            "stands for 2 hits, as 02:00 to 03:00 does not exist",
        ),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "02:30 comes twice, this is the first time"),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T00:45Z", "02:30 comes twice, this is the second time"),
        ("30 2 * * *", "Europe/Berlin", "2026-06-01T12:00Z", ""),
        ("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ""),
        ("0 3 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ""),
    ],
)
def test_what_a_change_does_to_a_fire_is_said(expression, zone, after, note):
    schedule = cron(expression, zone=zone, job_id="job")
    assert schedule.next(datetime.fromisoformat(after)).note == note


def test_a_run_at_the_end_of_the_gap_counts_the_hit_that_falls_there_anyway():
    schedule = cron("0 2,3 * * *", zone="Europe/Berlin", job_id="job")
    found = schedule.next(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert (found.at, found.collapsed) == (datetime(2026, 3, 29, 1, tzinfo=UTC), 2)


def test_the_calendars_end_is_an_end_and_no_error():
    schedule = cron("0 0 * * *", zone="Europe/Berlin", job_id="job")
    assert schedule.next(datetime(9999, 12, 31, tzinfo=UTC)) is None
    assert schedule.latest(datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 2, tzinfo=UTC)) is None
    assert schedule.count(datetime(9999, 12, 30, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)) == 0
    monthly = cron("0 0 1 * *", zone="UTC", job_id="job")
    assert monthly.next(datetime(9999, 12, 10, tzinfo=UTC)) is None
    assert monthly.period(datetime(9999, 12, 10, tzinfo=UTC)) == timedelta(days=1)
