from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.schedule.zones import _STEP, ZoneTable, load_zone, zone_table
from support.debian_cron import transitions

ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "UTC",
    "Asia/Gaza",
]


@pytest.mark.parametrize(
    "name", ["UTC", "Etc/UTC", "GMT", "Europe/Berlin", "America/Argentina/Ushuaia", "EST5EDT"]
)
def test_an_iana_name_is_a_zone(name):
    assert load_zone(name) == ZoneInfo(name)


@pytest.mark.parametrize(
    "name", ["UTC+2", "UTC+02:00", "GMT-5", "EST5", "EST", "Etc/GMT+5", "+02:00", "CET-1", "utc+2"]
)
def test_a_fixed_offset_is_refused_because_it_never_shifts(name):
    with pytest.raises(InvalidValue):
        load_zone(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("America/NewYork", "America/New_York"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_name(name, near):
    with pytest.raises(InvalidValue) as caught:
        load_zone(name)
    assert near in caught.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../../etc/passwd",
        "Europe",
        "Europe/",
        "a\0b",
        "x" * 10_000,
        "Europe/Berlin\n",
        "localtime",
        "posix/UTC",
    ],
)
def test_what_is_no_name_is_refused_and_opens_no_file(name):
    with pytest.raises(InvalidValue):
        load_zone(name)


@given(st.sampled_from(ZONES), st.integers(-2_000_000_000, 7_000_000_000))
def test_the_table_knows_every_offset(name, at):
    segment = zone_table(name).segment(at)
    zone = ZoneInfo(name)

    def offset(time):
        return int(datetime.fromtimestamp(time, zone).utcoffset().total_seconds())

    assert segment.start <= at < segment.end
    assert segment.offset == offset(at) == offset(segment.start) == offset(segment.end - 1)
    assert segment.before == offset(segment.start - 1)


def test_the_table_finds_every_change_to_the_second():
    for name in ZONES:
        found = set()
        table = ZoneTable(ZoneInfo(name))
        begin = at = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
        end = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
        while at < end:
            segment = table.segment(at)
            if segment.before != segment.offset and segment.start >= begin:
                found.add(datetime.fromtimestamp(segment.start, UTC))
            at = segment.end
        assert found == {*transitions(name, 2025), *transitions(name, 2026)}


@pytest.mark.slow
def test_no_zone_changes_twice_within_the_probing_step():
    places = [name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "US/"))]
    # Gaza's rules, the quickest of all, are in these years.
    begin, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2000, 2042))
    for name in places:
        zone, last = ZoneInfo(name), 0
        offset = datetime.fromtimestamp(begin, zone).utcoffset()
        for at in range(begin, end, _STEP // 2):
            now = datetime.fromtimestamp(at, zone).utcoffset()
            if now != offset:
                assert at - last > _STEP, (name, at)
                offset, last = now, at


def test_a_time_outside_the_calendar_is_said():
    with pytest.raises(OverflowError):
        zone_table("UTC").segment(10**12)
