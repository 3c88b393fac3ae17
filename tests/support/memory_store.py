"""A VectorStore in memory that behaves as Chroma does, held to the same contract suite; for property tests of the pipeline."""

import copy
import uuid
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipesched.errors import CannotCreate, DataError, NotFound
from pipesched.pipeline.model import METADATA_KEYS, CollectionInfo, Hit, Metadata, Record

PAGE = 7


@dataclass
class _Collection:
    uuid: str
    metadata: dict[str, Any]
    rows: dict[str, Record] = field(default_factory=dict)
    dimension: int | None = None


class MemoryStore:
    """`disk` outlives the store: give it to a new one to open the same data again.

    `writes` counts the calls that changed something, `log` names them; a test may set `before_write` to a callable
    `(operation, collection)` that raises, to break the store at a certain step.
    """

    def __init__(self, disk: dict[str, _Collection] | None = None) -> None:
        self.disk: dict[str, _Collection] = {} if disk is None else disk
        self.log: list[tuple[str, str]] = []
        self.before_write: Any = None

    @property
    def writes(self) -> int:
        return len(self.log)

    def collections(self) -> list[CollectionInfo]:
        return [self._info(name) for name in self.disk]

    def find(self, name: str) -> CollectionInfo | None:
        return self._info(name) if name in self.disk else None

    def create(self, name: str, metadata: Mapping[str, str | int | float | bool]) -> CollectionInfo:
        self._write("create", name)
        if name in self.disk:
            raise CannotCreate(f"there is a collection {name} already")
        self.disk[name] = _Collection(str(uuid.uuid4()), dict(metadata))
        return self._info(name)

    def set_metadata(self, name: str, metadata: Mapping[str, str | int | float | bool]) -> None:
        collection = self._collection(name)
        self._write("set_metadata", name)
        collection.metadata = dict(metadata)

    def rename(self, old: str, new: str) -> None:
        collection = self._collection(old)
        self._write("rename", old)
        if new in self.disk:
            raise CannotCreate(f"there is a collection {new} already")
        del self.disk[old]
        self.disk[new] = collection

    def drop(self, name: str) -> None:
        self._collection(name)
        self._write("drop", name)
        del self.disk[name]

    def ids(self, name: str) -> set[str]:
        return set(self._collection(name).rows)

    def get(self, name: str, ids: Sequence[str], *, vectors: bool = False) -> list[Record]:
        rows = self._collection(name).rows
        return [_given(rows[wanted], vectors=vectors) for wanted in dict.fromkeys(ids) if wanted in rows]

    def pages(self, name: str, *, vectors: bool = False) -> Iterator[list[Record]]:
        rows = [_given(row, vectors=vectors) for row in self._collection(name).rows.values()]
        for start in range(0, len(rows), PAGE):
            yield rows[start : start + PAGE]

    def upsert(self, name: str, records: Sequence[Record], *, fresh: Container[str] = ()) -> None:
        collection = self._collection(name)
        for record in records:
            self._check(collection, record.vector)
            _check_metadata(record.metadata)
        if not records:
            return
        self._write("upsert", name)
        for record in records:
            assert record.vector is not None
            collection.dimension = len(record.vector)
            old = collection.rows.get(record.id)
            assert old is None or record.id not in fresh, f"{record.id} was said to be fresh, and is there"
            collection.rows[record.id] = replace(
                record,
                metadata=_merged(old.metadata if old else {}, record.metadata),
                vector=np.array(record.vector, dtype=np.float32),
            )

    def update_metadata(self, name: str, changes: Sequence[tuple[str, Metadata]]) -> None:
        collection = self._collection(name)
        for _, metadata in changes:
            _check_metadata(metadata)
        if not changes:
            return
        self._write("update_metadata", name)
        for row, metadata in changes:
            if row in collection.rows:
                old = collection.rows[row]
                collection.rows[row] = replace(old, metadata=_merged(old.metadata, metadata))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        collection = self._collection(name)
        if not ids:
            return
        self._write("delete", name)
        for row in ids:
            collection.rows.pop(row, None)

    def query(self, name: str, vector: Any, *, limit: int, where: Mapping[str, Any]) -> list[Hit]:
        collection = self._collection(name)
        if collection.dimension is None:
            return []
        self._check(collection, vector)
        asked = np.asarray(vector, dtype=np.float64)
        asked = asked / np.linalg.norm(asked)
        hits = []
        for row in collection.rows.values():
            if all(_matches(row.metadata.get(key), value) for key, value in where.items()):
                assert row.vector is not None
                stored = row.vector.astype(np.float64)
                score = float(asked @ stored / np.linalg.norm(stored))
                hits.append(Hit(score, _given(row, vectors=False)))
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    def close(self) -> None:
        pass

    def _collection(self, name: str) -> _Collection:
        if name not in self.disk:
            raise NotFound(f"there is no collection {name}", code="collection_not_found")
        return self.disk[name]

    def _info(self, name: str) -> CollectionInfo:
        collection = self.disk[name]
        return CollectionInfo(name, collection.uuid, dict(collection.metadata), len(collection.rows))

    def _write(self, operation: str, name: str) -> None:
        if self.before_write is not None:
            self.before_write(operation, name)
        self.log.append((operation, name))

    def _check(self, collection: _Collection, vector: Any) -> None:
        if vector is None:
            raise ValueError("a record without a vector")
        if collection.dimension not in (None, len(vector)):
            raise DataError(f"the collection has {collection.dimension} dimensions, not {len(vector)}")
        if not np.isfinite(vector).all():
            raise DataError("a vector that is not finite")


def _given(row: Record, *, vectors: bool) -> Record:
    return replace(
        row,
        metadata=copy.deepcopy(dict(row.metadata)),
        vector=row.vector.copy() if vectors and row.vector is not None else None,
    )


def _merged(old: Metadata, new: Metadata) -> dict[str, Any]:
    """Keys of ours are replaced; those that others have put there stay, as in Chroma."""
    foreign = {key: value for key, value in old.items() if key not in METADATA_KEYS}
    return copy.deepcopy(foreign | dict(new))


def _check_metadata(metadata: Metadata) -> None:
    for key, value in metadata.items():
        flat = isinstance(value, str | int | float | bool)
        texts = isinstance(value, list) and value and all(isinstance(item, str) for item in value)
        if not (flat or texts):
            raise DataError(f"{key}: {value!r} is no metadata value")


def _matches(value: Any, wanted: Any) -> bool:
    return wanted in value if isinstance(value, list) else value == wanted and type(value) is type(wanted)
