"""When nothing may be due: windows by the clock on the wall, and the dates of a calendar."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from pipesched.errors import InvalidValue
from pipesched.schedule.model import EPOCH
from pipesched.schedule.zones import ZoneTable, zone_table

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = 86_400
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_THURSDAY: Final = 3  # 1970-01-01; Monday is 0
_ALL_DAYS: Final = (1 << 7) - 1
_MARGIN: Final = 2
"""Days: by more than one no change of offset moves the date, and none moves it by more than another."""
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FULL: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WINDOW = re.compile(
    r"\s*(?P<days>[A-Za-z][A-Za-z\s,-]*?)?\s*(?:(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d))?\s*", re.ASCII
)
_DATES = re.compile(r"\s*(\d{4}-\d\d-\d\d)(?:\s*\.\.\s*(\d{4}-\d\d-\d\d))?\s*", re.ASCII)
_LONGEST: Final = 100
_WINDOW_HINT: Final = 'write it as "22:00-02:00", "Sat,Sun 22:00-02:00", "Mon-Fri 09:00-17:00" or "Sat,Sun"'
_DATES_HINT: Final = 'write it as "2026-12-24" or "2026-12-24..2026-12-26"'


class Window(NamedTuple):
    """A time of day on some weekdays. `days`: bits, Monday is 1. Seconds of the day, start <= t < end.

    Where `end` is not after `start` it ends on the next day, and belongs to the day on which it starts.
    """

    days: int
    start: int
    end: int

    @property
    def text(self) -> str:
        """As people write it, always the same for the same window."""
        days = "" if self.days == _ALL_DAYS else _days_text(self.days)
        if days and (self.start, self.end) == (0, _DAY):
            return days
        times = f"{_clock(self.start)}-{_clock(self.end)}"
        return f"{days} {times}" if days else times


class Dates(NamedTuple):
    """Whole days of the calendar, both included."""

    first: date
    last: date

    @property
    def text(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}..{self.last}"


def parse_window(text: str) -> Window:
    """The window of `[DAYS] [HH:MM-HH:MM]`: without days on each day, without times the whole day. Raises InvalidValue."""
    match = _WINDOW.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or not text.strip():
        raise InvalidValue(f"{text[:_LONGEST]!r} is not a window of time", hint=_WINDOW_HINT)
    days = _ALL_DAYS if match["days"] is None else _parse_days(match["days"])
    if match[2] is None:
        start, end = 0, _DAY
    else:
        start, end = _time(match[2], match[3], text), _time(match[4], match[5], text)
        if start == _DAY:
            raise InvalidValue(f"{text!r} starts at 24:00", hint="a day starts at 00:00")
        if start == end:
            raise InvalidValue(f"{text!r} starts and ends at once", hint="a whole day is 00:00-24:00")
    if days == _ALL_DAYS and end - start == _DAY:
        raise InvalidValue(f"{text!r} leaves no time at all", hint="to stop a job: pipesched pause")
    return Window(days, start, end)


def parse_dates(text: str) -> Dates:
    """The dates of `YYYY-MM-DD[..YYYY-MM-DD]`. Raises InvalidValue."""
    match = _DATES.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise InvalidValue(f"{text[:_LONGEST]!r} is neither a date nor a range of dates", hint=_DATES_HINT)
    try:
        first = date.fromisoformat(match[1])
        last = first if match[2] is None else date.fromisoformat(match[2])
    except ValueError as error:
        raise InvalidValue(f"{text!r} is no date: {error}", hint=_DATES_HINT) from error
    if last < first:
        raise InvalidValue(f"{text!r} ends before it begins", hint=_DATES_HINT)
    return Dates(first, last)


def _parse_days(text: str) -> int:
    days = 0
    for item in text.split(","):
        first, dash, last = item.partition("-")
        low = _day(first, text)
        high = _day(last, text) if dash else low
        for day in range(low, high + 1 + 7 * (high < low)):  # fri-mon goes over the end of the week
            days |= 1 << day % 7
    return days


def _day(word: str, text: str) -> int:
    word = word.strip().lower()
    for number, name in enumerate(_FULL):
        if word in {name, name[:3]}:
            return number
    raise InvalidValue(f"{text!r}: {word!r} is no day of the week", hint=_WINDOW_HINT)


def _days_text(days: int) -> str:
    """`Mon-Fri`, `Sat,Sun`, `Mon,Wed-Fri`."""
    parts = []
    day = 0
    while day < 7:
        last = day
        while last < 7 and days >> last & 1:
            last += 1
        if last - day > 2:
            parts.append(f"{_DAYS[day]}-{_DAYS[last - 1]}")
        else:
            parts += _DAYS[day:last]
        day = max(last, day + 1)
    return ",".join(parts)


def _time(hour: str, minute: str, text: str) -> int:
    seconds = int(hour) * 3600 + int(minute) * 60
    if int(minute) > 59 or seconds > _DAY:
        raise InvalidValue(f"{text!r}: there is no time {hour}:{minute}", hint=_WINDOW_HINT)
    return seconds


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}"


class Stretch(NamedTuple):
    """A stretch of time all of which is closed for one reason, or open (""): begin <= t < end, aware, UTC."""

    begin: datetime
    end: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Blackout:
    """Windows and dates in one zone. An instant is inside by what a clock on the wall there shows at it.

    So a window lasts as long as the clock takes through it, also where it is set forward or back meanwhile.
    """

    windows: tuple[Window, ...]
    dates: tuple[Dates, ...]
    zone: str
    _table: ZoneTable = field(init=False, repr=False, compare=False)
    _cuts: list[int] = field(init=False, repr=False, compare=False)
    _week: list[list[str]] = field(init=False, repr=False, compare=False)
    _firsts: list[int] = field(init=False, repr=False, compare=False)
    _ranges: list[tuple[int, int, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cuts = sorted({0, *(cut % _DAY for window in self.windows for cut in (window.start, window.end))})
        ranges: list[tuple[int, int, str]] = []
        for dates in sorted(self.dates):
            first = dates.first.toordinal() - _EPOCH_ORDINAL
            last = dates.last.toordinal() - _EPOCH_ORDINAL
            if ranges:
                # Of ranges that overlap, the one that begins first is named.
                first = max(first, ranges[-1][1] + 1)
            if first <= last:
                ranges.append((first, last, f"not on {dates.text} (calendar)"))
        fill = object.__setattr__
        fill(self, "_table", zone_table(self.zone))
        fill(self, "_cuts", cuts)
        fill(self, "_week", [[self._window(day, cut) for cut in cuts] for day in range(7)])
        fill(self, "_ranges", ranges)
        fill(self, "_firsts", [first for first, _, _ in ranges])

    def _window(self, weekday: int, second: int) -> str:
        for window in self.windows:
            if window.start < window.end:
                inside = window.days >> weekday & 1 and window.start <= second < window.end
            else:
                inside = (window.days >> weekday & 1 and second >= window.start) or (
                    window.days >> (weekday - 1) % 7 & 1 and second < window.end
                )
            if inside:
                return f"not during {window.text}"
        return ""

    def stretch(self, at: datetime) -> Stretch:
        """A stretch around `at` in which nothing changes; its neighbours may go on with the same reason.

        Raises OverflowError outside the years 1 to 9999.
        """
        second = (at - EPOCH) // _SECOND
        start, stop, offset, _ = self._table.segment(second)
        day, time = divmod(second + offset, _DAY)
        place = bisect_right(self._cuts, time)
        reason, known_to = self._dates(day)
        low, high = 0, _DAY
        if not reason:
            low = self._cuts[place - 1]
            high = self._cuts[place] if place < len(self._cuts) else _DAY
            reason = self._week[(day + _THURSDAY) % 7][place - 1]
        end = min(day * _DAY + high - offset, stop)
        if known_to is not None and known_to - day > 2 * _MARGIN:
            end = max(end, (known_to - _MARGIN) * _DAY - offset)
        begin = max(day * _DAY + low - offset, start)
        return Stretch(EPOCH + begin * _SECOND, EPOCH + end * _SECOND, reason)

    def _dates(self, day: int) -> tuple[str, int | None]:
        """Why the day is closed, and the last day up to which the answer is the same for all of each day."""
        place = bisect_right(self._firsts, day)
        if place:
            first, last, reason = self._ranges[place - 1]
            if day <= last:
                # On its first day the clocks may still go back to the day before.
                return reason, last if day > first else None
            if day == last + 1:
                return "", None
        if self.windows or place == len(self._ranges):
            return "", None
        return "", self._firsts[place] - 1

    def reason(self, at: datetime) -> str:
        """Why nothing may be due at `at`; empty when something may."""
        try:
            return self.stretch(at).reason
        except OverflowError:
            return ""


@lru_cache(maxsize=4096)
def blackout(windows: tuple[str, ...], dates: tuple[str, ...], zone: str) -> Blackout | None:
    """The blackout of these texts, one for all jobs that share them; None for no texts. Raises InvalidValue."""
    if not windows and not dates:
        return None
    return Blackout(tuple(map(parse_window, windows)), tuple(map(parse_dates, dates)), zone)
