"""A cron expression, or an interval's grid, as systemd calendar events; several of them stand for either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Final

from pipesched.errors import InvalidValue
from pipesched.jobs.formats.grids import Times
from pipesched.schedule.expansion import Values, expand
from pipesched.schedule.fields import split

_NAMES: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_ALL_DAYS: Final = tuple(range(1, 32))
_ALL_WEEKDAYS: Final = tuple(range(7))
_LAST_DAY: Final = "last"


@dataclass(frozen=True, slots=True)
class _Nth:
    """The rank-th of a weekday in the month; rank 0 is the last."""

    weekday: int
    rank: int


_DayOfMonth = tuple[int, ...] | str
_DayOfWeek = tuple[int, ...] | _Nth


def of_cron(expression: str, *, zone: str, job_id: str) -> list[str]:
    """`OnCalendar=` values, one a line; together they elapse when the expression fires. Raises InvalidValue."""
    fields = split(expression, job_id=job_id)
    minute, hour, day, month, weekday = (expand(place, text) for place, text in enumerate(fields.fields))
    days, weekdays = _days(day), _weekdays(weekday)
    if fields.both_days:
        pairs = list(product(days, weekdays))
    else:
        pairs = [*((each, _ALL_WEEKDAYS) for each in days), *((_ALL_DAYS, each) for each in weekdays)]
    time = f"{_numbers(hour.values, 0, 23)}:{_numbers(minute.values, 0, 59)}:00 {zone}"
    months = _numbers(month.values, 1, 12)
    dates = [text for each, named in pairs if (text := _date(each, named, months, expression))]
    return [f"{date} {time}" for date in dict.fromkeys(dates)]


def _days(values: Values) -> list[_DayOfMonth]:
    found: list[_DayOfMonth] = [values.values] if values.values else []
    return [*found, _LAST_DAY] if values.last else found


def _weekdays(values: Values) -> list[_DayOfWeek]:
    found: list[_DayOfWeek] = [values.values] if values.values else []
    return [*found, *(_Nth(day, rank) for day, ranks in values.nth for rank in ranks)]


def _date(day: _DayOfMonth, weekday: _DayOfWeek, months: str, expression: str) -> str:
    """`Fri *-*-08..14`; empty where no day matches both. Raises InvalidValue."""
    if isinstance(weekday, _Nth):
        name, rank = _NAMES[weekday.weekday], weekday.rank
        if rank == 0 and day == _ALL_DAYS:
            return f"{name} *-{months}~07/1"
        if rank == 0 or isinstance(day, str):
            raise InvalidValue(
                f"systemd cannot say the days of {expression!r} in one event", hint="make two jobs of it"
            )
        week = set(range(7 * rank - 6, 7 * rank + 1))
        day = tuple(value for value in day if value in week)
        if not day:
            return ""
        return f"{name} *-{months}-{_numbers(day, 1, 31)}"
    names = _weekday_names(weekday)
    if isinstance(day, str):
        return f"{names}*-{months}~01"
    return f"{names}*-{months}-{_numbers(day, 1, 31)}"


def of_grid(times: Sequence[Times]) -> list[str]:
    """The same for an interval's grid, in UTC."""
    return [
        f"{_weekday_names(_ALL_WEEKDAYS if each.weekday is None else [each.weekday])}*-*-*"
        f" {_numbers(each.hours, 0, 23)}:{_numbers(each.minutes, 0, 59)}:{_numbers(each.seconds, 0, 59)} UTC"
        for each in times
    ]


def _weekday_names(values: Sequence[int]) -> str:
    if len(values) == 7:
        return ""
    return ",".join(_NAMES[value] for value in sorted(values, key=lambda day: (day - 1) % 7)) + " "


def _numbers(values: Sequence[int], low: int, high: int) -> str:
    """`*`, `00/15`, `01..05` or `01,07`: steps where there are many, so that a line stays short."""
    if len(values) == high - low + 1:
        return "*"
    if len(values) > 2:
        step = values[1] - values[0]
        if all(later - earlier == step for earlier, later in pairwise(values)):
            if step == 1:
                return f"{values[0]:02}..{values[-1]:02}"
            if values[-1] + step > high:
                return f"{values[0]:02}/{step}"
            return f"{values[0]:02}..{values[-1]:02}/{step}"
    return ",".join(_runs(values))


def _runs(values: Sequence[int]) -> Iterator[str]:
    start = previous = None
    for value in [*values, None]:
        if previous is not None and value == previous + 1:
            previous = value
            continue
        if start is not None and previous is not None:
            yield f"{start:02}" if start == previous else f"{start:02}..{previous:02}"
        start = previous = value
