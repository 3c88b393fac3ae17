"""How long ago, how long until and how many, in the two words that people read."""

from __future__ import annotations

from datetime import datetime, timedelta


def span(duration: timedelta | float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`, `3 d 4 h`; the two largest units, cut; seconds below a minute alone."""
    seconds = int(max(0.0, duration.total_seconds() if isinstance(duration, timedelta) else duration))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes:02} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"


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
