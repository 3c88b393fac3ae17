"""Windows and dates in which nothing is due, against a model that walks minute by minute."""

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.schedule.blackout import Blackout, Dates, blackout, parse_dates, parse_window
from pipesched.schedule.model import Fire, PendingRetry, Policy, Progress, Skip, TimedJob
from pipesched.schedule.open_slots import OpenSchedule
from pipesched.schedule.outlook import upcoming
from pipesched.schedule.parse import cron, interval, once
from pipesched.schedule.tick import plan_job, plan_start

MINUTE = timedelta(minutes=1)
DAY_NAMES = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

# Where the clocks change in what way, a day before.
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 10, 31, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 3, 12, tzinfo=UTC)),  # half an hour
    ("America/Sao_Paulo", datetime(2017, 10, 14, tzinfo=UTC)),  # a gap at midnight
    ("America/Sao_Paulo", datetime(2018, 2, 17, tzinfo=UTC)),  # midnight comes twice
    ("Pacific/Apia", datetime(2011, 12, 29, tzinfo=UTC)),  # a day that is not there
    ("Antarctica/Troll", datetime(2026, 10, 24, tzinfo=UTC)),  # two hours
    ("UTC", datetime(2026, 6, 1, tzinfo=UTC)),
]

places = st.sampled_from(CHANGES)
clocks = st.one_of(
    st.sampled_from([0, 60, 90, 120, 135, 150, 180, 1380, 1410, 1439]), st.integers(0, 1439)
).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
days = st.lists(st.sampled_from(DAY_NAMES), max_size=3, unique=True).map(",".join)


@st.composite
def windows(draw):
    start = draw(clocks)
    end = draw(clocks.filter(lambda other: other != start) | st.just("24:00"))
    text = f"{draw(days)} {start}-{end}".strip()
    return "Mon 00:00-24:00" if text == "00:00-24:00" else text


@st.composite
def blackouts(draw, around):
    """A blackout in a zone near one of its changes."""
    zone, begin = around
    dates = []
    for _ in range(draw(st.integers(0, 2))):
        first = begin.date() + timedelta(days=draw(st.integers(-8, 12)))
        dates.append(f"{first}..{first + timedelta(days=draw(st.integers(0, 9)))}")
    texts = draw(st.lists(windows(), min_size=0 if dates else 1, max_size=3))
    found = blackout(tuple(texts), tuple(dates), zone)
    assert found is not None
    return found


def closed(found: Blackout, at: datetime) -> bool:
    """The model: a look at a clock on the wall."""
    wall = at.astimezone(ZoneInfo(found.zone))
    if any(dates.first <= wall.date() <= dates.last for dates in found.dates):
        return True
    second = wall.hour * 3600 + wall.minute * 60 + wall.second
    for window in found.windows:
        names = {day for day in range(7) if window.days >> day & 1}
        yesterday = (wall.date() - timedelta(days=1)).weekday()
        if window.start < window.end:
            if wall.weekday() in names and window.start <= second < window.end:
                return True
        elif (wall.weekday() in names and second >= window.start) or (
            yesterday in names and second < window.end
        ):
            return True
    return False


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_an_instant_is_closed_by_what_the_clock_on_the_wall_shows(data):
    place = data.draw(places)
    found = data.draw(blackouts(place))
    at = (
        place[1]
        + data.draw(st.integers(-600, 4000)) * MINUTE
        + timedelta(seconds=data.draw(st.integers(0, 59)))
    )
    stretch = found.stretch(at)
    assert bool(stretch.reason) == closed(found, at) == bool(found.reason(at))
    assert stretch.begin <= at < stretch.end
    inside = stretch.begin
    step = max(MINUTE, (stretch.end - stretch.begin) / 1500)
    while inside < stretch.end:
        assert found.reason(inside) == stretch.reason
        inside += step
    assert found.reason(stretch.end - timedelta(microseconds=1)) == stretch.reason


schedules = st.sampled_from(
    ["* * * * *", "*/7 * * * *", "30 * * * *", "30 2 * * *", "0 0 * * *", "15 1-3 * * *", "0 */5 * * sat,sun"]
)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_what_is_open_is_the_schedule_without_what_is_closed(data):
    place = data.draw(places)
    found = data.draw(blackouts(place))
    raw = data.draw(
        schedules.map(lambda expression: cron(expression, zone=place[0], job_id="job"))
        | st.sampled_from([interval(613.0, place[1]), interval(3600.5, place[1])])
    )
    schedule = OpenSchedule(raw, found)
    after = place[1] + data.draw(st.integers(-300, 2000)) * MINUTE
    until = after + data.draw(st.integers(0, 3000)) * MINUTE
    slots = [slot.at for slot in raw.between(after, until)]
    expected = [at for at in slots if not closed(found, at)]
    assert [slot.at for slot in schedule.between(after, until)] == expected
    assert schedule.count(after, until) == len(expected)
    latest = schedule.latest(after, until)
    assert (latest and latest.at) == (expected[-1] if expected else None)
    if expected:
        assert schedule.next(after).at == expected[0]
    swallowed = schedule.closed(after, until)
    assert sum(each.count for each in swallowed) == len(slots) - len(expected)
    for each in swallowed:
        inside = [at for at in slots if each.first <= at <= each.last]
        assert len(inside) == each.count
        assert {found.reason(at) for at in inside} == {each.reason}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_each_slot_is_decided_about_once_and_none_that_is_closed_fires(data):
    place = data.draw(places)
    found = data.draw(blackouts(place))
    raw = cron(data.draw(schedules), zone=place[0], job_id="job")
    policy = Policy(
        catch_up=data.draw(st.sampled_from(["latest", "all", "none"])),
        overlap=data.draw(st.sampled_from(["skip", "queue", "replace"])),
        grace=data.draw(st.sampled_from([None, 60.0, 1800.0, 86_400.0])),
        after=data.draw(st.sampled_from([(), ("parent",)])),
        max_runs=data.draw(st.sampled_from([None, None, 3])),
        blackout=found,
    )
    since = place[1]
    now, handled, claimed = since, None, 0
    decided: list[datetime] = []
    for _ in range(8):
        now += data.draw(st.integers(1, 900)) * MINUTE
        waits = policy.after if data.draw(st.booleans()) else ()
        active = ("r1",) if data.draw(st.booleans()) else ()
        paused_at = now - 30 * MINUTE if data.draw(st.integers(0, 5)) == 0 else None
        timed = TimedJob("job", raw, policy, since, paused_at)
        plan = plan_job(
            timed, Progress(handled=handled, claimed=claimed, waits_for=waits, active=active), now
        )
        for decision in plan.decisions:
            if isinstance(decision, Fire):
                slots = [decision.scheduled_for]
                assert not closed(found, decision.scheduled_for)
                claimed += 1
            else:
                slots = [slot.at for slot in raw.between(decision.first - MINUTE / 2, decision.last)]
                assert len(slots) == decision.count
                assert slots[0] == decision.first
                swallowed = decision.reason.startswith("not ")
                if decision.reason != "paused" and not decision.reason.startswith("not run"):
                    assert {closed(found, at) for at in slots} == {swallowed}
                    assert not swallowed or decision.status == "skipped"
            decided += slots
            handled = slots[-1]
        # In order, none left out, none twice.
        assert decided == [slot.at for slot in raw.between(since, handled)] if handled else not decided
        assert plan.wake_at is None or plan.wake_at > now
        undecided = raw.next(handled or since)
        if undecided is not None and undecided.at <= now and (policy.max_runs is None or claimed < 3):
            held = closed(found, now) or waits
            assert held, "only what waits for another job or for the blackout's end is left open"
            assert plan.wake_at is not None


# What it means for people


SATURDAY = datetime(2026, 6, 6, tzinfo=UTC)
NIGHTS = blackout(("Sat,Sun 22:00-02:00",), (), "UTC")
HOURLY = cron("0 * * * *", zone="UTC", job_id="job")


def at(hours=0.0, **more):
    return SATURDAY + timedelta(hours=hours, **more)


def job(schedule=HOURLY, *, since=SATURDAY, closed=NIGHTS, **policy):
    return TimedJob("job", schedule, Policy(blackout=closed, **policy), since)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_starts():
    assert NIGHTS.reason(at(23)) == NIGHTS.reason(at(25)) == "not during Sat,Sun 22:00-02:00"
    assert NIGHTS.reason(at(26)) == ""
    assert NIGHTS.reason(at(49)) != ""  # Monday at one, of Sunday's
    assert NIGHTS.reason(at(1)) == ""  # Saturday at one, of Friday's, which has none


def test_a_slot_inside_a_window_is_skipped_and_says_which():
    plan = plan_job(job(), Progress(handled=at(21)), at(22))
    assert plan.decisions == (Skip("job", at(22), at(22), 1, "skipped", "not during Sat,Sun 22:00-02:00"),)
    assert plan.wake_at == at(23)


def test_what_was_missed_inside_a_window_is_skipped_and_what_was_before_it_made_up_for_after_it():
    timed = job(grace=6 * 3600.0)
    asleep = plan_job(timed, Progress(handled=at(20)), at(24.5))
    assert asleep.decisions == ()
    assert asleep.wake_at == at(25)
    plan = plan_job(timed, Progress(handled=at(20)), at(26) - MINUTE)
    assert (plan.decisions, plan.wake_at) == ((), at(26))
    plan = plan_job(timed, Progress(handled=at(20)), at(26) + MINUTE)
    assert [(type(each), each.reason) for each in plan.decisions] == [
        (Skip, "made up for by the run for 2026-06-07T02:00:00+00:00"),
        (Skip, "not during Sat,Sun 22:00-02:00"),
        (Fire, "1m late, for 2 slots"),
    ]
    assert [each.count for each in plan.decisions if isinstance(each, Skip)] == [1, 4]


def test_a_late_slot_waits_for_the_end_of_the_window_no_longer_than_its_grace():
    timed = job(once(at(21)), grace=2 * 3600.0)
    waiting = plan_job(timed, Progress(), at(22.5))
    assert waiting.decisions == ()
    assert at(23) < waiting.wake_at <= at(23, seconds=1)
    (skip,) = plan_job(timed, Progress(), waiting.wake_at).decisions
    assert (skip.status, skip.reason) == ("missed", "late by more than the grace of 2h")
    (fire,) = plan_job(job(once(at(21)), grace=6 * 3600.0), Progress(), at(26)).decisions
    assert (fire.scheduled_for, fire.trigger) == (at(21), "catch_up")


def test_a_slot_just_before_a_window_starts_on_time_though_the_loop_comes_a_moment_later():
    (fire,) = plan_job(job(once(at(22) - MINUTE / 60)), Progress(), at(22, seconds=1)).decisions
    assert isinstance(fire, Fire)


def test_a_retry_waits_for_the_end_of_the_window_and_is_not_superseded_by_what_it_swallows():
    pending = PendingRetry(at(21), 2, at(21.9))
    waiting = plan_job(job(retries=2), Progress(handled=at(21), retry=pending), at(22.5))
    assert [each.reason for each in waiting.decisions] == ["not during Sat,Sun 22:00-02:00"]
    assert waiting.wake_at == at(23)
    timed = job(interval(6 * 3600.0, at(21)), retries=2)
    late = plan_job(timed, Progress(handled=at(21), retry=pending), at(26))
    assert [(each.trigger, each.scheduled_for) for each in late.decisions] == [("retry", at(21))]


def test_the_daemons_start_inside_a_window_starts_nothing():
    timed = job(cron("@reboot", zone="UTC", job_id="job"))
    (skip,) = plan_start(timed, Progress(), at(23)).decisions
    assert (skip.status, skip.reason) == ("skipped", "not during Sat,Sun 22:00-02:00")
    assert isinstance(plan_start(timed, Progress(), at(26)).decisions[0], Fire)


def test_slots_of_several_days_in_one_window_are_one_row_where_nothing_else_is_between():
    lunch = blackout(("12:00-13:00",), (), "UTC")
    timed = job(cron("30 12 * * *", zone="UTC", job_id="job"), closed=lunch)
    (skip,) = plan_job(timed, Progress(), at(24 * 30)).decisions
    assert (skip.count, skip.reason) == (30, "not during 12:00-13:00")


def test_a_calendar_names_its_dates():
    calendar = blackout((), ("2026-06-07..2026-06-09",), "UTC")
    plan = plan_job(job(closed=calendar, grace=60.0), Progress(handled=at(22)), at(24 * 4 + 1))
    assert [(each.reason, each.count) for each in plan.decisions if isinstance(each, Skip)] == [
        ("late by more than the grace of 1m", 1),
        ("not on 2026-06-07..2026-06-09 (calendar)", 72),
        ("late by more than the grace of 1m", 1),
    ]


def test_the_dates_are_those_of_the_jobs_zone():
    tokyo = blackout((), ("2026-06-07",), "Asia/Tokyo")
    assert tokyo.reason(datetime(2026, 6, 6, 14, 59, tzinfo=UTC)) == ""
    assert tokyo.reason(datetime(2026, 6, 6, 15, tzinfo=UTC)) == "not on 2026-06-07 (calendar)"
    assert tokyo.reason(datetime(2026, 6, 7, 15, tzinfo=UTC)) == ""


def test_a_clock_that_goes_back_over_midnight_leads_back_into_the_day_before():
    # At 00:01 on 7 November 2010, 02:31 UTC, to 23:01 on the 6th.
    moment, change = datetime(2010, 11, 7, 2, 30, 30, tzinfo=UTC), datetime(2010, 11, 7, 2, 31, tzinfo=UTC)
    begins = blackout((), ("2010-11-07..2010-11-20",), "America/St_Johns")
    assert (begins.stretch(moment).end, bool(begins.stretch(moment).reason)) == (change, True)
    assert not begins.reason(change)
    ends = blackout((), ("2010-10-20..2010-11-06", "2011-01-01"), "America/St_Johns")
    assert (ends.stretch(moment).end, ends.reason(moment)) == (change, "")
    assert ends.reason(change)
    assert ends.stretch(change).begin == change


def test_fires_to_come_leave_a_blackout_out():
    found = upcoming(job(), Progress(), at(20.5))
    assert [next(found).at for _ in range(3)] == [at(21), at(26), at(27)]
    limited = upcoming(job(max_runs=2), Progress(), at(20.5))
    assert [slot.at for slot in limited] == [at(21), at(26)]


def test_a_job_is_done_with_its_last_run_and_nothing_is_said_of_windows_after_it():
    timed = job(max_runs=2, catch_up="all")
    plan = plan_job(timed, Progress(handled=at(19)), at(27))
    assert [each.scheduled_for for each in plan.decisions] == [at(20), at(21)]
    assert plan.wake_at is None


def test_a_job_that_is_never_open_has_no_next_fire_and_does_not_spin():
    office = blackout(("Mon-Fri 08:00-18:00",), (), "Europe/Berlin")
    never = job(cron("0 9-17 * * mon-fri", zone="Europe/Berlin", job_id="job"), closed=office)
    begin = time.perf_counter()
    assert next(upcoming(never, Progress(), SATURDAY), None) is None
    always = blackout(("Mon-Wed 00:00-24:00", "Thu-Sun 00:00-24:00"), (), "UTC")
    assert next(upcoming(job(closed=always), Progress(), SATURDAY), None) is None
    assert time.perf_counter() - begin < 1
    plan = plan_job(never, Progress(), datetime(2026, 6, 8, 7, tzinfo=UTC))
    assert [each.status for each in plan.decisions] == ["skipped"]
    assert plan.wake_at == datetime(2026, 6, 8, 8, tzinfo=UTC)


def test_a_long_calendar_costs_no_more_than_a_short_one():
    for_years = blackout((), ("2026-06-01..2120-12-31",), "Europe/Berlin")
    minutely = job(cron("* * * * *", zone="Europe/Berlin", job_id="job"), closed=for_years)
    begin = time.perf_counter()
    found = next(upcoming(minutely, Progress(), SATURDAY))
    assert time.perf_counter() - begin < 0.1
    assert found.at == datetime(2120, 12, 31, 23, tzinfo=UTC)


def test_a_year_down_of_a_minutely_job_with_a_window_a_day_takes_no_time():
    lunch = blackout(("12:00-13:00",), (), "Europe/Berlin")
    timed = job(cron("* * * * *", zone="Europe/Berlin", job_id="job"), closed=lunch)
    begin = time.perf_counter()
    plan = plan_job(timed, Progress(), at(24 * 365))
    assert time.perf_counter() - begin < 0.5
    assert sum(each.count for each in plan.decisions if isinstance(each, Skip)) == 365 * 1440 - 1
    assert len(plan.decisions) < 2 * 365 + 5  # a row for each side of each window


# Words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("22:00-02:00", "22:00-02:00"),
        ("sat,sun 22:00-2:00", "Sat,Sun 22:00-02:00"),
        ("  Saturday , SUNDAY   9:30 - 24:00", "Sat,Sun 09:30-24:00"),
        ("mon-fri 09:00-17:00", "Mon-Fri 09:00-17:00"),
        ("fri-mon 00:00-24:00", "Mon,Fri-Sun"),
        ("Sat,Sun", "Sat,Sun"),
        ("wed,mon,tue 1:00-2:00", "Mon-Wed 01:00-02:00"),
        ("mon-sun 01:00-02:00", "01:00-02:00"),
    ],
)
def test_a_window_is_written_one_way(text, shown):
    window = parse_window(text)
    assert window.text == shown
    assert parse_window(window.text) == window


@given(windows())
def test_a_window_reads_what_it_says(text):
    assert parse_window(parse_window(text).text) == parse_window(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "window"),
        ("22:00", "window"),
        ("22:00-22:00", "at once"),
        ("24:00-02:00", "24:00"),
        ("25:00-26:00", "25:00"),
        ("22:60-23:00", "22:60"),
        ("00:00-24:00", "no time at all"),
        ("mon-sun", "no time at all"),
        ("Funday 10:00-11:00", "funday"),
        ("Sat,,Sun 10:00-11:00", "no day"),
        ("2026-12-24", "window"),
        ("10:00-11:00 Sat", "window"),
        ("9" * 200, "window"),
    ],
)
def test_what_is_no_window_is_refused_with_the_reason(text, word):
    with pytest.raises(InvalidValue, match=word) as caught:
        parse_window(text)
    assert caught.value.hint


def test_dates_are_a_day_or_a_range_with_both_ends():
    assert parse_dates("2026-12-24") == Dates(date(2026, 12, 24), date(2026, 12, 24))
    assert parse_dates(" 2026-12-24 .. 2026-12-26 ").text == "2026-12-24..2026-12-26"
    assert parse_dates("2026-12-24..2026-12-24").text == "2026-12-24"
    for bad in ("2026-02-30", "24.12.2026", "2026-12-26..2026-12-24", "2026-12", "", "2026-12-24.."):
        with pytest.raises(InvalidValue) as caught:
            parse_dates(bad)
        assert "2026-12-24" in caught.value.hint


def test_no_windows_and_no_dates_are_no_blackout():
    assert blackout((), (), "UTC") is None
    assert blackout(("22:00-02:00",), (), "UTC") is blackout(("22:00-02:00",), (), "UTC")


def test_the_ends_of_the_calendar_are_open():
    assert NIGHTS.reason(datetime(1, 1, 1, tzinfo=UTC)) == ""
    for_ever = blackout((), ("2026-01-01..9999-12-31",), "UTC")
    assert next(upcoming(job(closed=for_ever), Progress(), SATURDAY), None) is None
