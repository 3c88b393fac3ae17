"""How long ago, how long until and how many, in the two words that people read."""

from __future__ import annotations

from datetime import datetime, timedelta

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(duration: timedelta | float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`, `3 d 4 h`; the two largest units, cut; seconds below a minute alone."""
    seconds = int(max(0.0, duration.total_seconds() if isinstance(duration, timedelta) else duration))
    for (size, unit), smaller in zip(_UNITS, (*_UNITS[1:], None), strict=True):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            if smaller is None or unit == "min" or rest < smaller[0]:
                return f"{whole} {unit}"
            return (
                f"{whole} {unit} {rest // smaller[0]:02} {smaller[1]}"
                if unit == "h"
                else f"{whole} {unit} {rest // smaller[0]} {smaller[1]}"
            )
    return "0 s"


def ago(then: datetime, now: datetime) -> str:
    """`3 min ago`, `just now`; `in 3 min` for a time to come. Both aware."""
    seconds = (now - then).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def took(seconds: float | None) -> str:
    """A run's duration: `0.84 s`, `12 s`, `3 min 34 s`, `2 h 05 min`; "" where there is none."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if 1 <= minutes < 60 else span(seconds)


def count(number: int, word: str) -> str:
    """`1 chunk`, `12 chunks`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
