"""A cron schedule in a zone: Debian cron's semantics, made exact.

A schedule is fixed, or wildcard where its minute or hour field starts with `*`. When the clocks go forward, a wildcard
schedule goes on with the clock; a fixed one runs at the change once for all that the gap swallowed, unless the gap has
three hours or more. When they go back, a wildcard schedule runs through both passes, a fixed one through the first only,
unless more than three hours come twice. (Debian's loop also runs everything that a gap of under five minutes swallowed.)
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from pipesched.schedule.fields import Expression
from pipesched.schedule.model import EPOCH, Occurrence
from pipesched.schedule.wall import WallTimes
from pipesched.schedule.zones import Segment, ZoneTable

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = 86_400
_MADE_UP_BELOW: Final = 3 * 3600
_FIRST_PASS_UP_TO: Final = 3 * 3600
_LATE_WAKE_UP: Final = 4 * 60
_FAR: Final = 2 * _DAY


class CronSchedule:
    """One expression in one zone. `text` is the expression as it was given."""

    __slots__ = ("_fixed", "_table", "_walls", "text")

    at_start: Final = False

    def __init__(self, text: str, expression: Expression, walls: WallTimes, table: ZoneTable) -> None:
        self.text = text
        self._walls = walls
        self._table = table
        self._fixed = expression.fixed

    def next(self, after: datetime) -> Occurrence | None:
        at = (after - EPOCH) // _SECOND
        try:
            return self._next(at)
        except OverflowError:
            return None  # beyond the calendar

    def _next(self, at: int) -> Occurrence | None:
        segment = self._table.segment(at)
        _, end, offset, _ = segment
        wall = max(at + offset, self._resumes(segment) - 1)
        while True:
            minute = self._walls.next(wall // 60)
            if minute is None:
                return None
            found = minute * 60 - offset
            if found < end:
                return self._occurrence(found, segment)
            after = self._table.segment(end)
            change = after.offset - offset
            if after.start != end:
                change = 0  # only the table's block ends here
            if change > 0 and self._swallows(change) and minute * 60 < end + after.offset:
                return self._at_change(after)
            # The first second of wall time that counts after the change.
            resume = max(end + after.offset, self._resumes(after))
            if found - end > _FAR:
                again = self._walls.next((resume - 1) // 60) if change < 0 else None
                if again is None or again >= minute:
                    # Nothing matches from here until shortly before `minute`.
                    end = found - _DAY
                    after = self._table.segment(end)
                    resume = max(end + after.offset, self._resumes(after))
            wall = resume - 1
            segment = after
            end, offset = segment.end, segment.offset

    def _resumes(self, segment: Segment) -> int:
        """The wall time in seconds from which hits count: for a fixed schedule, the end of the second pass."""
        if self._fixed and 0 < segment.before - segment.offset <= _FIRST_PASS_UP_TO:
            return segment.start + segment.before
        return segment.start + segment.offset

    def _swallows(self, gap: int) -> bool:
        """Whether what falls into a gap of so many seconds runs at its end."""
        return gap < _MADE_UP_BELOW if self._fixed else gap <= _LATE_WAKE_UP

    def _in_gap(self, segment: Segment) -> int:
        """How many hits run at the segment's start because the gap before it swallowed them."""
        gap = segment.offset - segment.before
        if gap <= 0 or not self._swallows(gap):
            return 0
        first = segment.start + segment.before
        return self._walls.count((first - 1) // 60, (first + gap - 1) // 60)

    def _occurrence(self, at: int, segment: Segment) -> Occurrence:
        start, end, offset, before = segment
        if at == start and before < offset:
            return self._at_change(segment)
        if offset < before and at < start + before - offset:
            return Occurrence(_instant(at), 1, f"{_clock(at + offset)} comes twice, this is the second time")
        if end - at <= _DAY:
            after = self._table.segment(end)
            if after.start == end and after.offset < offset and at + offset >= end + after.offset:
                return Occurrence(
                    _instant(at), 1, f"{_clock(at + offset)} comes twice, this is the first time"
                )
        return Occurrence(_instant(at))

    def _at_change(self, segment: Segment) -> Occurrence:
        """The occurrence at the end of a gap: what the gap swallowed, and what falls on its end anyway."""
        swallowed = self._in_gap(segment)
        if not swallowed:
            return Occurrence(_instant(segment.start))
        first, last = segment.start + segment.before, segment.start + segment.offset
        own = self._walls.count((last - 1) // 60, last // 60)
        if swallowed + own == 1:
            minute = self._walls.next((first - 1) // 60)
            assert minute is not None
            note = f"{_clock(minute * 60)} does not exist, the clocks go forward to {_clock(last)}"
        else:
            note = f"stands for {swallowed + own} hits, as {_clock(first)} to {_clock(last)} does not exist"
        return Occurrence(_instant(segment.start), swallowed + own, note)

    def between(self, after: datetime, until: datetime) -> Iterator[Occurrence]:
        found = self.next(after)
        while found is not None and found.at <= until:
            yield found
            found = self.next(found.at)

    def latest(self, after: datetime, until: datetime) -> Occurrence | None:
        found = self._previous((until - EPOCH) // _SECOND)
        return found if found is not None and found.at > after else None

    def _previous(self, at: int) -> Occurrence | None:
        """The last occurrence at or before `at`."""
        try:
            segment = self._table.segment(at)
            wall = at + segment.offset
            while True:
                start, _, offset, before = segment
                minute = self._walls.previous(wall // 60)
                if minute is None:
                    return None
                found = minute * 60 - offset
                if found >= start and minute * 60 >= self._resumes(segment):
                    return self._occurrence(found, segment)
                if self._in_gap(segment):
                    return self._at_change(segment)
                at = start - 1
                wall = start + before - 1
                if start - found > _FAR and before <= offset:
                    # Nothing matches between `minute` and the change; where the clock went back, look once more.
                    at = found + _DAY
                    wall = at + self._table.segment(at).offset
                segment = self._table.segment(at)
        except OverflowError:
            return None

    def count(self, after: datetime, until: datetime) -> int:
        position, last = (after - EPOCH) // _SECOND, (until - EPOCH) // _SECOND
        total = 0
        try:
            while position < last:
                segment = self._table.segment(position + 1)
                begin = max(position, segment.start - 1)
                stop = min(last, segment.end - 1)
                lowest = max(begin + segment.offset, self._resumes(segment) - 1)
                total += self._walls.count(lowest // 60, (stop + segment.offset) // 60)
                if position < segment.start <= stop and self._in_gap(segment):
                    # One run for all of the gap; the hit on its very end is part of it.
                    edge = segment.start + segment.offset
                    total += 1 - self._walls.count((edge - 1) // 60, edge // 60)
                position = stop
        except OverflowError:
            return total  # the rest lies beyond the calendar
        return total

    def period(self, at: datetime) -> timedelta:
        before = self._previous((at - EPOCH) // _SECOND)
        first = before or self.next(at)
        second = self.next(first.at) if first is not None else None
        if first is None or second is None:
            return timedelta(days=1)
        return second.at - first.at


def _instant(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _clock(wall: int) -> str:
    hour, minute = divmod(wall // 60 % 1440, 60)
    return f"{hour:02}:{minute:02}"
