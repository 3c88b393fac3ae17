"""A day around now, a lane for each job: what ran, what did not, what is to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Final

from pipesched.http.elements import section
from pipesched.http.markup import Markup, foreign, join, tag
from pipesched.runs.model import ACTIVE, FAILED, Run
from pipesched.schedule.model import TICK
from pipesched.schedule.outlook import upcoming
from pipesched.views.ages import took
from pipesched.views.snapshot import JobView

BACK: Final = timedelta(hours=12)
AHEAD: Final = timedelta(hours=12)
LANES: Final = 12
LANE_RUNS: Final = 720
"""The newest of a lane: one a minute."""
CELL: Final = 10
"""Minutes. What starts within the same ones is drawn as one mark; a unit of the drawing is a minute."""
_HEIGHT: Final = 24
_MINUTES: Final = int((BACK + AHEAD).total_seconds() // 60)
_MOST_COUNTED: Final = 1000
_WORST: Final = ("failed", "timeout", "lost", "interrupted", "partial", "running", "succeeded")
_NOT_RUN: Final = frozenset({"missed", "skipped"})
_SHAPES: Final = {"succeeded": (8, 8), "running": (8, 8), "partial": (5, 14), "interrupted": (5, 14)}
"""Top and height: how bad it was shows without colours, too. Failures fill the lane."""


@dataclass(frozen=True, slots=True)
class Lane:
    """`runs`: those that began in the window, newest first; `fires`: the first of each cell to come."""

    view: JobView
    runs: Sequence[Run]
    fires: Sequence[datetime]


def moving(jobs: Iterable[JobView], now: datetime) -> list[JobView]:
    """The first jobs that have something to show in the window."""

    def shows(view: JobView) -> bool:
        last = view.summary.last_run
        began = None if last is None else last.started_at
        return bool(
            view.summary.active
            or (view.next is not None and view.next.at <= now + AHEAD)
            or (began is not None and began >= now - BACK)
        )

    return list(islice(filter(shows, jobs), LANES))


def fires(view: JobView, now: datetime) -> list[datetime]:
    """The first occurrence of each cell within AHEAD: of a job that fires each second, all that can be drawn."""
    return list(takewhile(lambda at: at <= now + AHEAD, _fires(view, now)))


def _fires(view: JobView, now: datetime) -> Iterator[datetime]:
    if view.next is None:
        return
    if view.timed.policy.max_runs is not None:  # each one counts
        after = view.next.at - TICK
        yield from (found.at for found in islice(upcoming(view.timed, view.progress, after), _MOST_COUNTED))
        return
    found = view.next
    while True:
        yield found.at
        cells = int((found.at - now).total_seconds() // 60 // CELL) + 1
        following = next(
            upcoming(view.timed, view.progress, now + timedelta(minutes=cells * CELL) - TICK), None
        )
        if following is None:
            return
        found = following


@dataclass(frozen=True, slots=True)
class Window:
    """`now` is in UTC; `local` puts a time into the zone that the page is read in."""

    now: datetime
    local: Callable[[datetime], datetime] = datetime.astimezone

    @property
    def begin(self) -> datetime:
        return self.now - BACK

    def place(self, at: datetime) -> float:
        """Minutes from the window's begin, kept inside it."""
        minutes = (at - self.begin).total_seconds() / 60
        return round(min(max(minutes, 0.0), float(_MINUTES)), 1)

    def clock(self, at: datetime) -> str:
        return f"{self.local(at):%H:%M}"


def timeline(lanes: Sequence[Lane], window: Window, *, total: int) -> Markup:
    """`total`: how many jobs there are."""
    if not lanes:
        return Markup("")
    cut = f", {LANES} of {total:,} jobs: the worst, then the next" if len(lanes) == LANES < total else ""
    rows = (
        tag(
            "li",
            tag("span", foreign(lane.view.job.name or lane.view.job.id), class_="name"),
            drawn(lane, window),
        )
        for lane in lanes
    )
    return section(
        "12 hours back, 12 ahead",
        tag("ol", tag("li", axis(window), class_="axis", aria_hidden="true"), *rows, class_="lanes"),
        KEY,
        note=f"{window.local(window.now):%Z}{cut}",
    )


def axis(window: Window) -> Markup:
    quarter = (BACK + AHEAD) / 4
    marks = [window.clock(window.begin + quarter * number) for number in range(5)]
    marks[2] = f"now {marks[2]}"
    return join((tag("span"), tag("span", *(tag("span", mark) for mark in marks), class_="marks")))


KEY: Final = tag(
    "p",
    *(tag("span", words, class_=f"key {kind}") for kind, words in (
        ("succeeded", "succeeded"), ("partial", "partial"), ("interrupted", "interrupted"), ("failed", "failed"),
        ("missed", "missed or skipped"), ("due", "to come"),
    )),
    class_="keys",
)  # fmt: skip


def drawn(lane: Lane, window: Window) -> Markup:
    lines = tag("path", class_="grid", d=f"M{_MINUTES // 4} 0v{_HEIGHT}M{_MINUTES * 3 // 4} 0v{_HEIGHT}")
    here = window.place(window.now)
    ahead = "".join(f"M{window.place(at):g} 8v8" for at in lane.fires)
    return tag(
        "svg",
        lines,
        *not_run(lane.runs, window),
        *cells(lane.runs, window),
        tag("path", class_="due", d=ahead) if ahead else "",
        tag("path", class_="now", d=f"M{here:g} 0v{_HEIGHT}"),
        class_="lane",
        role="img",
        aria_label=in_words(lane, window),
        viewBox=f"0 0 {_MINUTES} {_HEIGHT}",
        preserveAspectRatio="none",
    )


def not_run(runs: Iterable[Run], window: Window) -> Iterator[Markup]:
    """Slots that did not run, a frame from the first to the last of them."""
    for run in runs:
        if run.status not in _NOT_RUN or run.scheduled_for is None:
            continue
        last = run.until or run.scheduled_for
        left, right = window.place(run.scheduled_for), window.place(last)
        count = f"{run.count:,} " if run.count > 1 else ""
        words = f"{window.clock(last)} {count}{run.status}: {run.reason}"
        yield tag(
            "rect", tag("title", words), x=f"{left:g}", y=8, width=f"{max(right - left, CELL - 2):g}", height=8,
            class_="missed",
        )  # fmt: skip


def cells(runs: Iterable[Run], window: Window) -> Iterator[Markup]:
    """What started within one cell is one mark: as bad as the worst of it, as long as the longest."""
    grouped: dict[int, list[Run]] = {}
    for run in runs:
        if run.started_at is not None and run.status not in _NOT_RUN:
            grouped.setdefault(int(window.place(run.started_at) // CELL), []).append(run)
    for cell, group in sorted(grouped.items()):
        state = min((run.status for run in group), key=_WORST.index)
        ends = (window.now if run.finished_at is None else run.finished_at for run in group)
        left = cell * CELL
        width = max(max(map(window.place, ends)) - left, CELL - 2)
        top, height = _SHAPES.get(state, (2, 20))
        yield tag(
            "rect", tag("title", about(group, window)), x=left, y=top, width=f"{width:g}", height=height, class_=state
        )  # fmt: skip


def about(group: Sequence[Run], window: Window) -> str:
    newest = group[0]
    assert newest.started_at is not None
    at = window.clock(newest.started_at)
    if len(group) > 1:
        return f"{at} and before: {counted(group)}"
    return f"{at} {newest.status} {took(newest.duration_seconds)}".rstrip()


def counted(runs: Iterable[Run]) -> str:
    counts: Counter[str] = Counter()
    for run in runs:
        counts[run.status] += run.count
    return ", ".join(f"{count:,} {state}" for state, count in counts.most_common())


def in_words(lane: Lane, window: Window) -> str:
    """The lane for those who hear the page."""
    past = counted(run for run in lane.runs if run.status not in ACTIVE)
    bad = next((run for run in lane.runs if run.status in FAILED and run.started_at is not None), None)
    failed = f", the last failure {window.clock(bad.started_at)}" if bad and bad.started_at else ""
    ahead = f"next {window.clock(lane.fires[0])}" if lane.fires else "nothing to come"
    return f"{past or 'nothing ran'}{failed}; {ahead}"
