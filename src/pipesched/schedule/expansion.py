"""The one place that meets croniter: a cron field's text to the values it stands for."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from pipesched.errors import InvalidValue

_ALL: Final = (range(60), range(24), range(1, 32), range(1, 13), range(7))


class Values(NamedTuple):
    """What a field stands for. `last`: the month's last day too. `nth`: weekday -> which of the month, 0 for the last."""

    values: tuple[int, ...]
    last: bool = False
    nth: tuple[tuple[int, tuple[int, ...]], ...] = ()


@cache
def expand(field: int, text: str) -> Values:
    """The values of field 0 (minute) to 4 (day of week, Sunday 0) of a cron expression.

    `text` has passed `fields.guard`: croniter reads some spellings as no cron does. Raises InvalidValue.
    """
    # Most fields are a star or one number; a command that meets no others need not load croniter (15 ms).
    if text == "*":
        return Values(tuple(_ALL[field]))
    if text.isascii() and text.isdigit() and int(text) in _ALL[field]:
        return Values((int(text),))
    from croniter import CroniterError, croniter

    expression = " ".join(text if place == field else "*" for place in range(5))
    try:
        expanded, nth = croniter.expand(expression)
    except (CroniterError, ValueError, OverflowError) as error:
        # croniter's own words carry the padded expression, and sometimes a traceback.
        raise InvalidValue(
            f"{text!r} cannot be read",
            hint="a field is numbers, names, ranges (1-5), lists (1,3) and steps (*/15)",
        ) from error
    found = expanded[field]
    if field == 4 and nth:
        return Values(
            (),
            nth=tuple(
                (int(day), tuple(sorted(0 if str(which) == "l" else int(which) for which in ranks)))
                for day, ranks in sorted(nth.items())
            ),
        )
    if "*" in found:
        return Values(tuple(_ALL[field]))
    numbers = [value for value in found if isinstance(value, int)]
    return Values(tuple(sorted(numbers)), last=len(numbers) < len(found))
