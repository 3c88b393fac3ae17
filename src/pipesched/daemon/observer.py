"""Who wants to know what becomes of runs while the daemon runs, such as those who send notifications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipesched.runs.model import RunState


@dataclass(frozen=True, slots=True)
class Ended:
    """A run's end as it was recorded. `retrying`: another attempt of it is planned."""

    run_id: str
    job_id: str
    status: RunState
    exit_code: int | None
    retrying: bool


class Observer(Protocol):
    """Told from the loop: nothing here may wait or raise."""

    def start(self) -> None: ...

    def run_started(self, job_id: str, run_id: str) -> None: ...

    def run_ended(self, ended: Ended) -> None: ...

    def stop(self) -> None:
        """The daemon ends; a bounded time may be taken."""
        ...


class Nobody:
    """An Observer that does not care."""

    def start(self) -> None: ...

    def run_started(self, job_id: str, run_id: str) -> None: ...

    def run_ended(self, ended: Ended) -> None: ...

    def stop(self) -> None: ...
