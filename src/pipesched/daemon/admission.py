"""PURE: which of the waiting runs may start now, and what the others wait for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """A claimed run that has not started. `store`: what it writes to; two runs of one store, or of one job, never overlap.

    `not_before` is aware, UTC (jitter, stagger, a busy store). `order` parts those that are due at one instant.
    `busy_count`: how often it found its store in use by a process that is not ours.
    """

    run_id: str
    job_id: str
    scheduled_for: datetime
    attempt: int
    not_before: datetime
    store: str
    order: int = 0
    busy_count: int = 0

    def may_start_at(self, now: datetime) -> bool:
        return self.not_before <= now

    @property
    def ids(self) -> dict[str, str]:
        """For log lines about it."""
        return {"job_id": self.job_id, "run_id": self.run_id}


@dataclass(frozen=True, slots=True)
class Occupied:
    """A run that has started and not ended."""

    run_id: str
    job_id: str
    store: str


@dataclass(frozen=True, slots=True)
class Admission:
    """`start`: in this order. `wait`: the others with the reason; those whose time has not come are in neither."""

    start: tuple[Waiting, ...] = ()
    wait: tuple[tuple[Waiting, str], ...] = ()
    next_at: datetime | None = None


class Seats:
    """Which new claims may start at once, past nobody who waits; each that may takes its seat."""

    def __init__(
        self, waiting: Iterable[Waiting], running: Iterable[Occupied], *, limit: int, now: datetime
    ) -> None:
        taken: list[Waiting | Occupied] = [*running, *(run for run in waiting if run.may_start_at(now))]
        self._jobs = {run.job_id for run in taken}
        self._stores = {run.store for run in taken if run.store}
        self._free = limit - len(taken)
        self._now = now

    def take(self, run: Waiting) -> bool:
        if (
            self._free <= 0
            or not run.may_start_at(self._now)
            or run.job_id in self._jobs
            or run.store in self._stores
        ):
            return False
        self._jobs.add(run.job_id)
        if run.store:
            self._stores.add(run.store)
        self._free -= 1
        return True


def admit(waiting: Iterable[Waiting], running: Iterable[Occupied], *, limit: int, now: datetime) -> Admission:
    """By due time; a run that cannot start keeps no place, so that one busy store does not hold the others up."""
    stores: dict[str, str] = {}
    jobs: dict[str, str] = {}
    count = 0
    for occupied in running:
        stores[occupied.store] = occupied.run_id
        jobs[occupied.job_id] = occupied.run_id
        count += 1
    start: list[Waiting] = []
    wait: list[tuple[Waiting, str]] = []
    next_at: datetime | None = None
    for run in sorted(waiting, key=lambda run: (run.scheduled_for, run.order)):
        if not run.may_start_at(now):
            next_at = run.not_before if next_at is None else min(next_at, run.not_before)
        elif run.job_id in jobs:
            wait.append((run, f"waits for this job's run {jobs[run.job_id]}"))
        elif run.store and run.store in stores:
            wait.append((run, f"waits for run {stores[run.store]} on the same store"))
        elif count >= limit:
            wait.append((run, f"waits for a free worker (--max-workers {limit})"))
        else:
            start.append(run)
            stores[run.store] = run.run_id
            jobs[run.job_id] = run.run_id
            count += 1
    return Admission(tuple(start), tuple(wait), next_at)
