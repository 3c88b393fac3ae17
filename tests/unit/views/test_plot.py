"""Runs drawn in text: what a glance has to tell, whatever the width."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.runs.model import STATES, Run
from pipesched.views.plot import ASCII, NARROWEST, SIGNS, STYLES, UNICODE, bars, rows

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(
    minutes_ago: float,
    seconds: float | None = 1.0,
    status: str = "succeeded",
    job: str | None = "nightly",
    **more,
) -> Run:
    began = NOW - minutes_ago * MINUTE
    ended = None if seconds is None else began + timedelta(seconds=seconds)
    return Run("r", job, status, "schedule", began, began, began, ended, **more)


def slots(minutes_ago: float, count: int, status: str = "missed", job: str = "nightly") -> Run:
    first = NOW - minutes_ago * MINUTE
    return Run(
        "s", job, status, "schedule", first, first, count=count, until=first + (count - 1) * 10 * MINUTE
    )


def texts(lines) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def drawn(runs, width: int = 80, pen=ASCII, how=bars, zone=BERLIN) -> list[str]:
    return texts(how(runs, zone=zone, now=NOW, width=width, pen=pen))


times = st.floats(0, 100_000)
ended_runs = st.builds(
    run,
    times,
    st.floats(0, 1e7),
    st.sampled_from([state for state in STATES if state not in {"queued", "running"}]),
    st.sampled_from(["a", "nightly", "j" * 64, None]),
    reason=st.sampled_from(["", "the embedder is down\nand more " * 9]),
)
any_run = st.one_of(
    ended_runs,
    st.builds(run, times, st.none(), st.just("running")),
    st.builds(slots, times, st.integers(2, 9), st.sampled_from(["missed", "skipped"])),
)


@given(st.lists(any_run, min_size=1, max_size=30), st.integers(1, 200), st.sampled_from([bars, rows]))
def test_no_line_is_wider_than_the_terminal_and_ascii_is_ascii(runs, width, how) -> None:
    for pen in (ASCII, UNICODE):
        lines = drawn(runs, width, pen, how)
        assert max(len(line) for line in lines) <= max(width, NARROWEST)
        assert not any("\n" in line for line in lines)
    assert all(line.isascii() for line in drawn(runs, width, ASCII, how))


@given(st.lists(any_run, min_size=1, max_size=30), st.integers(NARROWEST, 200))
def test_each_run_is_a_line_with_its_sign_and_each_sign_is_explained(runs, width) -> None:
    lines = drawn(runs, width)
    for each, line in zip(runs, lines, strict=False):
        assert SIGNS[each.status] in line
    words = " ".join(lines[len(runs) :]).split()
    for each in runs:
        assert words[words.index(SIGNS[each.status]) + 1] == each.status


def test_a_bar_is_as_long_as_the_run_took_and_the_longest_fills_the_room() -> None:
    lines = drawn([run(30, 10), run(20, 40), run(10, 0.001)])
    lengths = [line.count("#") for line in lines[:3]]
    assert lengths[1] == max(lengths) > 40
    assert lengths[0] == pytest.approx(lengths[1] / 4, abs=1)
    assert lengths[2] == 1, "what ran at all is seen"
    assert lines[0].startswith("24 Nov 12:30:00  +  ####")
    assert [line.rpartition("# ")[2].strip() for line in lines[:3]] == ["10 s", "40 s", "0.001 s"]
    assert lines[-1] == "times in Europe/Berlin; the longest took 40 s"


def test_a_bar_of_blocks_is_exact_to_an_eighth() -> None:
    whole, half = drawn([run(30, 16), run(20, 8.25)], pen=UNICODE)[:2]
    room = whole.count("█")
    assert half.count("█") == int(room * 8.25 / 16)
    assert half.split()[4][-1] in "▏▎▍▌▋▊▉█"


def test_a_run_that_goes_on_has_the_bar_it_has_come_to() -> None:
    lines = drawn([run(1, None, "running"), run(30, 120)])
    assert lines[0].count("#") == pytest.approx(lines[1].count("#") / 2, abs=1)
    assert "R" in lines[0]
    assert "1 min 00 s so far" in lines[0]


def test_slots_that_did_not_run_have_a_sign_a_count_and_no_bar() -> None:
    line = drawn([slots(60, 3), run(5)])[0]
    assert " M " in line
    assert "#" not in line
    assert "3 times" in line


def test_where_there_is_room_the_reason_is_beside_the_bar() -> None:
    failed = run(5, 1, "failed", reason="the embedder\nis down")
    assert "the embedder is down" in drawn([failed], 120)[0]
    assert "embedder" not in drawn([failed], 80)[0]


def test_an_hour_that_comes_twice_is_told_apart_by_its_offset() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    twice = [
        Run(str(hour), "n", "succeeded", "schedule", at, at, at, at + MINUTE)
        for hour in (0, 1)
        for at in [first + timedelta(hours=hour)]
    ]
    lines = drawn(twice)
    assert lines[0].startswith("25 Oct 02:30:00 +0200")
    assert lines[1].startswith("25 Oct 02:30:00 +0100")


def test_several_jobs_are_a_row_each_by_name_with_their_share_of_successes() -> None:
    lines = drawn([run(60, job="b"), run(30, status="failed", job="a"), run(10, job="a")], how=rows)
    assert [line.split()[0] for line in lines[:2]] == ["a", "b"]
    assert lines[0].endswith("1/2")
    assert lines[1].endswith("1/1")
    assert lines[0].index("F") > lines[1].index("#"), "an earlier run is more to the left"


def test_in_a_row_the_taller_took_longer_and_the_worst_of_a_place_is_shown() -> None:
    line = drawn([run(60, 1), run(30, 10), run(0.1, 5), run(0, 1, "timeout")], how=rows)[0]
    marks = line.split()[1:-1]
    assert marks == ["_", "#", "T"]


def test_missed_slots_are_shown_from_the_first_to_the_last() -> None:
    line = drawn([run(100, job="n"), slots(60, 7, job="n")], how=rows)[0]
    assert "MMMMMMMMMMMMM" in line


@pytest.mark.parametrize(
    ("length", "labels"),
    [
        (timedelta(hours=24), ["15:00", "18:00", "21:00", "24 Nov", "03:00", "06:00", "09:00"]),
        (timedelta(days=6), ["19 Nov", "20 Nov", "21 Nov", "22 Nov", "23 Nov"]),
        (timedelta(minutes=55), ["12:15", "12:30", "12:45"]),
    ],
)
def test_the_axis_has_round_times_of_the_zone_where_they_are(length: timedelta, labels: list[str]) -> None:
    lines = drawn([run(length / MINUTE)], 100, how=rows)
    axis = lines[1]
    for label in labels:
        assert label in axis
    columns = len(lines[0]) - len("nightly") - 2 - len("  1/1")
    at = datetime.combine(NOW.astimezone(BERLIN).date(), datetime.min.time(), BERLIN)
    if "24 Nov" in labels:
        place = (at - (NOW - length)) / length * columns + len("nightly") + 2
        assert axis.index("24 Nov") == pytest.approx(place, abs=1)


def test_over_a_change_of_the_clock_the_axis_stays_on_the_zones_hours() -> None:
    at = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)
    changed = Run("r", "n", "succeeded", "schedule", at, at, at, at + MINUTE)
    lines = texts(rows([changed], zone=BERLIN, now=at + timedelta(hours=14), width=100, pen=ASCII))
    axis = [word for word in lines[1].split() if ":" in word]
    assert all(word.endswith(":00") for word in axis)
    assert "03:00" in axis
    assert "06:00" in axis


def test_each_state_has_a_sign_of_its_own_and_a_colour() -> None:
    assert set(SIGNS) == set(STYLES) == set(STATES)
    assert len(set(SIGNS.values())) == len(SIGNS)
