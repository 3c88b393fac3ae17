"""APScheduler's triggers, as its exports hold them, in cron's words. Its weekdays count from 0 = Monday, cron's from Sunday."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipesched.errors import InvalidValue

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# From the largest unit to the smallest: the order in which a field that is not given gets its default.
FIELDS: Final = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
_SMALLEST: Final = {"month": "1", "day": "1", "hour": "0", "minute": "0", "second": "0"}
_RANKS: Final = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5}

_TEXT = re.compile(r"\s*(cron|interval|date)\[(.*)\]\s*", re.DOTALL)
_PAIR = re.compile(r"([a-z_]+)='([^']*)'")
_INTERVAL = re.compile(
    r"(?:(?P<days>-?\d{1,9}) days?, )?(?P<hours>\d{1,2}):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d{1,6})?)"
)
_DATE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?) ?(.*)")
_WEEKDAY_ITEM = re.compile(
    r"(?:(?P<all>\*)|(?P<first>[a-z]{3}|\d{1,2})(?:-(?P<last>[a-z]{3}|\d{1,2}))?)(?:/(?P<step>\d{1,2}))?",
    re.ASCII,
)
_POSITION = re.compile(r"(1st|2nd|3rd|4th|5th|last) +([a-z]{3})")


@dataclass(frozen=True, slots=True)
class Cron:
    """`expression` has five fields."""

    expression: str


@dataclass(frozen=True, slots=True)
class Interval:
    seconds: float


@dataclass(frozen=True, slots=True)
class Date:
    """`wall`: as `2025-06-20 15:30:00`; `zone`: what followed it, such as UTC, CDT or nothing."""

    wall: str
    zone: str


def read_text(text: str) -> Cron | Interval | Date:
    """The trigger in `cron[hour='2', minute='0']`, `interval[1 day, 0:30:00]`, `date[2025-06-20 15:30:00 UTC]`.

    Raises InvalidValue.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InvalidValue(
            f"the trigger {text!r:.80} cannot be read",
            hint="it should be cron[...], interval[...] or date[...]",
        )
    kind, inside = match[1], match[2].strip()
    if kind == "cron":
        pairs = _PAIR.findall(inside)
        if ", ".join(f"{name}='{value}'" for name, value in pairs) != inside:
            raise _unreadable(text)
        return Cron(expression(dict(pairs)))
    if kind == "interval":
        found = _INTERVAL.fullmatch(inside)
        if found is None:
            raise _unreadable(text)
        parts = {name: float(value or 0) for name, value in found.groupdict().items()}
        return Interval(
            parts["days"] * 86_400 + parts["hours"] * 3600 + parts["minutes"] * 60 + parts["seconds"]
        )
    dated = _DATE.fullmatch(inside)
    if dated is None:
        raise _unreadable(text)
    return Date(dated[1], dated[2].strip())


def _unreadable(text: str) -> InvalidValue:
    return InvalidValue(
        f"the trigger {text!r:.80} cannot be read", hint="add the job by hand: pipesched add-cron --help"
    )


def read_fields(fields: Any) -> Cron:
    """The trigger in `[{name, is_default, expressions: [{step, first?, last?}]}]`. Raises InvalidValue."""
    if not isinstance(fields, list) or not fields:
        raise InvalidValue(
            "its cron fields are not in the file, so that its schedule cannot be recovered",
            hint="add the job by hand: pipesched add-cron --help",
        )
    given = {}
    for field in fields:
        name = field.get("name") if isinstance(field, dict) else None
        expressions = field.get("expressions") if isinstance(field, dict) else None
        if not isinstance(name, str) or not isinstance(expressions, list) or not expressions:
            raise InvalidValue(
                f"the cron field {field!r:.80} cannot be read", hint="it has a name and expressions"
            )
        given[name] = ",".join(_expression(name, each) for each in expressions)
    return Cron(expression(given))


def _expression(name: str, document: Any) -> str:
    """One of a field's expressions as text: {"step": 5} is `*/5`, {"first": 1, "last": 5} is `1-5`."""
    if isinstance(document, str):
        return document
    if not isinstance(document, dict):
        raise InvalidValue(f"{name}: the expression {document!r:.80} cannot be read", hint="it is an object")
    first, last, step = (document.get(key) for key in ("first", "last", "step"))
    for value in (first, last, step):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
            raise InvalidValue(
                f"{name}: the expression {document!r:.80} cannot be read", hint="its values are numbers"
            )
    strange = set(document) - {"first", "last", "step"}
    if strange:
        raise InvalidValue(
            f"{name}: the expression {document!r:.80} has no counterpart here", hint="add the job by hand"
        )
    if first is None:
        text = "*"
    elif last is None:
        # Without a step it is that one value, with one it goes on to the end of the range.
        text = str(first)
    else:
        text = str(first) if first == last else f"{first}-{last}"
    if step in {None, 1} or (first is not None and first == last):
        return text
    return f"{text}/{step}"


def expression(fields: Mapping[str, str]) -> str:
    """Five cron fields for APScheduler's fields; one that is not given is its smallest value below the last given, else `*`.

    Raises InvalidValue for what cron cannot say.
    """
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise InvalidValue(
            f"there is no cron field {unknown[0]!r}", hint=f"the fields are {', '.join(FIELDS)}"
        )
    texts: dict[str, str] = {}
    given = {name: text.strip().lower() for name, text in fields.items()}
    left = len(given)
    for name in FIELDS:
        if name in given:
            texts[name] = given[name]
            left -= 1
        else:
            texts[name] = "*" if left else _SMALLEST.get(name, "*")
    if not given:
        raise InvalidValue("no cron field is given", hint="such as hour, minute, day_of_week")
    for name, plain in (("year", {"*", "*/1"}), ("week", {"*", "*/1"}), ("second", {"0"})):
        if texts[name] not in plain:
            raise InvalidValue(
                f"{name} {texts[name]!r} cannot be said in five cron fields",
                hint="seconds and weeks are for add-interval, a year for add-once or --start and --end",
            )
    day, weekday = _days(texts["day"], weekdays(texts["day_of_week"]))
    return f"{texts['minute']} {texts['hour']} {day} {texts['month']} {weekday}"


def _days(day: str, weekday: str) -> tuple[str, str]:
    """Day of month and day of week. Both must match there; cron takes either, unless one starts with a star."""
    if day == "last":
        day = "L"
    positions = [_POSITION.fullmatch(item.strip()) for item in day.split(",")]
    if any(positions):
        if not all(positions) or weekday != "*":
            raise InvalidValue(
                f"day {day!r} together with other days cannot be said in cron", hint="add one job for each"
            )
        found = [match for match in positions if match]
        return "*", ",".join(
            f"L{(_weekday(match[2]) + 1) % 7}"
            if match[1] == "last"
            else f"{WEEKDAYS[_weekday(match[2])]}#{_RANKS[match[1]]}"
            for match in found
        )
    if weekday != "*" and not day.startswith("*"):
        raise InvalidValue(
            f"both day {day!r} and day of week {weekday!r} had to match there; cron fires when either does",
            hint="add it by hand with one of them, or the nth weekday of the month: mon#1",
        )
    return day, weekday


def weekdays(text: str) -> str:
    """A day_of_week field, in which 0 is Monday and 6 Sunday, as cron's, with names. Raises InvalidValue."""
    chosen: set[int] = set()
    for item in text.strip().lower().split(","):
        match = _WEEKDAY_ITEM.fullmatch(item.strip())
        if match is None:
            raise InvalidValue(
                f"day_of_week {text!r:.40} cannot be read", hint="such as sun, mon-fri or 0-4 (0 = Monday)"
            )
        step = int(match["step"] or 1)
        if match["all"]:
            first, last = 0, 6
        else:
            first = _weekday(match["first"])
            last = _weekday(match["last"]) if match["last"] else (6 if match["step"] else first)
        if step < 1 or first > last:
            raise InvalidValue(
                f"day_of_week {text!r:.40} runs backwards", hint="0 or mon is the first, 6 or sun the last"
            )
        chosen.update(range(first, last + 1, step))
    return "*" if len(chosen) == 7 else _named(sorted(chosen))


def _weekday(text: str) -> int:
    if text in WEEKDAYS:
        return WEEKDAYS.index(text)
    if text.isdigit() and int(text) <= 6:
        return int(text)
    raise InvalidValue(
        f"day_of_week {text!r} cannot be used",
        hint="it counts from 0 = Monday to 6 = Sunday there; or write mon to sun",
    )


def _named(days: Iterable[int]) -> str:
    """`mon-fri` for what follows one another, else `mon,wed`."""
    numbers = list(days)
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{WEEKDAYS[numbers[0]]}-{WEEKDAYS[numbers[-1]]}"
    return ",".join(WEEKDAYS[number] for number in numbers)
