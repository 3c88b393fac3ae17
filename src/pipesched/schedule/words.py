"""A cron expression in plain English."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pipesched.schedule.expansion import Values, expand
from pipesched.schedule.fields import DAY, HOUR, LONGEST, MINUTE, MONTH, REBOOT, WEEKDAY, Expression, split

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_RANKS: Final = ("last", "first", "second", "third", "fourth", "fifth")
_EVERY_DAY: Final = "every day"
_TIMES_SPELLED_OUT: Final = 6


@dataclass(frozen=True, slots=True)
class Explanation:
    """`words`: when it fires. `rule`: how day of month and day of week go together. `fixed`: see schedule.cron."""

    words: str
    rule: str
    fixed: bool


def explain(expression: str, *, job_id: str | None = None) -> Explanation:
    """Say when `expression` fires. Without `job_id` an `H` stays a value of the job's own. Raises InvalidValue."""
    if len(expression) <= LONGEST and expression.strip().lower() == REBOOT:
        return Explanation(
            "when the scheduler starts", "it has no days: it fires at every start", fixed=False
        )
    fields = split(expression, job_id=job_id or "")
    values = [expand(place, text) for place, text in enumerate(fields.fields)]
    # What H stands for is not known without a job.
    own = {
        place: text
        for place, text in enumerate(fields.source)
        if job_id is None and any(item[:1] in {"h", "H"} for item in text.split(","))
    }
    times = (
        _own_times(values, own)
        if own.keys() & {MINUTE, HOUR}
        else _times(values[MINUTE].values, values[HOUR].values)
    )
    days = _days(values, own, both=fields.both_days)
    if days == _EVERY_DAY and len(values[HOUR].values) == 24:
        days = ""  # every hour says it already
    words = times + (f" {days}" if days else "") + _months(values, own)
    return Explanation(words, _rule(fields), fields.fixed)


def _times(minutes: Sequence[int], hours: Sequence[int]) -> str:
    if len(minutes) * len(hours) <= _TIMES_SPELLED_OUT:
        return "at " + _and([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])
    every = _every(minutes)
    if every and len(hours) == 24:
        return every
    if every and hours == tuple(range(hours[0], hours[-1] + 1)):
        return f"{every} from {hours[0]:02}:{minutes[0]:02} to {hours[-1]:02}:{minutes[-1]:02}"
    return f"{every or 'at ' + _numbers('minute', minutes)} of {_hours(hours)}"


def _every(minutes: Sequence[int]) -> str:
    """`every 15 minutes` where the hour's turn does not break the rhythm; else empty."""
    if len(minutes) == 60:
        return "every minute"
    step = 60 // len(minutes)
    return f"every {step} minutes" if len(minutes) > 1 and tuple(minutes) == tuple(range(0, 60, step)) else ""


def _hours(hours: Sequence[int]) -> str:
    return "every hour" if len(hours) == 24 else _numbers("hour", hours)


def _own_times(values: Sequence[Values], own: dict[int, str]) -> str:
    minute = (
        f"at a minute of the job's own ({own[MINUTE]})"
        if MINUTE in own
        else _every(values[MINUTE].values) or f"at {_numbers('minute', values[MINUTE].values)}"
    )
    hour = f"an hour of the job's own ({own[HOUR]})" if HOUR in own else _hours(values[HOUR].values)
    return f"{minute} of {hour}"


def _days(values: Sequence[Values], own: dict[int, str], *, both: bool) -> str:
    day = f"a day of the job's own ({own[DAY]})" if DAY in own else _day_of_month(values[DAY])
    weekday = f"a weekday of the job's own ({own[WEEKDAY]})" if WEEKDAY in own else _weekday(values[WEEKDAY])
    if not both:
        # Either is enough: where one of them is every day, so is the whole.
        return f"on {day or _EVERY_DAY} or on {weekday or 'every day of the week'}"
    if day and weekday:
        return f"on {day} where that is {weekday}"
    return f"on {day or weekday}" if day or weekday else _EVERY_DAY


def _day_of_month(days: Values) -> str:
    if len(days.values) == 31:
        return ""
    last = "the last day of the month"
    if not days.values:
        return last
    return f"{_numbers('day', days.values)} of the month" + (f" and {last}" if days.last else "")


def _weekday(days: Values) -> str:
    if days.nth:
        return _and(
            [f"the {_RANKS[rank]} {_WEEKDAYS[day]} of the month" for day, ranks in days.nth for rank in ranks]
        )
    # Weeks are read from Monday: saturday and sunday, not sunday and saturday.
    week = sorted(days.values, key=lambda day: (day - 1) % 7)
    return "" if len(week) == 7 else _runs(week, lambda day: _WEEKDAYS[day], size=7)


def _months(values: Sequence[Values], own: dict[int, str]) -> str:
    if MONTH in own:
        return f" in a month of the job's own ({own[MONTH]})"
    months = values[MONTH].values
    return "" if len(months) == 12 else f" in {_runs(months, lambda month: _MONTHS[month - 1])}"


def _rule(fields: Expression) -> str:
    stars = [
        name
        for name, place in (("day of month", DAY), ("day of week", WEEKDAY))
        if fields.fields[place].startswith("*")
    ]
    if not stars:
        return "either day of month or day of week is enough, as neither field starts with *"
    plain = [fields.fields[place] == "*" for place in (DAY, WEEKDAY)]
    if all(plain):
        return "neither day of month nor day of week restricts anything, as both fields are *"
    if any(plain):
        other, free = ("day of week", "day of month") if plain[0] else ("day of month", "day of week")
        return f"{other} alone decides, as {free} is *"
    which = "both fields start" if len(stars) == 2 else f"{stars[0]} starts"
    return f"day of month and day of week must both match, as {which} with *"


def _numbers(noun: str, numbers: Sequence[int]) -> str:
    """`minute 5`, `minutes 10 to 20 and 30`, and a long even row as `every 7th minute from 0 to 56`."""
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    if len(numbers) > 4 and len(steps) == 1 and (step := steps.pop()) > 1:
        return f"every {_ordinal(step)} {noun} from {numbers[0]} to {numbers[-1]}"
    return f"{noun}{'s' * (len(numbers) > 1)} {_runs(numbers, str)}"


def _runs(numbers: Sequence[int], name: Callable[[int], str], *, size: int = 1_000) -> str:
    """`1 to 5 and 9`. `size`: the numbers go round after so many."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == (runs[-1][-1] + 1) % size:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts: list[str] = []
    for run in runs:
        if len(run) > 2:
            parts.append(f"{name(run[0])} to {name(run[-1])}")
        else:
            parts += [name(number) for number in run]
    return _and(parts)


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
