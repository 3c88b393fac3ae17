"""The schedules without a calendar: a fixed grid of elapsed time, a single instant, the daemon's start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from pipesched.schedule.model import Occurrence
from pipesched.schedule.timetext import format_duration

_DAY: Final = timedelta(days=1)


class IntervalSchedule:
    """Every `step` on a grid that contains `anchor`, before it as well as after it."""

    __slots__ = ("anchor", "step", "text")

    at_start: Final = False

    def __init__(self, step: timedelta, anchor: datetime) -> None:
        self.step = step
        self.anchor = anchor.astimezone(UTC)
        self.text = f"every {format_duration(step.total_seconds())}"

    def next(self, after: datetime) -> Occurrence | None:
        return self._at((after - self.anchor) // self.step + 1)

    def _at(self, place: int) -> Occurrence | None:
        try:
            return Occurrence(self.anchor + place * self.step)
        except OverflowError:
            return None  # beyond the calendar

    def between(self, after: datetime, until: datetime) -> Iterator[Occurrence]:
        found = self.next(after)
        while found is not None and found.at <= until:
            yield found
            found = self.next(found.at)

    def count(self, after: datetime, until: datetime) -> int:
        if until <= after:
            return 0
        return (until - self.anchor) // self.step - (after - self.anchor) // self.step

    def latest(self, after: datetime, until: datetime) -> Occurrence | None:
        found = self._at((until - self.anchor) // self.step)
        return found if found is not None and found.at > after else None

    def period(self, at: datetime) -> timedelta:  # noqa: ARG002  the same at all times
        return self.step


class OnceSchedule:
    """One instant, aware; `text` keeps the offset it was given with."""

    __slots__ = ("at", "text")

    at_start: Final = False

    def __init__(self, at: datetime) -> None:
        self.at = at.astimezone(UTC)
        self.text = f"once at {at.isoformat()}"

    def next(self, after: datetime) -> Occurrence | None:
        return Occurrence(self.at) if self.at > after else None

    def between(self, after: datetime, until: datetime) -> Iterator[Occurrence]:
        if after < self.at <= until:
            yield Occurrence(self.at)

    def count(self, after: datetime, until: datetime) -> int:
        return int(after < self.at <= until)

    def latest(self, after: datetime, until: datetime) -> Occurrence | None:
        return Occurrence(self.at) if after < self.at <= until else None

    def period(self, at: datetime) -> timedelta:  # noqa: ARG002  there is no second one
        return _DAY


class StartSchedule:
    """`@reboot`: due when the daemon starts, and at no time of the clock."""

    __slots__ = ()

    text: Final = "@reboot"
    at_start: Final = True

    def next(self, after: datetime) -> Occurrence | None:  # noqa: ARG002
        return None

    def between(self, after: datetime, until: datetime) -> Iterator[Occurrence]:  # noqa: ARG002
        return iter(())

    def count(self, after: datetime, until: datetime) -> int:  # noqa: ARG002
        return 0

    def latest(self, after: datetime, until: datetime) -> Occurrence | None:  # noqa: ARG002
        return None

    def period(self, at: datetime) -> timedelta:  # noqa: ARG002
        return _DAY
