"""Documents to batches of work: read, split, compared with the record; nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipesched.pipeline import documents
from pipesched.pipeline.chunks import Chunker
from pipesched.pipeline.differences import why_new
from pipesched.pipeline.documents import DocumentSettings
from pipesched.pipeline.manifest import Entry, Manifest
from pipesched.pipeline.model import Failure, Found, Skipped
from pipesched.pipeline.plan import (
    CONTENT_CHANGED,
    NO_TEXT,
    FileState,
    Reading,
    RecordedFile,
    Removal,
    mtime_seconds,
    trusted_stamp,
)
from pipesched.pipeline.rows import RowPlan, plan_rows, rows_of
from pipesched.report import Change

BATCH_CHUNKS = 500
"""Chroma's time a row falls up to here (256: a tenth more), and what a stop or a kill leaves unfinished stays small."""

BATCH_DOCUMENTS = 200

NOTHING = RowPlan()


@dataclass(frozen=True, slots=True)
class Item:
    """One document's work.

    `change` None: it is unchanged after all. `entry`: what the manifest will say of it; `removed`: sources of which it
    will say nothing any more. `had`: the chunks of its old version.
    """

    source: str
    change: Change | None
    reason: str
    plan: RowPlan = NOTHING
    entry: Entry | None = None
    removed: tuple[str, ...] = ()
    had: int = 0

    @property
    def chunks(self) -> int:
        """Those it has now; of a document that goes, those that go with it."""
        if self.entry is not None and self.entry.file.state == "indexed":
            return len(self.entry.rows)
        return self.had


@dataclass(slots=True)
class Batch:
    items: list[Item] = field(default_factory=list)
    failures: list[tuple[Failure, int]] = field(default_factory=list)
    """With the number of chunks that stay of each."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How files become rows."""

    settings: DocumentSettings
    parse: str
    chunker: Chunker
    clock_ns: int

    def read(self, reading: Reading) -> tuple[Entry, None] | tuple[Entry | None, Skipped | Failure]:
        """The document's entry; or, with why it is left out, the entry that remembers that."""
        found = reading.found
        document = documents.read(found, self.settings)
        if isinstance(document, Failure):
            return None, document
        if isinstance(document, Skipped):
            return Entry(self._record(found, "", "skipped", document.reason, 0), (), 0), document
        rows = rows_of(document, self.chunker.split(document.text))
        file = self._record(found, document.raw_hash, "indexed", "", len(rows))
        return Entry(file, rows, len(document.text)), None

    def _record(
        self, found: Found, raw_hash: str, state: FileState, reason: str, chunks: int
    ) -> RecordedFile:
        return RecordedFile(
            source=found.source,
            stamp=trusted_stamp(found.stamp, self.clock_ns),
            mtime=mtime_seconds(found),
            raw_hash=raw_hash,
            parse=self.parse,
            state=state,
            reason=reason,
            chunks=chunks,
        )


def read_batches(
    readings: Iterable[Reading],
    reader: Reader,
    manifest: Manifest,
    generation: int,
    recorded: Mapping[str, RecordedFile],
) -> Iterator[Batch]:
    """In document order; a batch ends with the document that brings it to BATCH_CHUNKS."""
    batch: list[tuple[Reading, Entry | None, Skipped | Failure | None]] = []
    chunks = 0
    for reading in readings:
        entry, why = reader.read(reading)
        batch.append((reading, entry, why))
        chunks += len(entry.rows) if entry else 0
        if chunks >= BATCH_CHUNKS or len(batch) >= BATCH_DOCUMENTS:
            yield _planned(batch, manifest, generation, recorded)
            batch, chunks = [], 0
    if batch:
        yield _planned(batch, manifest, generation, recorded)


def _planned(
    read: Sequence[tuple[Reading, Entry | None, Skipped | Failure | None]],
    manifest: Manifest,
    generation: int,
    recorded: Mapping[str, RecordedFile],
) -> Batch:
    sources = [reading.found.source for reading, _, _ in read]
    sources += [reading.renamed_from for reading, _, _ in read if reading.renamed_from is not None]
    known_rows = manifest.rows_of(generation, sources)
    batch = Batch()
    for reading, entry, why in read:
        source = reading.found.source
        known = recorded.get(source)
        old = known_rows[source]
        had = len(old) if known is not None and known.state == "indexed" else 0
        if isinstance(why, Failure):
            batch.failures.append((why, had))
            continue
        if isinstance(why, Skipped) and why.suspicious and had:
            message = f"{why.reason}; it was indexed before, and that stays"
            batch.failures.append((Failure(source, "damaged", message), had))
            continue
        assert entry is not None
        plan = plan_rows(entry.rows, old)
        removed: tuple[str, ...] = ()
        if reading.renamed_from is not None:
            removed = (reading.renamed_from,)
            gone = tuple(sorted(known_rows[reading.renamed_from]))
            plan = replace(plan, drop=plan.drop + gone)
        change, reason = _classified(reading, entry, why, known, plan)
        batch.items.append(Item(source, change, reason, plan, entry, removed, had))
    return batch


def _classified(
    reading: Reading, entry: Entry, why: Skipped | None, known: RecordedFile | None, plan: RowPlan
) -> tuple[Change | None, str]:
    if why is not None:
        return "skipped", why.reason
    if reading.change in ("new", "renamed"):
        reason = reading.reason if entry.rows else NO_TEXT
        return ("renamed" if reading.change == "renamed" else "new"), reason
    assert known is not None
    if known.state != "indexed":
        return "new", why_new(known, len(entry.rows))
    content_changed = known.raw_hash not in ("", entry.file.raw_hash)
    if not plan.changes_anything and not content_changed:
        return None, ""
    reason = reading.reason or (CONTENT_CHANGED if content_changed else "its metadata changed")
    if reason != CONTENT_CHANGED:
        return "modified", reason
    if plan.write:
        return "modified", f"{reason}: {len(plan.write)} of {len(entry.rows)} chunks"
    return "modified", f"{reason}: {'chunks were taken out' if plan.drop else 'metadata only'}"


def removal_batches(removals: Sequence[Removal], manifest: Manifest, generation: int) -> Iterator[Batch]:
    """Documents that go, in batches."""
    for start in range(0, len(removals), BATCH_DOCUMENTS):
        page = removals[start : start + BATCH_DOCUMENTS]
        rows = manifest.rows_of(generation, [removal.source for removal in page])
        batch = Batch()
        for removal in page:
            gone = tuple(sorted(rows[removal.source]))
            batch.items.append(
                Item(
                    source=removal.source,
                    change="skipped" if removal.withdrawn else "deleted",
                    reason=removal.reason,
                    plan=RowPlan(drop=gone),
                    removed=(removal.source,),
                    had=len(gone),
                )
            )
        yield batch
