"""The wall clock and the monotonic clock, and how far they have drifted apart."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

JUMP_SECONDS: Final = 2.0
"""A smaller difference is slewing, or the moment between the readings of the two clocks."""


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever go forward, and stand still while the machine sleeps."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class JumpDetector:
    """Sees the wall clock being set, and the machine having slept."""

    wall: datetime
    monotonic: float

    def jump(self, wall: datetime, monotonic: float) -> timedelta | None:
        """How far the wall clock went beyond the time that passed since the last call; None when they agree."""
        passed = timedelta(seconds=monotonic - self.monotonic)
        difference = (wall - self.wall) - passed
        self.wall, self.monotonic = wall, monotonic
        return difference if abs(difference.total_seconds()) > JUMP_SECONDS else None
