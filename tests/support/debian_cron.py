"""Debian cron's wake-up loop, walked minute by minute: the oracle for our schedules. It shares nothing with them."""

import calendar
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
NAMES = (
    {},
    {},
    {},
    {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name},
    {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))},
)
MINUTE_COUNT = 180


@dataclass
class Entry:
    """A crontab line: bit sets, and the flags that entry.c sets where a field's text starts with a star."""

    bits: tuple[frozenset[int], ...]
    min_star: bool
    hr_star: bool
    dom_star: bool
    dow_star: bool

    def matches(self, minute_of_wall: int) -> bool:
        minutes, hours, doms, months, dows = self.bits
        days, minute = divmod(minute_of_wall, 1440)
        if minute % 60 not in minutes or minute // 60 not in hours:
            return False
        wall = date(1970, 1, 1) + timedelta(days=days)
        if wall.month not in months:
            return False
        dom, dow = wall.day in doms, wall.isoweekday() % 7 in dows
        return (dom and dow) if (self.dom_star or self.dow_star) else (dom or dow)

    @property
    def wild(self) -> bool:
        return self.min_star or self.hr_star


def load_entry(text: str) -> Entry:
    fields = text.split()
    bits = [set_of(field, *RANGES[place], NAMES[place]) for place, field in enumerate(fields)]
    if bits[4] & {0, 7}:
        bits[4] |= {0, 7}
    return Entry(
        tuple(frozenset(each) for each in bits), *(fields[place].startswith("*") for place in (0, 1, 2, 4))
    )


def set_of(field: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for item in field.lower().split(","):
        span, _, step = item.partition("/")
        if span == "*":
            first, last = low, high
        else:
            begin, _, end = span.partition("-")
            first = names[begin] if begin in names else int(begin)
            last = (names[end] if end in names else int(end)) if end else (high if step else first)
            if names and "sun" in names and end and last == 0:
                last = 7
        found.update(range(first, last + 1, int(step or 1)))
    return found


def walk(text: str, zone: str, start: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """Every instant at which Debian cron would run the line, start < t <= end, with how often it would.

    cron is up since `start`. Its clock is the wall's, in minutes; the offset is looked up each minute, where cron.c looks
    only when tm_isdst changes. The branches are those of cron.c's main loop.
    """
    entry = load_entry(text)
    place = ZoneInfo(zone)

    def clock_time(at: int) -> int:
        offset = datetime.fromtimestamp(at, place).utcoffset()
        assert offset is not None
        return (at + int(offset.total_seconds())) // 60

    runs: Counter[int] = Counter()

    def find_jobs(now: int, virtual: int, *, do_wild: bool, do_non_wild: bool) -> None:
        if ((do_wild and entry.wild) or (do_non_wild and not entry.wild)) and entry.matches(virtual):
            runs[now] += 1

    now = int(start.timestamp()) // 60 * 60
    virtual_time = clock_time(now)
    while now + 60 <= int(end.timestamp()):
        now += 60
        time_running = clock_time(now)
        difference = time_running - virtual_time
        if difference == 1 or difference > MINUTE_COUNT or difference <= -MINUTE_COUNT:
            virtual_time = time_running
            find_jobs(now, virtual_time, do_wild=True, do_non_wild=True)
        elif difference > 5:
            find_jobs(now, time_running, do_wild=True, do_non_wild=False)
            while virtual_time < time_running:
                virtual_time += 1
                find_jobs(now, virtual_time, do_wild=False, do_non_wild=True)
        elif difference > 0:
            while virtual_time < time_running:
                virtual_time += 1
                find_jobs(now, virtual_time, do_wild=True, do_non_wild=True)
        else:
            find_jobs(now, time_running, do_wild=True, do_non_wild=False)
    return [(datetime.fromtimestamp(at, UTC), count) for at, count in sorted(runs.items())]


def transitions(zone: str, year: int) -> list[datetime]:
    """The instants in `year` at which the zone's offset changes."""
    place = ZoneInfo(zone)
    found = []
    step = timedelta(hours=6)
    at = datetime(year, 1, 1, tzinfo=UTC)
    while at.year == year:
        if at.astimezone(place).utcoffset() != (at + step).astimezone(place).utcoffset():
            low, high = at, at + step
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=((high - low) // timedelta(seconds=2)))
                same = middle.astimezone(place).utcoffset() == at.astimezone(place).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high)
        at += step
    return found
