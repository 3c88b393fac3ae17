"""IANA zones, and where their clocks change: offsets are looked up in a table, found once for each zone."""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import datetime
from functools import cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from pipesched.errors import InvalidValue

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_FIXED = re.compile(
    r"(?:Etc/)?(?:GMT|UTC)[+-]?\d+(?::?\d\d)?|[A-Z]{1,5}[+-]?\d{1,2}(?::\d\d)?|EST|MST|HST|[+-]\d.*", re.ASCII
)
_UTC_NAMES: Final = frozenset({"GMT0", "GMT+0", "GMT-0", "Etc/GMT0", "Etc/GMT+0", "Etc/GMT-0"})
_NOT_PLACES: Final = ("posix/", "right/", "posixrules", "localtime", "Factory")

_DAY: Final = 86_400
_BLOCK: Final = 128 * _DAY
# Two changes of one zone are 6.9 days apart or more in all of tzdata; a test looks.
_STEP: Final = 4 * _DAY
_MARGIN: Final = 2 * _DAY  # a block knows the change before it, since a clock goes back by a day at most
_FIRST: Final = -62_135_596_800 + 8 * _DAY
_LAST: Final = 253_402_300_799 - 8 * _DAY


@cache
def load_zone(name: str) -> ZoneInfo:
    """The IANA zone `name`. Raises InvalidValue, with the nearest name, or because a fixed offset never shifts."""
    if name not in _UTC_NAMES and _FIXED.fullmatch(name):
        raise InvalidValue(
            f"the zone {name!r} is a fixed offset, which does not follow daylight saving time",
            hint="name a place, such as Europe/Berlin, or UTC",
        )
    if _NAME.fullmatch(name) and not name.startswith(_NOT_PLACES):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass  # said below, once
    near = _nearest(name)
    raise InvalidValue(
        f"there is no time zone {name[:64]!r}",
        hint=f"did you mean {near}?" if near else "use an IANA name, such as Europe/Berlin or UTC",
    )


def _nearest(name: str) -> str | None:
    import difflib

    # Only when a name is wrong: listing them all reads the zone folders.
    known = {zone.lower(): zone for zone in available_timezones() if not zone.startswith(_NOT_PLACES)}
    wanted = name[:64].strip().lower().replace(" ", "_")
    for candidate, zone in sorted(known.items()):
        if candidate.rpartition("/")[2] == wanted:
            return zone
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    if near:
        return known[near[0]]
    cities = {candidate.rpartition("/")[2]: zone for candidate, zone in known.items()}
    near = difflib.get_close_matches(wanted.rpartition("/")[2], cities, n=1, cutoff=0.75)
    return cities[near[0]] if near else None


class Segment(NamedTuple):
    """A stretch of time with one offset: start <= t < end, seconds since the epoch; offsets are seconds east.

    `before` is the offset just before `start`. It equals `offset` where the stretch begins only because the table does.
    """

    start: int
    end: int
    offset: int
    before: int


class ZoneTable:
    """The offsets of one zone, found by probing and kept in blocks, so that no time is too far away."""

    __slots__ = ("_blocks", "zone")

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._blocks: dict[int, tuple[list[int], list[Segment]]] = {}

    def segment(self, at: int) -> Segment:
        """The stretch around `at`. Raises OverflowError outside the years 1 to 9999."""
        index = at // _BLOCK
        block = self._blocks.get(index)
        if block is None:
            if not _FIRST <= at <= _LAST:
                raise OverflowError("outside the years 1 to 9999")
            block = self._blocks[index] = self._probe(index)
        starts, segments = block
        return segments[bisect_right(starts, at) - 1]

    def _probe(self, index: int) -> tuple[list[int], list[Segment]]:
        first = max(index * _BLOCK - _MARGIN, _FIRST - _MARGIN)
        last = min((index + 1) * _BLOCK, _LAST + _MARGIN)
        changes: list[tuple[int, int, int]] = []
        low, offset = first, self._offset(first)
        while low < last:
            high = min(low + _STEP, last)
            found = self._offset(high)
            if found != offset:
                changes.append((self._change(low, high, offset), offset, found))
            low, offset = high, found
        begins = [
            (first, self._offset(first), self._offset(first)),
            *((at, new, old) for at, old, new in changes),
        ]
        ends = [*(at for at, _, _ in changes), last]
        segments = [
            Segment(start, end, offset, before)
            for (start, offset, before), end in zip(begins, ends, strict=True)
            if start < end
        ]
        return [segment.start for segment in segments], segments

    def _change(self, low: int, high: int, offset: int) -> int:
        """The first second in low < t <= high whose offset is not `offset`."""
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high

    def _offset(self, at: int) -> int:
        delta = datetime.fromtimestamp(at, self.zone).utcoffset()
        assert delta is not None
        return delta.days * _DAY + delta.seconds


@cache
def zone_table(name: str) -> ZoneTable:
    """The table of the zone `name`, one for all its schedules. Raises InvalidValue."""
    return ZoneTable(load_zone(name))
