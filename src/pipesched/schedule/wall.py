"""Naive wall-clock minutes that a cron expression matches; nothing here knows of zones."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Final

from pipesched.schedule.expansion import Values, expand

_EPOCH: Final = date(1970, 1, 1).toordinal()
_FIRST_DAY: Final = 1 - _EPOCH
_LAST_DAY: Final = date.max.toordinal() - _EPOCH
_DAY: Final = 1440
_CYCLE: Final = 400 * 12
"""Months after which the calendar repeats, weekdays included."""


class Days:
    """The days that three fields match: day of month, month, day of week. Days count from 1970-01-01."""

    __slots__ = ("_both", "_dom", "_last", "_masks", "_months", "_nth", "_weekdays", "every")

    def __init__(self, day: Values, month: Values, weekday: Values, *, both: bool) -> None:
        self._dom = sum(1 << value for value in day.values)
        self._last = day.last
        self._months = frozenset(month.values)
        self._nth: Mapping[int, tuple[int, ...]] = dict(weekday.nth)
        # _weekdays[w]: the days of a month that begins on weekday w.
        self._weekdays = tuple(
            sum(1 << d for d in range(1, 32) if (first + d - 1) % 7 in weekday.values) for first in range(7)
        )
        self._both = both
        self.every = len(self._months) == 12 and all(
            mask == 0xFFFFFFFE for mask in (self._dom, *self._weekdays)
        )
        self._masks: dict[int, int] = {}

    def mask(self, month: int) -> int:
        """The matching days of a month as bits 1 to 31; months count from the year 0."""
        found = self._masks.get(month)
        if found is None:
            found = self._masks[month] = self._match(month)
        return found

    def _match(self, index: int) -> int:
        year, month = divmod(index, 12)
        if month + 1 not in self._months:
            return 0
        first = date(year, month + 1, 1).toordinal()
        length = _month_length(year, month + 1)
        weekday = first % 7  # ordinal 1, 0001-01-01, is a Monday; 0 is a Sunday
        inside = (2 << length) - 2
        by_day = self._dom | (1 << length if self._last else 0)
        by_weekday = self._weekdays[weekday]
        for day, ranks in self._nth.items():
            earliest = 1 + (day - weekday) % 7
            for rank in ranks:
                nth = earliest + 7 * (rank - 1) if rank else earliest + 7 * ((length - earliest) // 7)
                if nth <= length:
                    by_weekday |= 1 << nth
        return (by_day & by_weekday if self._both else by_day | by_weekday) & inside

    def exists(self) -> bool:
        """Whether any day of the calendar matches, which repeats after 400 years."""
        # From 2000 on: what exists is mostly found in its first years.
        return any(self.mask(month) for month in range(2000 * 12, 2000 * 12 + _CYCLE))

    def next(self, day: int) -> int | None:
        """The first matching day at or after `day`."""
        if not _FIRST_DAY <= day <= _LAST_DAY:
            return None
        if self.every:
            return day
        start = date.fromordinal(day + _EPOCH)
        month = start.year * 12 + start.month - 1
        rest = self.mask(month) >> start.day
        if rest:
            return day + (rest & -rest).bit_length() - 1
        for later in range(month + 1, min(month + 1 + _CYCLE, 120_000)):
            mask = self.mask(later)
            if mask:
                return _ordinal(later) + (mask & -mask).bit_length() - 2 - _EPOCH
        return None

    def previous(self, day: int) -> int | None:
        """The last matching day at or before `day`."""
        if not _FIRST_DAY <= day <= _LAST_DAY:
            return None
        if self.every:
            return day
        start = date.fromordinal(day + _EPOCH)
        month = start.year * 12 + start.month - 1
        rest = self.mask(month) & ((2 << start.day) - 1)
        if rest:
            return day - start.day + rest.bit_length() - 1
        for earlier in range(month - 1, max(month - 1 - _CYCLE, 11), -1):
            mask = self.mask(earlier)
            if mask:
                return _ordinal(earlier) + mask.bit_length() - 2 - _EPOCH
        return None

    def count(self, first: int, last: int) -> int:
        """How many days match, first <= day <= last."""
        first, last = max(first, _FIRST_DAY), min(last, _LAST_DAY)
        if last < first:
            return 0
        if self.every:
            return last - first + 1
        begin, end = date.fromordinal(first + _EPOCH), date.fromordinal(last + _EPOCH)
        low, high = begin.year * 12 + begin.month - 1, end.year * 12 + end.month - 1
        total = sum(self.mask(month).bit_count() for month in range(low, high + 1))
        total -= (self.mask(low) & ((1 << begin.day) - 1)).bit_count()
        total -= (self.mask(high) >> (end.day + 1)).bit_count()
        return total


def _month_length(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in {4, 6, 9, 11} else 31


def _ordinal(month: int) -> int:
    return date(month // 12, month % 12 + 1, 1).toordinal()


class WallTimes:
    """The wall-clock minutes that five fields match, counted from 1970-01-01 00:00."""

    __slots__ = ("days", "times")

    def __init__(self, times: tuple[int, ...], days: Days) -> None:
        self.times = times
        self.days = days

    def next(self, minute: int) -> int | None:
        """The first matching minute after `minute`; None where the calendar ends."""
        day, time = divmod(minute + 1, _DAY)
        found = self.days.next(day)
        if found == day:
            place = bisect_left(self.times, time)
            if place < len(self.times):
                return day * _DAY + self.times[place]
            found = self.days.next(day + 1)
        return None if found is None else found * _DAY + self.times[0]

    def previous(self, minute: int) -> int | None:
        """The last matching minute at or before `minute`; None where the calendar begins."""
        day, time = divmod(minute, _DAY)
        found = self.days.previous(day)
        if found == day:
            place = bisect_right(self.times, time)
            if place:
                return day * _DAY + self.times[place - 1]
            found = self.days.previous(day - 1)
        return None if found is None else found * _DAY + self.times[-1]

    def count(self, after: int, until: int) -> int:
        """How many minutes match, after < minute <= until."""
        return 0 if until <= after else self._up_to(after, until)

    def _up_to(self, after: int, until: int) -> int:
        first, start = divmod(after, _DAY)
        last, end = divmod(until, _DAY)
        total = self.days.count(first, last) * len(self.times)
        if self.days.count(first, first):
            total -= bisect_right(self.times, start)
        if self.days.count(last, last):
            total -= len(self.times) - bisect_right(self.times, end)
        return total


@lru_cache(maxsize=4096)
def _times(minute: str, hour: str) -> tuple[int, ...]:
    minutes = expand(0, minute).values
    return tuple(h * 60 + m for h in expand(1, hour).values for m in minutes)


@lru_cache(maxsize=4096)
def _days(day: str, month: str, weekday: str, *, both: bool) -> Days:
    return Days(expand(2, day), expand(3, month), expand(4, weekday), both=both)


def wall_times(fields: tuple[str, str, str, str, str], *, both_days: bool) -> WallTimes:
    """The matcher of five guarded fields; its parts are shared by all expressions that have them in common."""
    minute, hour, day, month, weekday = fields
    return WallTimes(_times(minute, hour), _days(day, month, weekday, both=both_days))
