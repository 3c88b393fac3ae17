"""A schedule without its occurrences inside a blackout, and those apart, with the reason of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pipesched.schedule.blackout import Blackout, Stretch
from pipesched.schedule.model import TICK, Occurrence, Schedule

TRIES: Final = 400
"""How many closed stretches with an occurrence in each are looked through before a schedule counts as never open.

A year of one that is due daily, eight years of one that is due weekly.
"""


@dataclass(frozen=True, slots=True)
class Closed:
    """Consecutive occurrences that a blackout swallows for one reason, `first` to `last`."""

    first: datetime
    last: datetime
    count: int
    reason: str


class OpenSchedule:
    """What `schedule` has outside of `blackout`. Its `next` gives up after TRIES, the others look as far as they are asked."""

    __slots__ = ("_blackout", "_schedule")

    def __init__(self, schedule: Schedule, blackout: Blackout) -> None:
        self._schedule = schedule
        self._blackout = blackout

    @property
    def text(self) -> str:
        return self._schedule.text

    @property
    def at_start(self) -> bool:
        return self._schedule.at_start

    def _closed(self, at: datetime) -> Stretch | None:
        try:
            found = self._blackout.stretch(at)
        except OverflowError:
            return None
        return found if found.reason else None

    def next(self, after: datetime) -> Occurrence | None:
        tries = TRIES
        found = self._schedule.next(after)
        while found is not None and (stretch := self._closed(found.at)) is not None:
            tries -= 1
            if not tries:
                return None
            found = self._schedule.next(stretch.end - TICK)
        return found

    def between(self, after: datetime, until: datetime) -> Iterator[Occurrence]:
        found = self._schedule.next(after)
        while found is not None and found.at <= until:
            stretch = self._closed(found.at)
            if stretch is None:
                yield found
                found = self._schedule.next(found.at)
            else:
                found = self._schedule.next(stretch.end - TICK)

    def count(self, after: datetime, until: datetime) -> int:
        closed = sum(each.count for each in self.closed(after, until))
        return self._schedule.count(after, until) - closed

    def latest(self, after: datetime, until: datetime) -> Occurrence | None:
        found = self._schedule.latest(after, until)
        while found is not None and (stretch := self._closed(found.at)) is not None:
            found = self._schedule.latest(after, stretch.begin - TICK)
        return found

    def period(self, at: datetime) -> timedelta:
        """Of the schedule itself: what a blackout takes out of it makes nothing less urgent."""
        return self._schedule.period(at)

    def closed(self, after: datetime, until: datetime) -> list[Closed]:
        """The occurrences in after < at <= until that the blackout swallows, oldest first.

        Two with one reason and nothing open between them are one.
        """
        found: list[Closed] = []
        goes_on = False  # nothing open has come since the last one
        slot = self._schedule.next(after)
        while slot is not None and slot.at <= until:
            try:
                stretch = self._blackout.stretch(slot.at)
            except OverflowError:
                break
            stop = min(stretch.end - TICK, until)
            if not stretch.reason:
                goes_on = False
            else:
                last = self._schedule.latest(slot.at - TICK, stop)
                assert last is not None
                count = self._schedule.count(slot.at - TICK, stop)
                if goes_on and found[-1].reason == stretch.reason:
                    found[-1] = replace(found[-1], last=last.at, count=found[-1].count + count)
                else:
                    found.append(Closed(slot.at, last.at, count, stretch.reason))
                goes_on = True
            slot = self._schedule.next(stop)
        return found
