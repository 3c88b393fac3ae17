"""One batch into the collection, in the order that survives a crash at any step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipesched.pipeline import faults
from pipesched.pipeline.batches import Batch, Item
from pipesched.pipeline.explaining import explain_items
from pipesched.pipeline.manifest import Manifest
from pipesched.pipeline.model import EmbeddingFailure, Failure, Metadata, Record, VectorStore
from pipesched.pipeline.rows import Row
from pipesched.pipeline.tally import Tally
from pipesched.pipeline.vectors import Vectors

if TYPE_CHECKING:
    from pipesched.pipeline.model import Vector

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Embedded:
    """A batch whose texts have vectors, durable in the cache; documents that could not be embedded are out of it."""

    items: list[Item]
    vectors: dict[bytes, Vector]


def embed(batch: Batch, vectors: Vectors, tally: Tally) -> Embedded:
    """Get the vectors of what must be written; a document with a text that cannot be embedded fails as a whole."""
    explain_items(batch.items)
    texts = {row.text_hash: row.text for item in batch.items for row in item.plan.write}
    before = vectors.embedded
    try:
        found = vectors.of(texts) if texts else {}
    finally:  # a run that stops in the middle says what it has embedded all the same
        newly = vectors.embedded - before
        tally.embedded += newly
    if texts:
        log.debug("of %d texts %d were embedded, %d were in the cache", len(texts), newly, len(texts) - newly)
    good: list[Item] = []
    for item in batch.items:
        failure = next(
            (
                (row, result)
                for row in item.plan.write
                if isinstance(result := found[row.text_hash], EmbeddingFailure)
            ),
            None,
        )
        if failure is None:
            good.append(item)
        else:
            row, result = failure
            message = f"chunk {row.ordinal} cannot be embedded: {result.message}"
            batch.failures.append((Failure(item.source, result.code, message), item.had))
    written = sum(len(item.plan.write) for item in good)
    tally.from_cache += max(0, written - newly)
    return Embedded(
        good, {key: value for key, value in found.items() if not isinstance(value, EmbeddingFailure)}
    )


def apply(
    work: Embedded, *, manifest: Manifest, store: VectorStore, generation: int, name: str, timestamp: str
) -> None:
    """Intent, new and changed rows, stale rows, record: each durable before the next begins."""
    items = work.items
    write = [
        _record(row, timestamp, work.vectors[row.text_hash]) for item in items for row in item.plan.write
    ]
    describe = [(row.id, _stamped(row.metadata, timestamp)) for item in items for row in item.plan.describe]
    drop = [row for item in items for row in item.plan.drop]
    if write or describe or drop:
        manifest.intend(generation, _intents(items))
        faults.reach("intended")
        store.upsert(name, write, fresh={row for item in items for row in item.plan.fresh})
        faults.reach("upserted")
        store.update_metadata(name, describe)
        faults.reach("updated")
        store.delete(name, drop)
        faults.reach("deleted")
    record(items, manifest, generation)
    faults.reach("committed")


def record(items: Sequence[Item], manifest: Manifest, generation: int) -> None:
    """Commit to the manifest what the collection now holds of these documents."""
    manifest.commit(
        generation,
        [item.entry for item in items if item.entry is not None],
        [source for item in items for source in item.removed],
    )


def touches_store(items: Sequence[Item]) -> bool:
    return any(item.plan.changes_anything for item in items)


def _intents(items: Sequence[Item]) -> dict[str, list[str]]:
    intents = {
        item.source: [row.id for row in item.plan.write] for item in items if item.plan.changes_anything
    }
    for item in items:
        for source in item.removed:
            intents.setdefault(source, [])
    return intents


def _record(row: Row, timestamp: str, vector: Vector) -> Record:
    return Record(id=row.id, text=row.text, metadata=_stamped(row.metadata, timestamp), vector=vector)


def _stamped(metadata: Metadata, timestamp: str) -> Metadata:
    return {**metadata, "indexed_timestamp": timestamp}
