"""An interval's grid as times of the day in UTC, where it is the same every day, or every week."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from pipesched.jobs.model import IntervalTrigger

_DAY: Final = 86_400
_WEEK: Final = 7 * _DAY


@dataclass(frozen=True, slots=True)
class Times:
    """Every combination of these, in UTC. `weekday`: only on that day, 0 = Sunday."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    weekday: int | None = None


def daily_times(trigger: IntervalTrigger) -> list[Times]:
    """The grid, as few combinations as can be; nothing where it is another one each day, or finer than a second."""
    anchor = trigger.anchor.astimezone(UTC)
    if not trigger.seconds.is_integer() or anchor.microsecond:
        return []
    step = int(trigger.seconds)
    begin = anchor.hour * 3600 + anchor.minute * 60 + anchor.second
    if step == _WEEK:
        return [Times((anchor.hour,), (anchor.minute,), (anchor.second,), anchor.isoweekday() % 7)]
    if step > _DAY or _DAY % step:
        return []
    hours: dict[tuple[int, int], list[int]] = defaultdict(list)
    for second in range(begin % step, _DAY, step):
        hours[second // 60 % 60, second % 60].append(second // 3600)
    minutes: dict[tuple[tuple[int, ...], int], list[int]] = defaultdict(list)
    for (minute, second), found in hours.items():
        minutes[tuple(found), second].append(minute)
    seconds: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = defaultdict(list)
    for (at_hours, second), at_minutes in minutes.items():
        seconds[at_hours, tuple(sorted(at_minutes))].append(second)
    return [Times(h, m, tuple(sorted(s))) for (h, m), s in seconds.items()]


def cron_expression(trigger: IntervalTrigger) -> str | None:
    """Five cron fields for the grid in UTC, at the whole minute; None where one line cannot say it."""
    whole = trigger.model_copy(
        update={"anchor": trigger.anchor.astimezone(UTC).replace(second=0, microsecond=0)}
    )
    found = daily_times(whole)
    if len(found) != 1 or found[0].seconds != (0,):
        return None
    times = found[0]
    weekday = "*" if times.weekday is None else str(times.weekday)
    return f"{_field(times.minutes, 60)} {_field(times.hours, 24)} * * {weekday}"


def _field(values: Sequence[int], size: int) -> str:
    if len(values) == size:
        return "*"
    if len(values) > 2 and values[0] == 0 and size % values[1] == 0:
        return f"*/{values[1]}"
    return ",".join(map(str, values))
