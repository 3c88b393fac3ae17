"""The timeline: each run, missed slot and fire at its place, and never more marks than can be told apart."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.http.documents import Documents
from pipesched.http.timeline import AHEAD, BACK, CELL, KEY, LANES, Window, cells, fires
from pipesched.jobs.model import JobPolicy
from pipesched.runs.ledger import Ledger
from pipesched.runs.model import Run
from pipesched.schedule.outlook import upcoming
from pipesched.views.scheduler import SchedulerFacts
from pipesched.views.snapshot import JobView, take
from support.world import NOW, World, WorldSource

WINDOW = Window(NOW)
MOST_CELLS = int((BACK + AHEAD).total_seconds() // 60 // CELL)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The zone that the page is read in."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def world(tmp_path: Path) -> World:
    running = SchedulerFacts(running=True, pid=42, started_at=NOW - timedelta(hours=3), last_tick=NOW)
    return World(tmp_path, facts=running)


def lanes(world: World) -> dict[str, ET.Element]:
    """The drawings by the words that stand for them, in order."""
    document = Documents(WorldSource(world)).page().body.decode()
    drawn = (ET.fromstring(each) for each in re.findall(r'<svg class="lane".*?</svg>', document))
    return {str(each.get("aria-label")): each for each in drawn}


def marks(lane: ET.Element) -> list[tuple[str, float, float, str]]:
    """(state, begin, length in minutes, tooltip) of each, from left to right."""
    return [
        (
            str(rect.get("class")),
            float(rect.get("x", 0)),
            float(rect.get("width", 0)),
            str(rect.findtext("title")),
        )
        for rect in lane.iter("rect")
    ]


def due(lane: ET.Element) -> list[float]:
    path = next((each.get("d", "") for each in lane.iter("path") if each.get("class") == "due"), "")
    return [float(place) for place in re.findall(r"M([0-9.]+) ", path)]


def view(world: World, job_id: str) -> JobView:
    with Ledger.open(world.paths.ledger, create=False) as ledger:
        shot = take(
            now=world.now, paths=world.paths, job_file=world.store.load(), facts=world.facts, ledger=ledger
        )
    return shot.jobs[job_id]


def test_each_run_is_a_mark_at_its_time(world: World) -> None:
    world.job("daily", "0 2 * * *")
    world.ran("daily", NOW - timedelta(hours=13))
    world.ran("daily", NOW - timedelta(hours=6), "failed", took=3600, reason="no server")
    world.ran("daily", NOW - timedelta(hours=2), took=2)
    [(words, lane)] = lanes(world).items()
    assert words == "1 succeeded, 1 failed, the last failure 03:30; nothing to come"
    assert marks(lane) == [
        ("failed", 360, 60, "03:30 failed 1 h"),
        ("succeeded", 600, CELL - 2, "07:30 succeeded 2 s"),
    ]


def test_runs_within_one_cell_are_one_mark_as_bad_as_the_worst(world: World) -> None:
    world.job("often", 60.0)
    for minutes, state in ((58, "succeeded"), (56, "failed"), (54, "succeeded")):
        world.ran("often", NOW - timedelta(minutes=minutes), state)
    [lane] = lanes(world).values()
    assert marks(lane) == [("failed", 660, 8, "08:36 and before: 2 succeeded, 1 failed")]


def test_a_run_under_way_reaches_to_now_however_long_ago_it_began(world: World) -> None:
    world.job("long", "0 2 * * 1")
    world.ran("long", NOW - timedelta(hours=30), "running")
    [lane] = lanes(world).values()
    assert [mark[:3] for mark in marks(lane)] == [("running", 0, 720)]


def test_slots_that_did_not_run_are_a_frame_over_their_time(world: World) -> None:
    world.job("hourly", 3600.0)
    world.ran("hourly", NOW - timedelta(hours=10))
    world.skipped(
        "hourly", NOW - timedelta(hours=4), NOW - timedelta(hours=2), 3, "missed", "the scheduler was down"
    )
    [(words, lane)] = lanes(world).items()
    assert ("missed", 480, 120, "07:30 3 missed: the scheduler was down") in marks(lane)
    assert "3 missed" in words


def test_what_is_to_come_stands_right_of_now(world: World) -> None:
    world.job("hourly", "15 * * * *")
    world.job("paused", "15 * * * *", enabled=False, paused_at=NOW)
    [(words, lane)] = lanes(world).items()
    assert words == "nothing ran; next 10:15"
    assert due(lane) == [720 + 45 + 60 * hour for hour in range(12)]


@pytest.mark.parametrize(
    ("trigger", "count"), [(1.0, 73), (60.0, 73), (600.0, 73), (660.0, 66), (3600.0, 12)]
)
def test_a_job_that_fires_all_the_time_has_a_mark_a_cell(world: World, trigger: float, count: int) -> None:
    world.job("often", trigger)
    found = fires(view(world, "often"), NOW)
    assert abs(len(found) - count) <= 1
    assert found == sorted(found)
    assert found[0] > NOW
    assert found[-1] <= NOW + AHEAD
    whole = view(world, "often")
    first = {}
    for fire in upcoming(whole.timed, whole.progress, NOW):
        if fire.at > NOW + AHEAD:
            break
        first.setdefault(int((fire.at - NOW).total_seconds() // 60 // CELL), fire.at)
    assert found == list(first.values()), "the first of each cell"


def test_a_job_with_few_runs_left_shows_only_those(world: World) -> None:
    world.job("twice", 60.0, policy=JobPolicy(max_runs=2))
    assert fires(view(world, "twice"), NOW) == [NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)]


def test_a_crowd_shows_the_first_dozen_that_move(world: World) -> None:
    for number in range(LANES + 5):
        world.job(f"job{number:02}", f"{number} * * * *")
    world.job("yearly", "0 0 1 1 *")
    document = Documents(WorldSource(world)).page().body.decode()
    assert document.count('<svg class="lane"') == LANES
    assert f"{LANES} of {LANES + 6} jobs" in document


def test_times_are_those_of_the_readers_zone() -> None:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo("Europe/Berlin")
    window = Window(datetime(2026, 10, 25, 2, 30, tzinfo=UTC), lambda at: at.astimezone(zone))
    assert window.clock(window.begin) == "16:30", "12 hours before, over the end of summer time"
    assert window.place(window.now) == 720


starts = st.lists(
    st.tuples(st.integers(0, 720), st.floats(0, 900), st.sampled_from(["succeeded", "failed", "partial", "lost", "running"])),
    max_size=40,
)  # fmt: skip


@given(starts)
def test_marks_stay_inside_the_window_and_lose_no_failure(runs: list[tuple[int, float, str]]) -> None:
    made = []
    for minutes, lasted, state in runs:
        at = NOW - timedelta(minutes=minutes)
        ended = None if state == "running" else min(at + timedelta(minutes=lasted), NOW)
        made.append(Run(f"r{len(made)}", "j", state, "schedule", started_at=at, finished_at=ended))  # type: ignore[arg-type]
    drawn = [ET.fromstring(each) for each in cells(made, WINDOW)]
    assert len(drawn) <= min(len(made), MOST_CELLS)
    for rect in drawn:
        left, width = float(rect.get("x", -1)), float(rect.get("width", -1))
        assert 0 <= left <= 720
        assert 0 < width <= 720 - left + CELL
    failed = {
        int(WINDOW.place(run.started_at) // CELL)
        for run in made
        if run.started_at and run.status in {"failed", "lost"}
    }
    assert {
        float(rect.get("x", -1)) // CELL for rect in drawn if rect.get("class") in {"failed", "lost"}
    } == failed


def test_the_legend_names_interrupted_runs_beside_partial_ones() -> None:
    assert '<span class="key partial">partial</span><span class="key interrupted">interrupted</span>' in str(
        KEY
    )
