"""Chunks as rows of a collection: content-addressed ids, hashes of what a row should hold, and which rows change. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipesched.pipeline.model import Document, Metadata, MetadataValue, Record

UNKNOWN = ""
"""In place of a metadata hash: nobody knows what the collection holds there, so that the row is written whole."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a collection should hold of one chunk. `metadata` is all but indexed_timestamp."""

    id: str
    source: str
    ordinal: int
    text: str
    text_hash: bytes
    metadata: Metadata
    metadata_hash: str


def text_hash(text: str) -> bytes:
    """sha256 of the exact text. A lone surrogate, which no embedder takes, must not stop us here."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def chunk_id(source: str, text: bytes, occurrence: int) -> str:
    """The id of the `occurrence`-th chunk of `source` whose text has the hash `text`: where it stands does not matter."""
    key = json.dumps([source, text.hex(), occurrence])
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def metadata_hash(metadata: Metadata) -> str:
    """The same for the metadata that we write and for what the collection gives back, whenever it was indexed."""
    values = {key: value for key, value in metadata.items() if key != "indexed_timestamp"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


def rows_of(document: Document, chunks: Sequence[str]) -> list[Row]:
    """The rows of `document`, split into `chunks`."""
    seen: Counter[bytes] = Counter()
    rows = []
    for ordinal, text in enumerate(chunks):
        digest = text_hash(text)
        metadata: dict[str, MetadataValue] = {
            **document.metadata,
            "chunk_index": ordinal,
            "chunk_count": len(chunks),
        }
        rows.append(
            Row(
                id=chunk_id(document.source, digest, seen[digest]),
                source=document.source,
                ordinal=ordinal,
                text=text,
                text_hash=digest,
                metadata=metadata,
                metadata_hash=metadata_hash(metadata),
            )
        )
        seen[digest] += 1
    return rows


def row_of(record: Record) -> Row | None:
    """What a collection holds, as the row that it would be; None where we never wrote it.

    Its metadata hash is UNKNOWN where the text is not the one that its id was made of.
    """
    source = record.metadata.get("source")
    ordinal = record.metadata.get("chunk_index")
    count = record.metadata.get("chunk_count")
    if not isinstance(source, str) or not isinstance(ordinal, int) or not isinstance(count, int):
        return None
    digest = text_hash(record.text)
    whole = any(chunk_id(source, digest, occurrence) == record.id for occurrence in range(count))
    return Row(
        id=record.id,
        source=source,
        ordinal=ordinal,
        text=record.text,
        text_hash=digest,
        metadata={key: value for key, value in record.metadata.items() if key != "indexed_timestamp"},
        metadata_hash=metadata_hash(record.metadata) if whole else UNKNOWN,
    )


@dataclass(frozen=True, slots=True)
class RowPlan:
    """One document's rows. `write`: text and vector too; `describe`: metadata only; `drop`: stale ids.

    `fresh`: the ids in `write` of which nothing is recorded, not even that a run may have written them.
    """

    write: tuple[Row, ...] = ()
    describe: tuple[Row, ...] = ()
    drop: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    unchanged: int = 0

    @property
    def added(self) -> int:
        return len(self.fresh)

    @property
    def changes_anything(self) -> bool:
        return bool(self.write or self.describe or self.drop)


def plan_rows(rows: Sequence[Row], recorded: Mapping[str, str]) -> RowPlan:
    """Compare what a document should be with `recorded`: the metadata hash of each of its rows by id."""
    write: list[Row] = []
    describe: list[Row] = []
    fresh: list[str] = []
    unchanged = 0
    for row in rows:
        known = recorded.get(row.id)
        if known is None:
            fresh.append(row.id)
            write.append(row)
        elif known == UNKNOWN:
            write.append(row)
        elif known != row.metadata_hash:
            describe.append(row)
        else:
            unchanged += 1
    wanted = {row.id for row in rows}
    return RowPlan(
        write=tuple(write),
        describe=tuple(describe),
        drop=tuple(sorted(row for row in recorded if row not in wanted)),
        fresh=tuple(fresh),
        unchanged=unchanged,
    )
