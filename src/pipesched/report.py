"""What a pipeline run did, in the words and keys that reports, the ledger and `run --json` share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipesched.settings import SCHEMA_VERSION

RunStatus = Literal["succeeded", "partial", "failed", "interrupted", "timeout"]
RunMode = Literal["incremental", "full", "rebuild"]
Change = Literal["new", "modified", "renamed", "deleted", "skipped", "failed"]


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@dataclass(frozen=True, slots=True)
class RunStats:
    """Counts of one run; in a dry run, what it would do.

    total = new + modified + renamed + unchanged + failed; skipped documents (drafts, unpublished, not text) are apart.
    `withheld_deletes`: documents that are gone and kept all the same; `drifted_chunks`: rows that somebody else changed.
    """

    total_documents: int = 0
    new_documents: int = 0
    modified_documents: int = 0
    renamed_documents: int = 0
    deleted_sources: int = 0
    unchanged_documents: int = 0
    skipped_documents: int = 0
    failed_documents: int = 0
    total_chunks: int = 0
    chunks_added: int = 0
    chunks_updated: int = 0
    chunks_deleted: int = 0
    chunks_unchanged: int = 0
    chunks_embedded: int = 0
    chunks_from_cache: int = 0
    withheld_deletes: int = 0
    drifted_chunks: int = 0


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A document that is not unchanged. `chunks`: how many it has now (before, when deleted)."""

    source: str
    change: Change
    reason: str = ""
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class ItemError:
    """One thing that went wrong: `source` is a document's path below the data folder, or "" for the run itself."""

    source: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LengthStatistics:
    """Characters of the indexed documents, front matter left out."""

    total_documents: int = 0
    total_characters: int = 0
    min_length: int = 0
    max_length: int = 0
    avg_length: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `pipeline.run` returns: everything of a report but who asked for it and when."""

    status: RunStatus
    message: str
    mode: RunMode
    mode_reason: str
    stats: RunStats = field(default_factory=RunStats)
    documents: tuple[DocumentChange, ...] = ()
    errors: tuple[ItemError, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    lengths: LengthStatistics = field(default_factory=LengthStatistics)
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run's report; times are RFC 3339 with an offset, durations seconds."""

    run_id: str
    job_id: str | None
    timestamp: str
    scheduled_for: str | None
    finished_at: str
    duration_seconds: float
    outcome: Outcome
    dry_run: bool
    stats_file: str | None = None
    exit_code: int = 0

    def as_json(self) -> dict[str, Any]:
        """The report as `run --json` prints it and the output folder keeps it."""
        out = self.outcome
        return {
            "schema_version": SCHEMA_VERSION,
            "run_id": self.run_id,
            "job_id": self.job_id,
            "timestamp": self.timestamp,
            "scheduled_for": self.scheduled_for,
            "finished_at": self.finished_at,
            "duration_seconds": self.duration_seconds,
            "status": out.status,
            "success": out.status == "succeeded",
            "message": out.message,
            "dry_run": self.dry_run,
            "mode": out.mode,
            "mode_reason": out.mode_reason,
            "stats": asdict(out.stats),
            "documents": [asdict(document) for document in out.documents],
            "errors": [asdict(error) for error in out.errors],
            "timings": out.timings,
            "stats_file": self.stats_file,
            "exit_code": self.exit_code,
        }
