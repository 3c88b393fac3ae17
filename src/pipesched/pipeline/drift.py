"""The collection against the record: what others added, changed or removed is marked for the plan to mend."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pipesched.pipeline.cache import EmbeddingCache
from pipesched.pipeline.manifest import Manifest
from pipesched.pipeline.model import METADATA_KEYS, ModelSpec, Record, VectorStore
from pipesched.pipeline.rows import UNKNOWN, metadata_hash, row_of, text_hash
from pipesched.report import counted

if TYPE_CHECKING:
    from pipesched.pipeline.model import Vector

TOLERANCE: Final = 1e-5
"""How far a component may be from the cached one: Chroma normalises once more, which moves it by up to 1.5e-8."""

_OUR_KEYS: Final = frozenset(METADATA_KEYS)


@dataclass
class Drift:
    """Ids of rows, with what is wrong; `sources`: the documents that they are of, as far as known."""

    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    bad_vectors: list[str] = field(default_factory=list)
    foreign_keys: list[str] = field(default_factory=list)
    """Those of the changed rows whose metadata has keys that are not ours: a store merges, so that only a delete takes them."""
    sources: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.extra or self.bad_vectors)

    @property
    def count(self) -> int:
        return len(self.missing) + len(self.changed) + len(self.extra) + len(self.bad_vectors)

    def words(self, *, extra: str = "not ours") -> str:
        counts = (
            (len(self.missing), "missing"),
            (len(self.changed), "changed"),
            (len(self.extra), extra),
            (len(self.bad_vectors), "with another vector"),
        )
        return ", ".join(f"{counted(count, 'row')} {word}" for count, word in counts if count)


def compare(
    manifest: Manifest,
    generation: int,
    pages: Iterator[list[Record]],
    *,
    cache: EmbeddingCache | None,
    spec: ModelSpec | None,
) -> Drift:
    """Every row of the collection against the manifest; with `cache` and `spec` its vectors too (the pages must have them)."""
    drift = Drift()
    database = manifest.database
    database.execute("DROP TABLE IF EXISTS temp.seen")
    database.execute("CREATE TEMP TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")
    for page in pages:
        known = manifest.hashes_of(generation, [record.id for record in page])
        cached = _cached(cache, spec, page)
        with database.transaction():
            database.execute_many(
                "INSERT OR IGNORE INTO temp.seen VALUES (?)", [(record.id,) for record in page]
            )
        for record in page:
            drift.sources[record.id] = str(record.metadata.get("source", ""))
            if record.id not in known:
                drift.extra.append(record.id)
                continue
            digest = text_hash(record.text)
            if known[record.id] != (digest, metadata_hash(record.metadata)):
                drift.changed.append(record.id)
                if has_foreign_keys(record):
                    drift.foreign_keys.append(record.id)
            elif (
                cached is not None and spec is not None and not _same_vector(record, cached.get(digest), spec)
            ):
                drift.bad_vectors.append(record.id)
            else:
                del drift.sources[record.id]
    for row, source in database.rows(
        "SELECT id, source FROM chunks WHERE generation = ? AND id NOT IN (SELECT id FROM temp.seen)",
        (generation,),
    ):
        drift.missing.append(row)
        drift.sources[row] = source
    database.execute("DROP TABLE temp.seen")
    return drift


def mend(manifest: Manifest, generation: int, store: VectorStore, name: str, drift: Drift) -> None:
    """Take out what is not ours, and have the plan restore the rest."""
    mark(manifest, generation, drift)
    # Put back as they are but for those keys: of a document that fails, the old version stays.
    cleaned = [
        replace(record, metadata={key: record.metadata[key] for key in record.metadata.keys() & _OUR_KEYS})
        for record in store.get(name, drift.foreign_keys, vectors=True)
        if record.vector is not None
    ]
    store.delete(name, [*drift.extra, *drift.foreign_keys])
    store.upsert(name, cleaned)


def mark(manifest: Manifest, generation: int, drift: Drift) -> None:
    """Record what `drift` found, so that the plan restores it: missing rows are new, damaged ones unknown."""
    with manifest.database.transaction():
        manifest.database.execute_many(
            "DELETE FROM chunks WHERE generation = ? AND id = ?", [(generation, row) for row in drift.missing]
        )
        manifest.database.execute_many(
            "UPDATE chunks SET metadata_hash = ? WHERE generation = ? AND id = ?",
            [(UNKNOWN, generation, row) for row in (*drift.changed, *drift.bad_vectors)],
        )
        manifest.database.execute_many(
            "UPDATE files SET stamp = '', parse = '' WHERE generation = ? AND source = ?",
            [(generation, source) for source in {drift.sources[row] for row in drift.missing}],
        )
        # A changed row may no longer say whose it is; the record does.
        manifest.database.execute(
            "UPDATE files SET stamp = '', parse = '' WHERE generation = ?1 AND source IN"
            " (SELECT source FROM chunks WHERE generation = ?1 AND metadata_hash = '')",
            (generation,),
        )
        _recount(manifest, generation)


def mark_all_missing(manifest: Manifest, generation: int) -> None:
    """The collection is gone: every row must be put in again."""
    with manifest.database.transaction():
        manifest.database.execute("DELETE FROM chunks WHERE generation = ?", (generation,))
        manifest.database.execute("DELETE FROM intents WHERE generation = ?", (generation,))
        manifest.database.execute(
            "UPDATE files SET stamp = '', parse = '' WHERE generation = ?", (generation,)
        )
        _recount(manifest, generation)


def read_back(manifest: Manifest, generation: int, pages: Iterator[list[Record]]) -> list[str]:
    """Make the record anew, in the caller's transaction, from a collection with our mark; returns the ids of rows that are not ours.

    What the rows say is recorded as it is, and every file has to be read: whatever is not as the folder says is then changed.
    """
    extra: list[str] = []
    database = manifest.database
    manifest.clear(generation)
    for page in pages:
        rows = []
        for record in page:
            row = row_of(record)
            if row is None or has_foreign_keys(record):
                extra.append(record.id)
            else:
                length = record.metadata.get("content_length")
                rows.append((row, length if isinstance(length, int) else 0))
        database.execute_many(
            "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?, ?)",
            [
                (generation, row.id, row.source, row.ordinal, row.text_hash, row.metadata_hash)
                for row, _ in rows
            ],
        )
        database.execute_many(
            "INSERT OR IGNORE INTO files VALUES (?, ?, '', 0, '', '', 'indexed', '', 0, ?)",
            [(generation, row.source, length) for row, length in rows],
        )
    _recount(manifest, generation)
    return extra


def _recount(manifest: Manifest, generation: int) -> None:
    """How many rows there are of each document that must be read again: if that fails, this is what stays of it."""
    manifest.database.execute(
        "UPDATE files SET chunks = (SELECT count(*) FROM chunks c WHERE c.generation = files.generation"
        " AND c.source = files.source) WHERE generation = ? AND parse = ''",
        (generation,),
    )


def has_foreign_keys(record: Record) -> bool:
    return not record.metadata.keys() <= _OUR_KEYS


def intact(record: Record, text: bytes, dimensions: int) -> bool:
    """Whether a stored row still has the text that was embedded, and a vector that can be its."""
    return text_hash(record.text) == text and _plausible(record.vector, dimensions)


def _cached(
    cache: EmbeddingCache | None, spec: ModelSpec | None, page: Sequence[Record]
) -> dict[bytes, Vector] | None:
    if cache is None or spec is None:
        return None
    return cache.get(spec, list({text_hash(record.text) for record in page}))


def _same_vector(record: Record, cached: Vector | None, spec: ModelSpec) -> bool:
    if not _plausible(record.vector, spec.dimensions):
        return False
    assert record.vector is not None
    return cached is None or float(abs(record.vector - cached).max()) <= TOLERANCE


def _plausible(vector: Vector | None, dimensions: int) -> bool:
    if vector is None or vector.shape != (dimensions,):
        return False
    length = float((vector.astype("f8") ** 2).sum()) ** 0.5
    return math.isfinite(length) and abs(length - 1.0) < 1e-3
