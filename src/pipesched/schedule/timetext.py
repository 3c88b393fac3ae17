"""Times and durations as people write them: `90m`, `1d`, `2026-12-24 18:00`, `+2h`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Final

from pipesched.errors import InvalidValue

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST: Final = 36_525 * 86_400  # a hundred years: beyond it lies a slip of the finger
_PART = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([wdhms])", re.ASCII)
_DURATION_HINT: Final = "write it as 90s, 30m, 2h, 1d or 1h30m"

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s?([Zz]|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)
_TIME_HINT: Final = "write it as 2026-12-24, 2026-12-24 18:00, 2026-12-24T18:00:00+01:00 or +2h"


def parse_duration(text: str, *, allow_zero: bool = False) -> float:
    """Seconds, from whole or decimal numbers with the units w, d, h, m, s, the greatest first: `1h30m`, `1h 30m`.

    At most a hundred years. Raises InvalidValue.
    """
    rest = text.strip().lower()
    if rest.isascii() and rest.isdigit() and rest.strip("0"):
        raise InvalidValue(
            f"the duration {_shown(text)} has no unit", hint=f"seconds are {rest[:12]}s, minutes {rest[:12]}m"
        )
    total = Decimal(0)
    smallest: int | None = None
    position = 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None:
            break
        unit = _UNITS[match[2]]
        if smallest is not None and unit >= smallest:
            raise InvalidValue(
                f"the duration {_shown(text)} names its units twice or out of order", hint=_DURATION_HINT
            )
        total += Decimal(match[1]) * unit
        smallest = unit
        position = match.end()
    if rest in {"0", "00"}:
        smallest = 1
    elif position < len(rest) or smallest is None:
        raise InvalidValue(f"{_shown(text)} is not a duration", hint=_DURATION_HINT)
    if total == 0 and not allow_zero:
        raise InvalidValue(f"the duration {_shown(text)} is zero", hint="it must be longer than nothing")
    if total > _LONGEST:
        raise InvalidValue(f"the duration {_shown(text)} is longer than a hundred years", hint=_DURATION_HINT)
    return float(total)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds` (to the microsecond): 5400 -> `1h30m`."""
    micros = round(abs(seconds) * 1_000_000)
    parts = []
    for name, unit in _UNITS.items():
        # Weeks only where nothing else is needed: 10 days are `10d`, not `1w3d`.
        if name == "w" and micros % (unit * 1_000_000):
            continue
        if name == "s":
            break
        count, micros = divmod(micros, unit * 1_000_000)
        if count:
            parts.append(f"{count}{name}")
    if micros or not parts:
        whole, fraction = divmod(micros, 1_000_000)
        parts.append(f"{whole}.{fraction:06d}".rstrip("0").rstrip(".") + "s")
    return ("-" if seconds < 0 and parts != ["0s"] else "") + "".join(parts)


def format_relative(at: datetime, now: datetime) -> str:
    """How far `at` is from `now`, to one unit, for people: `in 3 h`, `2 d ago`, `now`."""
    seconds = (at - now).total_seconds()
    size = abs(seconds)
    for name, unit in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        # Two of a unit at least (36 h rather than 1 d), so that the rounding stays small.
        if size >= 2 * unit or (name != "d" and size >= unit):
            words = f"{int(size / unit + 0.5)} {name}"
            return f"in {words}" if seconds > 0 else f"{words} ago"
    return "now"


def parse_time(text: str, *, zone: tzinfo, now: datetime) -> datetime:
    """An instant, aware in UTC: RFC 3339, `YYYY-MM-DD[ HH:MM[:SS]]` in `zone`, or `+DURATION` from `now`.

    A wall time that occurs twice is its first pass. Raises InvalidValue, also for one that the clocks skip.
    """
    stripped = text.strip()
    if stripped.startswith("+"):
        return _moved(now, parse_duration(stripped[1:]), text)
    match = _TIME.fullmatch(stripped)
    if match is None:
        raise InvalidValue(f"{_shown(text)} is not a time", hint=_TIME_HINT)
    year, month, day, hour, minute, second = (int(part or 0) for part in match.group(1, 2, 3, 4, 5, 6))
    micros = int((match[7] or "").ljust(6, "0")[:6])
    try:
        wall = datetime(year, month, day, hour, minute, second, micros)  # noqa: DTZ001  its zone comes next
        if match[8] is not None:
            return wall.replace(tzinfo=_offset(match[8])).astimezone(UTC)
        return _at_wall(wall, zone)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(f"{_shown(text)} is not a time: {error}", hint=_TIME_HINT) from error


def parse_since(text: str, *, zone: tzinfo, now: datetime) -> datetime:
    """As `parse_time`, and a bare DURATION goes back from `now`. Raises InvalidValue."""
    if _PART.match(text.lower()):
        return _moved(now, -parse_duration(text), text)
    return parse_time(text, zone=zone, now=now)


def _offset(text: str) -> timezone:
    if text in {"Z", "z"}:
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(f"there is no offset {text}")
    delta = timedelta(hours=hours, minutes=minutes)
    return timezone(-delta if text[0] == "-" else delta)


def _at_wall(wall: datetime, zone: tzinfo) -> datetime:
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    back = instant.astimezone(zone)
    if back.replace(tzinfo=None, fold=0) != wall:
        # In a gap fold=0 is read with the offset from before it (PEP 495), which lands as far behind the gap.
        raise InvalidValue(
            f"{wall:%Y-%m-%d %H:%M} does not exist in {zone}: the clocks go forward over it",
            hint=f"the same moment by the clock after the change is {back:%Y-%m-%d %H:%M}",
        )
    return instant


def _moved(now: datetime, seconds: float, text: str) -> datetime:
    try:
        return (now + timedelta(seconds=seconds)).astimezone(UTC)
    except OverflowError as error:
        raise InvalidValue(f"{_shown(text)} is beyond the calendar", hint=_TIME_HINT) from error


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
