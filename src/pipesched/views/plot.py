"""PURE: runs drawn in text: a bar each for those of one job, a row each over a common time for several jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from pipesched.runs.model import EXECUTED
from pipesched.views.ages import took

if TYPE_CHECKING:
    from pipesched.runs.model import Run, RunState

SIGNS: Final[Mapping[RunState, str]] = {
    "succeeded": "+", "partial": "P", "failed": "F", "timeout": "T", "lost": "L", "interrupted": "I",
    "missed": "M", "skipped": "S", "running": "R", "queued": "Q",
}  # fmt: skip
STYLES: Final[Mapping[RunState, str]] = {
    "succeeded": "green", "partial": "yellow", "failed": "red", "timeout": "red", "lost": "red",
    "interrupted": "yellow", "missed": "magenta", "skipped": "dim", "running": "blue", "queued": "blue",
}  # fmt: skip
_WORST_FIRST: Final[tuple[RunState, ...]] = (
    "failed", "timeout", "lost", "missed", "interrupted", "partial", "running", "queued", "skipped", "succeeded",
)  # fmt: skip
NARROWEST: Final = 24
REASON_FROM: Final = 90
"""Columns from which on a bar has its run's reason beside it."""
_STEPS: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (
        60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600,
        86400, 2 * 86400, 7 * 86400, 28 * 86400, 91 * 86400, 364 * 86400,
    )
)  # fmt: skip
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pen:
    """What can be drawn with. `parts`: one cell filled from the left, least first; `heights`: from below; `cut`: of a text."""

    parts: str
    heights: str
    cut: str


UNICODE: Final = Pen(parts="▏▎▍▌▋▊▉█", heights="▁▂▃▄▅▆▇█", cut="…")
ASCII: Final = Pen(parts="#", heights="_.-=#", cut="~")

Line = tuple[tuple[str, str], ...]
"""Pieces of one line, each with its style (rich's names, "" for none)."""


def bars(runs: Sequence[Run], *, zone: tzinfo, now: datetime, width: int, pen: Pen = UNICODE) -> list[Line]:
    """A line a run, as they come: when it began, how it ended, a bar as long as it took, the time that it took.

    No line is wider than `width`, or than NARROWEST. `now` ends the bars of those that go on.
    """
    width = max(width, NARROWEST)
    whens = _whens(runs, zone, short=width < 50)
    times = [_seconds(run, now) for run in runs]
    words = [_beside(run, seconds) for run, seconds in zip(runs, times, strict=True)]
    beside = min(max((len(word) for word in words), default=0), 20)
    left = max((len(when) for when in whens), default=0) + 5
    if left + beside + 4 > width:
        beside = 0
    reasons = width >= REASON_FROM
    room = max(3, (width - left - beside - 2) * (3 if reasons else 6) // 6)
    longest = max((seconds for seconds in times if seconds is not None), default=0.0)
    lines: list[Line] = []
    for run, when, seconds, word in zip(runs, whens, times, words, strict=True):
        style = STYLES[run.status]
        bar = "" if seconds is None else _bar(seconds, longest, room, pen)
        line = [
            (when.ljust(left - 5) + "  ", ""),
            (SIGNS[run.status], f"bold {style}"),
            ("  ", ""),
            (bar, style),
        ]
        if beside:
            line += [(" " * (room - len(bar)) + " ", ""), (_cut(word, beside, pen), "")]
        if reasons and run.reason:
            rest = width - left - room - 1 - beside - 2
            said = " ".join(run.reason.split())
            line.append((" " * (beside - min(len(word), beside)) + "  " + _cut(said, rest, pen), "dim"))
        lines.append(tuple(line))
    about = f"times in {zone}; the longest took {took(longest)}" if longest else f"times in {zone}"
    return [*lines, *_footer(about, _legend(runs), width)]


def rows(runs: Sequence[Run], *, zone: tzinfo, now: datetime, width: int, pen: Pen = UNICODE) -> list[Line]:
    """A line a job, over a common time from the first run to `now`: a mark where runs began, with the worst end of each place.

    Successes are as high as they took long, compared with the job's longest. At the right, how many of a job's succeeded.
    """
    width = max(width, NARROWEST)
    by_job: dict[str, list[Run]] = {}
    for run in runs:
        by_job.setdefault(run.job_id or "(no job)", []).append(run)
    notes = {job: _share(each) for job, each in by_job.items()}
    right = max((len(note) for note in notes.values()), default=0)
    left = min(max((len(job) for job in by_job), default=0), max(6, width // 4))
    columns = width - left - right - 4
    if columns < 8:
        right, columns = 0, max(4, width - left - 2)
    first = min((_began(run) for run in runs), default=now)
    length = max(now - first, timedelta(minutes=1))

    def column(time: datetime) -> int:
        return max(0, min(columns - 1, int((time - first) / length * columns)))

    lines: list[Line] = []
    for job in sorted(by_job):
        line = [(_cut(job, left, pen).ljust(left) + "  ", "bold")]
        line += _marks(by_job[job], column, columns, now, pen)
        if right:
            line.append((f"  {notes[job].rjust(right)}", ""))
        lines.append(tuple(line))
    axis = _axis(first, length, columns, zone)
    about = f"times in {zone}; higher took longer; right: succeeded of those that ran"
    return [*lines, ((" " * (left + 2) + axis, "dim"),), *_footer(about, _legend(runs), width)]


def _whens(runs: Sequence[Run], zone: tzinfo, *, short: bool) -> list[str]:
    """On the zone's clock; with the offset where there are several, so that an hour that comes twice is told apart."""
    local = [_began(run).astimezone(zone) for run in runs]
    offset = " %z" if len({time.utcoffset() for time in local}) > 1 and not short else ""
    years = "%Y " if len({time.year for time in local}) > 1 and not short else ""
    return [f"{time:%d %b {years}%H:%M{'' if short else ':%S'}{offset}}" for time in local]


def _began(run: Run) -> datetime:
    return run.started_at or run.scheduled_for or run.queued_at or datetime.fromtimestamp(0, UTC)


def _seconds(run: Run, now: datetime) -> float | None:
    """How long it took, or takes so far."""
    if run.status == "running" and run.started_at is not None:
        return max(0.0, (now - run.started_at).total_seconds())
    return run.duration_seconds


def _beside(run: Run, seconds: float | None) -> str:
    if run.status == "running" and seconds is not None:
        return f"{took(seconds)} so far"
    if run.count > 1 and run.until is not None:
        return f"{run.count} times"
    return took(seconds)


def _bar(seconds: float, longest: float, room: int, pen: Pen) -> str:
    """At least the least there is: whatever ran is seen."""
    fine = len(pen.parts)
    eighths = max(1, round(seconds / longest * room * fine)) if longest else 1
    whole, part = divmod(eighths, fine)
    return pen.parts[-1] * whole + (pen.parts[part - 1] if part else "")


def _marks(
    runs: Sequence[Run], column: Callable[[datetime], int], columns: int, now: datetime, pen: Pen
) -> list[tuple[str, str]]:
    longest = max((_seconds(run, now) or 0.0 for run in runs), default=0.0)
    places: dict[int, list[Run]] = {}
    for run in runs:
        last = run.until or _began(run)
        for place in range(column(_began(run)), column(last) + 1):
            places.setdefault(place, []).append(run)
    pieces: list[tuple[str, str]] = []
    for place in range(columns):
        here = places.get(place)
        if here is None:
            pieces.append((" ", ""))
            continue
        worst = min((run.status for run in here), key=_WORST_FIRST.index)
        mark = SIGNS[worst]
        if worst == "succeeded":
            most = max(_seconds(run, now) or 0.0 for run in here)
            mark = pen.heights[round(most / longest * (len(pen.heights) - 1)) if longest else 0]
        pieces.append((mark, STYLES[worst]))
    return _joined(pieces)


def _joined(pieces: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    joined: list[tuple[str, str]] = []
    for text, style in pieces:
        if joined and joined[-1][1] == style:
            joined[-1] = (joined[-1][0] + text, style)
        else:
            joined.append((text, style))
    return joined


def _share(runs: Sequence[Run]) -> str:
    ran = [run for run in runs if run.started_at is not None and run.finished_at is not None]
    return f"{sum(run.status in EXECUTED for run in ran)}/{len(ran)}"


def _axis(first: datetime, length: timedelta, columns: int, zone: tzinfo) -> str:
    """Times of the zone's clock where they are; round ones, at least ten columns apart."""
    step = next((step for step in _STEPS if step / length * columns >= 10), _STEPS[-1])
    line = [" "] * columns
    free_from = 0
    tick = _round_up(first, step, zone)
    while tick <= first + length:
        place = int((tick - first) / length * columns)
        local = tick.astimezone(zone)
        label = f"{local:%d %b}" if local.hour == local.minute == 0 or step >= _DAY else f"{local:%H:%M}"
        if place >= free_from and place + len(label) <= columns:
            line[place : place + len(label)] = label
            free_from = place + len(label) + 1
        tick = _round_up(tick + timedelta(seconds=1), step, zone)
    return "".join(line)


def _round_up(time: datetime, step: timedelta, zone: tzinfo) -> datetime:
    """The next time at which the zone's clock shows a multiple of `step`."""
    wall = time.astimezone(zone).replace(tzinfo=None)
    epoch = datetime(1970, 1, 5)  # noqa: DTZ001  a Monday on the wall
    steps = -((epoch - wall) // step)
    found = (epoch + steps * step).replace(tzinfo=zone).astimezone(UTC)
    return found if found >= time else time + step  # the clock went back over it


def _legend(runs: Iterable[Run]) -> str:
    there = {run.status for run in runs}
    return "  ".join(f"{sign} {status}" for status, sign in SIGNS.items() if status in there)


def _footer(about: str, legend: str, width: int) -> list[Line]:
    """As words allow: lines of at most `width`."""
    lines: list[Line] = []
    for text in (legend, about):
        line = ""
        for word in text.split(" "):
            if line and len(line) + 1 + len(word) > width:
                lines.append(((line.rstrip(), "dim"),))
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(((line.rstrip(), "dim"),))
    return lines


def _cut(text: str, length: int, pen: Pen) -> str:
    return text if len(text) <= length else text[: max(0, length - 1)] + pen.cut
