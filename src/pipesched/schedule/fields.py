"""A cron expression's five fields: what is refused, with its reason, and what `H` stands for."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final, NamedTuple

from pipesched.errors import InvalidValue

LONGEST: Final = 256
MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
REBOOT: Final = "@reboot"

MINUTE, HOUR, DAY, MONTH, WEEKDAY = range(5)
NAMES: Final = ("minute", "hour", "day of month", "month", "day of week")
BOUNDS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_HASHED: Final = ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))  # 29 to 31 would leave months out
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WORDS: Final[dict[int, dict[str, int]]] = {
    MONTH: {name: number for number, name in enumerate(MONTHS, start=1)},
    WEEKDAY: {name: number for number, name in enumerate(WEEKDAYS)},
}

_VALUE: Final = r"[A-Za-z0-9]+"
_ITEM: Final = re.compile(rf"(?P<low>\*|{_VALUE})(?:-(?P<high>{_VALUE}))?(?:/(?P<step>[0-9]+))?", re.ASCII)
_HASH: Final = re.compile(r"[Hh](?:\((?P<low>[0-9]+)-(?P<high>[0-9]+)\))?(?:/(?P<step>[0-9]+))?", re.ASCII)
_NTH: Final = re.compile(rf"(?P<day>{_VALUE})#(?P<rank>[0-9Ll]+)", re.ASCII)
_LAST: Final = re.compile(r"[Ll](?P<day>[0-7])", re.ASCII)


class Expression(NamedTuple):
    """Five fields, guarded, in lower case, each `H` replaced by its number; `source` has them as they were given."""

    fields: tuple[str, str, str, str, str]
    source: tuple[str, str, str, str, str]

    @property
    def fixed(self) -> bool:
        """Whether the schedule keeps to the wall clock when the clocks change; else it follows elapsed time."""
        return not (self.fields[MINUTE].startswith("*") or self.fields[HOUR].startswith("*"))

    @property
    def both_days(self) -> bool:
        """Whether day of month and day of week must both match; else either is enough."""
        return self.fields[DAY].startswith("*") or self.fields[WEEKDAY].startswith("*")


def split(expression: str, *, job_id: str) -> Expression:
    """The fields of a five-field expression or a macro other than `@reboot`. Raises InvalidValue with the reason."""
    if len(expression) > LONGEST:
        raise InvalidValue(
            f"the cron expression has {len(expression)} characters; {LONGEST} are enough for any",
            hint="use ranges and steps instead of long lists, or several jobs",
        )
    text = expression.strip(" \t")
    if text.startswith("@"):
        macro = MACROS.get(text.lower())
        if macro is None:
            raise _refused(text, f"there is no macro {text}", f"the macros are {' '.join((*MACROS, REBOOT))}")
        text = macro
    parts = re.split(r"[ \t]+", text)
    if len(parts) != 5:
        raise _refused(
            expression,
            "it is empty" if not text else f"it has {len(parts)} field{'s' * (len(parts) != 1)}, not five",
            "the fields are: minute, hour, day of month, month, day of week" + _too_many(len(parts)),
        )
    fields: list[str] = []
    for place, part in enumerate(parts):
        try:
            fields.append(guard(place, part, job_id if "h" in part.lower() else ""))
        except InvalidValue as error:
            raise _refused(expression, f"{NAMES[place]} {error.message}", error.hint) from error
    minute, hour, day, month, weekday = fields
    return Expression((minute, hour, day, month, weekday), (parts[0], parts[1], parts[2], parts[3], parts[4]))


def _refused(expression: str, reason: str, hint: str) -> InvalidValue:
    return InvalidValue(f"the cron expression {expression.strip()!r} cannot be used: {reason}", hint=hint)


def _too_many(count: int) -> str:
    return {6: "; seconds are not for cron: see add-interval", 7: "; leave the seconds and the year out"}.get(
        count, ""
    )


@lru_cache(maxsize=4096)
def guard(place: int, text: str, job_id: str) -> str:
    """The field in lower case with `H` resolved for `job_id`. Raises InvalidValue; its message goes on from the field's name."""
    items = text.split(",")
    if "" in items:
        raise InvalidValue(f"{text!r} has a comma too many", hint="a list is 1,2,3")
    resolved = [_item(place, item, job_id) for item in items]
    ranks = [item for item in resolved if "#" in item or _LAST.fullmatch(item)]
    if place == WEEKDAY and ranks and len(ranks) < len(resolved):
        raise InvalidValue(
            f"{text!r} mixes weekdays with the nth of a month", hint="add one job for each of the two"
        )
    return ",".join(resolved)


def _item(place: int, item: str, job_id: str) -> str:
    lowered = item.lower()
    if hashed := _HASH.fullmatch(item):
        return _hash(place, item, hashed, job_id)
    if lowered[0] == "h" and "h" not in _WORDS.get(place, {}):
        raise InvalidValue(f"{item!r} cannot be read", hint="H is written H, H/15, H(0-29) or H(0-29)/10")
    if re.fullmatch(r"r(\(.*\))?(/.*)?", lowered):
        raise InvalidValue(
            f"{item!r} would be a new random number at every start",
            hint="H is a number that stays the same for the job",
        )
    if "?" in item:
        raise InvalidValue("'?' is Quartz's, and means '*'", hint="write *")
    if place == DAY:
        if lowered == "l":
            return lowered
        if re.fullmatch(r"\d*l?w\d*", lowered):
            raise InvalidValue(
                f"{item!r}: W, the nearest working day, is not supported", hint="write 1-5 as the day of week"
            )
        if lowered.startswith("l"):
            raise InvalidValue(f"{item!r} cannot be read", hint="L alone is the last day of the month")
    if place == WEEKDAY:
        if nth := _NTH.fullmatch(item):
            return _nth(item, nth)
        if _LAST.fullmatch(item):
            return f"l{int(lowered[1]) % 7}"
        if "l" in lowered and re.fullmatch(r"([0-7]|[a-z]{3})?l", lowered):
            raise InvalidValue(f"{item!r} cannot be read", hint="the month's last Friday is L5")
    match = _ITEM.fullmatch(item)
    if match is None:
        raise InvalidValue(
            f"{item!r} cannot be read",
            hint="a field is numbers, names, ranges (1-5), lists (1,3) and steps (*/15)",
        )
    return _range(place, item, match)


def _range(place: int, item: str, match: re.Match[str]) -> str:
    step = _step(item, match["step"])
    if match["low"] == "*":
        if match["high"] is not None:
            raise InvalidValue(f"{item!r} cannot be read", hint="a range is two numbers or names, 1-5")
        return "*" if step is None else f"*/{step}"
    low = _number(place, match["low"])
    if match["high"] is None:
        if step is None:
            return str(low % 7 if place == WEEKDAY else low)
        top = BOUNDS[place][1] if place != WEEKDAY else 6
        if low + step > top:
            raise InvalidValue(f"{item!r} is only {match['low']}", hint=f"write {match['low']}, or */{step}")
        return f"{low}-{top}/{step}"
    high = _number(place, match["high"])
    if place == WEEKDAY and high == 0 and low > 0:
        high = 7  # fri-sun
    if low == high:
        # croniter reads 5-5 as every minute.
        raise InvalidValue(f"{item!r} is a range of one", hint=f"write {match['low']}")
    if low > high:
        # croniter lets it wrap, cron refuses it.
        raise InvalidValue(
            f"{item!r} runs backwards",
            hint=f"write {match['low']}-{_top(place)},{_bottom(place)}-{match['high']}",
        )
    suffix = "" if step is None else f"/{step}"
    if place == WEEKDAY and high == 7:
        values = sorted({day % 7 for day in range(low, 8, step or 1)})
        return ",".join(map(str, values))
    return f"{low}-{high}{suffix}"


def _top(place: int) -> str:
    return {MONTH: "dec", WEEKDAY: "sat"}.get(place, str(BOUNDS[place][1]))


def _bottom(place: int) -> str:
    return {MONTH: "jan", WEEKDAY: "sun"}.get(place, str(BOUNDS[place][0]))


def _number(place: int, text: str) -> int:
    low, high = BOUNDS[place]
    if text.isdigit():
        if len(text) <= 4 and low <= int(text) <= high:
            return int(text)
        raise InvalidValue(f"{text[:20]} is out of range", hint=f"{NAMES[place]} goes from {low} to {high}")
    words = _WORDS.get(place, {})
    number = words.get(text.lower())
    if number is None:
        raise InvalidValue(
            f"{text[:20]!r} is no number{' or name' if words else ''}",
            hint=f"names are {' '.join(words)}" if words else f"{NAMES[place]} goes from {low} to {high}",
        )
    return number


def _step(item: str, text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 4 or int(text) == 0:
        raise InvalidValue(f"{item[:20]!r} has a step of {text[:8]}", hint="a step is 1 or more, as in */15")
    return int(text)


def _nth(item: str, match: re.Match[str]) -> str:
    day = _number(WEEKDAY, match["day"]) % 7
    rank = match["rank"].lower()
    if rank == "l":
        return f"l{day}"
    if rank not in {"1", "2", "3", "4", "5"}:
        raise InvalidValue(
            f"{item!r}: a month has at most five of a weekday",
            hint="write #1 to #5, or L5 for the last Friday",
        )
    return f"{day}#{rank}"


def _hash(place: int, item: str, match: re.Match[str], job_id: str) -> str:
    low, high = _HASHED[place]
    if match["low"] is not None:
        low, high = _number(place, match["low"]), _number(place, match["high"])
        if low >= high:
            raise InvalidValue(f"{item!r} is an empty range", hint="H(0-29) picks one of 0 to 29")
        if place == WEEKDAY:
            high = min(high, 6)
    step = _step(item, match["step"])
    digest = hashlib.sha256(f"{job_id}\0{place}".encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    span = high - low + 1
    if step is None:
        return str(low + number % span)
    if step > span:
        raise InvalidValue(f"{item!r} steps over its whole range", hint="write H for one value")
    first = low + number % step
    # A range of one would be read as the whole field.
    return f"{first}-{high}/{step}" if first + step <= high else str(first)
