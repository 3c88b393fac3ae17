"""The vocabulary of runs: a ledger row, the counters, what is known of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    from pipesched.schedule.model import RunTrigger

RunState = Literal[
    "queued",
    "running",
    "succeeded",
    "partial",
    "failed",
    "timeout",
    "interrupted",
    "lost",
    "missed",
    "skipped",
]
STATES: Final[tuple[RunState, ...]] = get_args(RunState)
ACTIVE: Final[frozenset[RunState]] = frozenset({"queued", "running"})
EXECUTED: Final[frozenset[RunState]] = frozenset({"succeeded", "partial"})
"""A sync for freshness and for dependants."""
CHUNKS: Final = "chunks"
"""Beside the documents by outcome that the ledger keeps of a sync: how many chunks the collection held after it."""
WITHHELD: Final = "withheld"
"""Likewise: documents whose deletion the sync withheld."""
DRIFTED: Final = "drifted"
"""Likewise: chunks that the sync found changed by somebody else, and mended."""
COUNTED: Final[Mapping[str, str]] = {
    "new": "new_documents",
    "modified": "modified_documents",
    "renamed": "renamed_documents",
    "deleted": "deleted_sources",
    "unchanged": "unchanged_documents",
    "skipped": "skipped_documents",
    "failed": "failed_documents",
    CHUNKS: "total_chunks",
    WITHHELD: "withheld_deletes",
    DRIFTED: "drifted_chunks",
}
"""All that the ledger keeps of a sync, and what the statistics of its report call it."""
NO_OUTCOMES: Final = frozenset({CHUNKS, WITHHELD, DRIFTED})
FAILED: Final[frozenset[RunState]] = frozenset({"failed", "timeout", "lost"})
"""A failure for retries, auto-pause and health; `interrupted` is nobody's fault."""
ENDS: Final[frozenset[RunState]] = FAILED | {"interrupted"}
"""Ends without a success: what a job with `--trigger-on any` waits for, too."""


@dataclass(frozen=True, slots=True)
class Run:
    """One row of the ledger: a run, or consecutive occurrences that did not run. Times are aware, UTC.

    `pid` and `pid_started` (clock ticks since boot, /proc/PID/stat field 22) tell whether the process is still this run's.
    `count`: occurrences that the row stands for, `until` the last of them. `not_before`: a queued run waits until then.
    """

    run_id: str
    job_id: str | None
    status: RunState
    trigger: RunTrigger
    scheduled_for: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    attempt: int = 1
    reason: str = ""
    count: int = 1
    until: datetime | None = None
    pid: int | None = None
    pid_started: int | None = None
    not_before: datetime | None = None
    dry_run: bool = False

    @property
    def duration_seconds(self) -> float | None:
        """Never negative, though a clock that is set back meanwhile lets a run end before it began."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())

    def as_json(self) -> dict[str, Any]:
        """The row as `history --json` gives it."""
        return {
            "run_id": self.run_id,
            "job_id": self.job_id,
            "scheduled_for": _text(self.scheduled_for),
            "started_at": _text(self.started_at),
            "finished_at": _text(self.finished_at),
            "duration_seconds": self.duration_seconds,
            "status": self.status,
            "exit_code": self.exit_code,
            "attempt": self.attempt,
            "reason": self.reason,
            "trigger": self.trigger,
            "count": self.count,
            "until": _text(self.until),
            "dry_run": self.dry_run,
        }


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


@dataclass(frozen=True, slots=True)
class Counters:
    """Lifetime counts, which survive restarts and pruning; executed = succeeded + partial.

    `success_rate`: 0..1 over the last 20 finished runs, None without any. `last_error`: the newest failed run's reason.
    """

    executed: int = 0
    failed: int = 0
    missed: int = 0
    skipped: int = 0
    success_rate: float | None = None
    last_execution: datetime | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What the ledger knows of one job, for people and metrics.

    `last_run`: its newest run that started, running ones included. `last_sync`: the newest run that succeeded or was
    partial and was no dry run. `totals`: lifetime counts by state, of missed and skipped ones the occurrences. `documents`:
    outcome counts of the last sync. `success_rate`: as in Counters, of this job. `duration_p50`, `duration_p95`: seconds that
    half, and 95 in 100, of its newest 100 syncs (succeeded or partial, dry runs left out) took at most; None: none yet.
    """

    last_run: Run | None = None
    last_sync: Run | None = None
    active: tuple[Run, ...] = ()
    failures_in_row: int = 0
    auto_paused_at: datetime | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    claimed: int = 0
    handled: datetime | None = None
    success_rate: float | None = None
    auto_pause_reason: str = ""
    documents: Mapping[str, int] = field(default_factory=dict)
    duration_p50: float | None = None
    duration_p95: float | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Lifetime counts for metrics. `runs`: by job ("" for runs of no job) and state. `documents`: by outcome, dry runs left out."""

    runs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    documents: Mapping[str, int] = field(default_factory=dict)
