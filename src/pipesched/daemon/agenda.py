"""When to look at which job again: a heap of wake times."""

from __future__ import annotations

import heapq
from datetime import datetime


class Agenda:
    """Each job has at most one wake time; setting it again replaces it."""

    def __init__(self) -> None:
        self._wake: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []

    def set(self, job_id: str, wake_at: datetime | None) -> None:
        """Look at `job_id` at `wake_at`; None: not until it is set again."""
        if wake_at is None:
            self._wake.pop(job_id, None)
            return
        if self._wake.get(job_id) == wake_at:
            return
        self._wake[job_id] = wake_at
        heapq.heappush(self._heap, (wake_at, job_id))
        if len(self._heap) > 64 + 4 * len(self._wake):
            # Entries that were replaced stay in the heap until they come up; a job that is set often must not fill it.
            self._heap = [(at, job) for job, at in self._wake.items()]
            heapq.heapify(self._heap)

    def due(self, now: datetime, *, limit: int) -> list[tuple[str, datetime]]:
        """Take out at most `limit` jobs whose time has come, with that time, the earliest first."""
        taken: list[tuple[str, datetime]] = []
        while self._heap and len(taken) < limit:
            wake_at, job_id = self._heap[0]
            if self._wake.get(job_id) != wake_at:
                heapq.heappop(self._heap)
                continue
            if wake_at > now:
                break
            heapq.heappop(self._heap)
            del self._wake[job_id]
            taken.append((job_id, wake_at))
        return taken

    def next_wake(self) -> datetime | None:
        while self._heap:
            wake_at, job_id = self._heap[0]
            if self._wake.get(job_id) == wake_at:
                return wake_at
            heapq.heappop(self._heap)
        return None
