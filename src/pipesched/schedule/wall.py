"""Naive wall-clock minutes that a cron expression matches; nothing here knows of zones."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import Final

from pipesched.schedule.expansion import Values, expand

_EPOCH: Final = date(1970, 1, 1).toordinal()
_FIRST_DAY: Final = 1 - _EPOCH
_LAST_DAY: Final = date.max.toordinal() - _EPOCH
_DAY: Final = 1440
_LENGTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CYCLE: Final = 400
"""Years after which the calendar repeats, weekdays included."""


def _kind(year: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return date(year, 1, 1).toordinal() % 7 + 7 * leap  # ordinal 1, 0001-01-01, is a Monday; Sunday is 0


# Fourteen kinds of year are all there are: each begins on one of seven weekdays, and leaps or not.
_KINDS: Final = tuple(_kind(year) for year in range(_CYCLE, 2 * _CYCLE))


class Days:
    """The days that three fields match: day of month, month, day of week. Days count from 1970-01-01."""

    __slots__ = ("_both", "_day", "_month", "_weekday", "_years", "every")

    def __init__(self, day: Values, month: Values, weekday: Values, *, both: bool) -> None:
        self._day = day
        self._month = month
        self._weekday = weekday
        self._both = both
        self._years: list[tuple[int, ...] | None] = [None] * 14
        self.every = len(month.values) == 12 and len(day.values) == 31 and len(weekday.values) == 7

    def year(self, year: int) -> tuple[int, ...]:
        """The matching days of each of a year's months, as bits 1 to 31."""
        kind = _KINDS[year % _CYCLE]
        found = self._years[kind]
        if found is None:
            found = self._years[kind] = tuple(self._months(kind % 7, leap=kind >= 7))
        return found

    def _months(self, weekday: int, *, leap: bool) -> Iterator[int]:
        for month, usual in enumerate(_LENGTHS, start=1):
            length = usual + (leap and month == 2)
            yield self._match(weekday, length) if month in self._month.values else 0
            weekday = (weekday + length) % 7

    def _match(self, weekday: int, length: int) -> int:
        """The matching days of a month that begins on `weekday`."""
        by_day = sum(1 << value for value in self._day.values)
        if self._day.last:
            by_day |= 1 << length
        by_weekday = sum(
            1 << day for day in range(1, length + 1) if (weekday + day - 1) % 7 in self._weekday.values
        )
        for wanted, ranks in self._weekday.nth:
            days = range(1 + (wanted - weekday) % 7, length + 1, 7)
            by_weekday |= sum(1 << days[rank - 1] for rank in ranks if rank <= len(days))  # rank 0: days[-1]
        matching = by_day & by_weekday if self._both else by_day | by_weekday
        return matching & ((2 << length) - 2)

    def exists(self) -> bool:
        """Whether any day of the calendar matches."""
        return any(any(self.year(year)) for year in range(2000, 2000 + _CYCLE))

    def next(self, day: int) -> int | None:
        """The first matching day at or after `day`."""
        if self.every or not _FIRST_DAY <= day <= _LAST_DAY:
            return day if _FIRST_DAY <= day <= _LAST_DAY else None
        start = date.fromordinal(day + _EPOCH)
        months = self.year(start.year)
        rest = months[start.month - 1] >> start.day
        if rest:
            return day + (rest & -rest).bit_length() - 1
        first = start.month
        for year in range(start.year, min(start.year + _CYCLE, 9999) + 1):
            months = self.year(year)
            for month in range(first, 12):
                mask = months[month]
                if mask:
                    return date(year, month + 1, (mask & -mask).bit_length() - 1).toordinal() - _EPOCH
            first = 0
        return None

    def previous(self, day: int) -> int | None:
        """The last matching day at or before `day`."""
        if self.every or not _FIRST_DAY <= day <= _LAST_DAY:
            return day if _FIRST_DAY <= day <= _LAST_DAY else None
        start = date.fromordinal(day + _EPOCH)
        months = self.year(start.year)
        rest = months[start.month - 1] & ((2 << start.day) - 1)
        if rest:
            return day - start.day + rest.bit_length() - 1
        last = start.month - 2
        for year in range(start.year, max(start.year - _CYCLE, 1) - 1, -1):
            months = self.year(year)
            for month in range(last, -1, -1):
                if months[month]:
                    return date(year, month + 1, months[month].bit_length() - 1).toordinal() - _EPOCH
            last = 11
        return None

    def count(self, first: int, last: int) -> int:
        """How many days match, first <= day <= last."""
        first, last = max(first, _FIRST_DAY), min(last, _LAST_DAY)
        if last < first:
            return 0
        if self.every:
            return last - first + 1
        begin, end = date.fromordinal(first + _EPOCH), date.fromordinal(last + _EPOCH)
        total = sum(mask.bit_count() for year in range(begin.year, end.year + 1) for mask in self.year(year))
        months = self.year(begin.year)
        total -= sum(mask.bit_count() for mask in months[: begin.month - 1])
        total -= (months[begin.month - 1] & ((1 << begin.day) - 1)).bit_count()
        months = self.year(end.year)
        total -= sum(mask.bit_count() for mask in months[end.month :])
        total -= (months[end.month - 1] >> (end.day + 1)).bit_count()
        return total


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
        if until <= after:
            return 0
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
