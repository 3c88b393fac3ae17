"""PURE: the coming days: when jobs fire, and where they will be in each other's way, by how long their runs have taken."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Any, Final, TypeVar

from pipesched.schedule.delays import jitter_offset
from pipesched.schedule.model import Progress, Schedule, TimedJob
from pipesched.schedule.outlook import ended, not_before_start, open_schedule, runs_left
from pipesched.views.simulation import BUCKET_SECONDS, Actor, Course, Slot, Tally, simulate

MOST_FIRES: Final = 200_000
"""What is looked at in one forecast, so that an answer takes seconds."""
ASSUMED_SECONDS: Final = 60.0
"""How long the runs of a job are taken to last that has none to go by."""
Json = dict[str, Any]
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Subject:
    """A job and what is known of it. `typical`, `slow`: seconds that half, and 95 in 100, of its runs take; None: none ran.

    `store`: what its runs write to, "" where nothing. `under_way`: when its active runs started, None for one that waits.
    """

    job: TimedJob
    progress: Progress = Progress()  # noqa: RUF009  frozen
    store: str = ""
    typical: float | None = None
    slow: float | None = None
    under_way: tuple[datetime | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """From `begin` to `until`, which is before `asked` where there is more than can be looked at.

    `typical`, `slow`: what would happen if each run took as long as half, or 95 in 100, of its job's runs did.
    """

    subjects: tuple[Subject, ...]
    begin: datetime
    until: datetime
    asked: datetime
    max_workers: int
    assumed: float
    typical: Course
    slow: Course


def forecast(
    subjects: Sequence[Subject],
    *,
    now: datetime,
    until: datetime,
    max_workers: int,
    assumed: float = ASSUMED_SECONDS,
    most: int = MOST_FIRES,
) -> Forecast:
    """What is to come in now < t <= until. Each run is taken to succeed; what is owed from before `now` is not in it."""
    slots = list(islice(_slots(subjects, now, until), most + 1))
    reached = until
    if len(slots) > most:
        last = slots[-1][0]
        slots = [slot for slot in slots if slot[0] < last]
        reached = datetime.fromtimestamp(last, UTC) - timedelta(microseconds=1)
    courses = [
        simulate(
            [
                Actor(each.job, each.progress, each.store, seconds, each.under_way)
                for each, seconds in zip(subjects, takes, strict=True)
            ],
            slots,
            begin=now,
            until=reached,
            max_workers=max_workers,
        )
        for takes in (
            [assumed if each.typical is None else each.typical for each in subjects],
            [assumed if each.slow is None else each.slow for each in subjects],
        )
    ]
    return Forecast(tuple(subjects), now, reached, until, max_workers, assumed, *courses)


def _slots(subjects: Sequence[Subject], now: datetime, until: datetime) -> Iterator[Slot]:
    """All of them in order; those of one instant in the order of the jobs."""
    heap: list[tuple[datetime, int, Schedule]] = []
    for place, subject in enumerate(subjects):
        job, progress = subject.job, subject.progress
        if job.paused_at is not None or progress.auto_paused_at is not None:
            continue
        if runs_left(job.policy, progress) == 0:
            continue
        schedule = open_schedule(job)
        first = schedule.next(not_before_start(job.policy, now))
        if first is not None:
            heap.append((first.at, place, schedule))
    heapq.heapify(heap)
    while heap:
        at, place, schedule = heap[0]
        if at > until:
            return
        job = subjects[place].job
        if ended(job.policy, at):
            heapq.heappop(heap)
            continue
        delay = 0.0
        if job.policy.jitter > 0:
            delay = jitter_offset(job.id, job.policy.jitter, schedule.period(at)).total_seconds()
        yield at.timestamp(), place, delay
        following = schedule.next(at)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.at, place, schedule))


# ---- what is said of it


def forecast_document(found: Forecast, zone: tzinfo) -> Json:
    """The answer of `simulate --json`; times in `zone`, the worst of each kind first."""
    days = _days(found, zone)
    return {
        "from": _time(found.begin.timestamp(), zone),
        "until": _time(found.until.timestamp(), zone),
        "complete": found.until == found.asked,
        "fires": sum(day["fires"] for day in days),
        "days": days,
        "overlaps": _overlaps(found, zone),
        "stores": _stores(found, zone),
        "dependencies": _dependencies(found, zone),
        "load": {
            "max_workers": found.max_workers,
            **{name: _load(found, course, zone) for name, course in _courses(found)},
        },
        "assumed": {
            "seconds": found.assumed,
            "jobs": [each.job.id for each in found.subjects if each.typical is None],
        },
    }


def _courses(found: Forecast) -> tuple[tuple[str, Course], tuple[str, Course]]:
    return ("p50", found.typical), ("p95", found.slow)


def _days(found: Forecast, zone: tzinfo) -> list[Json]:
    """Each day of the zone with its fires by the hour on the wall; an hour that comes twice has both."""
    begin, until = (at.astimezone(zone).date() for at in (found.begin, found.until))
    table = {begin + timedelta(days=day): [0] * 24 for day in range((until - begin).days + 1)}
    for bucket, count in found.typical.due.items():
        at = datetime.fromtimestamp(bucket * BUCKET_SECONDS, zone)
        table[at.date()][at.hour] += count
    return [{"date": day.isoformat(), "hours": hours, "fires": sum(hours)} for day, hours in table.items()]


def _overlaps(found: Forecast, zone: tzinfo) -> list[Json]:
    tallies = _both(found.typical.overlaps, found.slow.overlaps)
    rows = [
        {
            "job_id": found.subjects[place].job.id,
            "overlap": found.subjects[place].job.policy.overlap,
            "first": _first(both, zone),
            "p50": _counted(both[0]),
            "p95": _counted(both[1]),
        }
        for place, both in tallies.items()
    ]
    return sorted(rows, key=lambda row: (-row["p50"]["count"], -row["p95"]["count"], row["job_id"]))


def _stores(found: Forecast, zone: tzinfo) -> list[Json]:
    tallies = _both(found.typical.behind, found.slow.behind)
    rows = [
        {
            "store": found.subjects[waiter].store,
            "job_id": found.subjects[waiter].job.id,
            "waits_for": found.subjects[blocker].job.id,
            "first": _first(both, zone),
            "p50": _counted(both[0]),
            "p95": _counted(both[1]),
        }
        for (waiter, blocker), both in tallies.items()
    ]
    return sorted(rows, key=lambda row: (-row["p95"]["seconds"], row["job_id"], row["waits_for"]))


def _dependencies(found: Forecast, zone: tzinfo) -> list[Json]:
    tallies = _both(found.typical.unmet, found.slow.unmet)
    return [
        {
            "job_id": found.subjects[place].job.id,
            "after": list(found.subjects[place].job.policy.after),
            "trigger_on": found.subjects[place].job.policy.trigger_on,
            "first": _first(both, zone),
            "p50": 0 if both[0] is None else both[0].count,
            "p95": 0 if both[1] is None else both[1].count,
        }
        for place, both in sorted(tallies.items())
    ]


def _load(found: Forecast, course: Course, zone: tzinfo) -> Json:
    """`busy`: the share of the workers' time that runs take up. `waits`: of runs for a free worker."""
    seconds = (found.until - found.begin).total_seconds() * found.max_workers
    crowded = course.crowded
    return {
        "runs": course.runs,
        "busy": round(course.busy_seconds / seconds, 4) if seconds > 0 else 0.0,
        "wanted": course.wanted,
        "wanted_at": None if course.wanted_at is None else _time(course.wanted_at, zone),
        "waits": _counted(crowded),
        "first_wait": None if crowded is None else _time(crowded.first, zone),
    }


def _both(
    typical: dict[_Key, Tally], slow: dict[_Key, Tally]
) -> dict[_Key, tuple[Tally | None, Tally | None]]:
    return {key: (typical.get(key), slow.get(key)) for key in {**typical, **slow}}


def _counted(tally: Tally | None) -> Json:
    if tally is None:
        return {"count": 0, "seconds": 0.0, "longest_seconds": 0.0}
    return {
        "count": tally.count,
        "seconds": round(tally.total, 3),
        "longest_seconds": round(tally.longest, 3),
    }


def _first(both: tuple[Tally | None, Tally | None], zone: tzinfo) -> str:
    return _time(min(each.first for each in both if each is not None), zone)


def _time(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")
