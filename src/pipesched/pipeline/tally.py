"""Counting what a run does, as it does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipesched.pipeline.model import Failure
from pipesched.report import (
    Change,
    DocumentChange,
    ItemError,
    LengthStatistics,
    Outcome,
    RunStats,
    counted,
)

if TYPE_CHECKING:
    from pipesched.pipeline.batches import Item
    from pipesched.pipeline.mode import Decision
    from pipesched.pipeline.plan import DocumentPlan
    from pipesched.pipeline.rows import RowPlan


@dataclass
class Tally:
    """The numbers of one run. `unchanged`: documents; all other plain numbers count chunks."""

    unchanged: int = 0
    added: int = 0
    updated: int = 0
    deleted: int = 0
    embedded: int = 0
    from_cache: int = 0
    changes: list[DocumentChange] = field(default_factory=list)
    errors: list[ItemError] = field(default_factory=list)
    withheld: int = 0
    drifted: int = 0

    def change(self, source: str, change: Change, reason: str, chunks: int) -> None:
        self.changes.append(DocumentChange(source=source, change=change, reason=reason, chunks=chunks))

    def fail(self, failure: Failure, chunks: int = 0) -> None:
        """A document that failed; `chunks` of its old version stay. A folder (its source ends in "/") is no document."""
        self.errors.append(ItemError(source=failure.source, code=failure.code, message=failure.message))
        if not failure.source.endswith("/"):
            self.change(failure.source, "failed", failure.message, chunks)

    def rows(self, plan: RowPlan) -> None:
        self.added += plan.added
        self.updated += len(plan.write) - plan.added + len(plan.describe)
        self.deleted += len(plan.drop)

    def batch(self, items: Sequence[Item], failures: Sequence[tuple[Failure, int]]) -> None:
        """A batch that is done."""
        for failure, chunks in failures:
            self.fail(failure, chunks)
        for item in items:
            self.rows(item.plan)
            if item.change is None:
                self.unchanged += 1
            else:
                self.change(item.source, item.change, item.reason, item.chunks)

    def withhold(self, plan: DocumentPlan) -> None:
        self.withheld = len(plan.withheld)
        shown = ", ".join(plan.withheld[:3]) + (", ..." if len(plan.withheld) > 3 else "")
        message = (
            f"{plan.withheld_reason}: deletes are withheld ({shown}); --allow-mass-delete lets them through"
        )
        self.errors.append(ItemError(source="", code="deletes_withheld", message=message))

    def message(self, total_chunks: int, *, notes: Sequence[str], interrupted: bool) -> str:
        """The run in one line."""
        changes: tuple[Change, ...] = ("new", "modified", "renamed", "deleted", "failed")
        said: list[str] = []
        for change in changes:
            if count := self.count(change):
                said.append(f"{count} {change}" if said else f"{counted(count, 'document')} {change}")
        if self.withheld:
            said.append(f"deletes of {self.withheld} withheld (--allow-mass-delete lets them through)")
        if not said:
            chunks = ((self.added, "added"), (self.updated, "updated"), (self.deleted, "deleted"))
            # A post that became a draft is no document that changed, and its chunks go all the same.
            said = [f"{counted(count, 'chunk')} {word}" for count, word in chunks if count] or [
                "nothing changed"
            ]
        said.append(counted(total_chunks, "chunk"))
        text = ", ".join(said)
        if interrupted:
            text = f"stopped as asked, the rest is left for the next run: {text}"
        return "; ".join([text, *notes])

    def outcome(
        self,
        decision: Decision,
        total_chunks: int,
        lengths: LengthStatistics,
        *,
        notes: Sequence[str],
        timings: Mapping[str, float],
        interrupted: bool = False,
    ) -> Outcome:
        """The run that came to these numbers; `timings` in seconds."""
        partial = bool(self.errors)
        return Outcome(
            status="interrupted" if interrupted else "partial" if partial else "succeeded",
            message=self.message(total_chunks, notes=notes, interrupted=interrupted),
            mode=decision.mode,
            mode_reason=decision.reason,
            stats=self.stats(total_chunks),
            documents=tuple(sorted(self.changes, key=lambda change: change.source)),
            errors=tuple(self.errors),
            timings={name: round(seconds, 3) for name, seconds in timings.items()},
            lengths=lengths,
            exit_code=3 if partial else 0,
        )

    def count(self, change: Change) -> int:
        return sum(item.change == change for item in self.changes)

    def stats(self, total_chunks: int) -> RunStats:
        """`total_chunks`: what the collection holds afterwards."""
        new, modified, renamed, failed = (
            self.count(change) for change in ("new", "modified", "renamed", "failed")
        )
        return RunStats(
            total_documents=new + modified + renamed + self.unchanged + failed,
            new_documents=new,
            modified_documents=modified,
            renamed_documents=renamed,
            deleted_sources=self.count("deleted"),
            unchanged_documents=self.unchanged,
            skipped_documents=self.count("skipped"),
            failed_documents=failed,
            total_chunks=total_chunks,
            chunks_added=self.added,
            chunks_updated=self.updated,
            chunks_deleted=self.deleted,
            chunks_unchanged=max(0, total_chunks - self.added - self.updated),
            chunks_embedded=self.embedded,
            chunks_from_cache=self.from_cache,
            withheld_deletes=self.withheld,
            drifted_chunks=self.drifted,
        )
