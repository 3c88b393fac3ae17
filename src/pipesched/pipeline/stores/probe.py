"""A cheap look at a store without Chroma: which collections, how many rows, how many writes.

Importing Chroma and opening a store takes two seconds; this takes ten milliseconds. The schema of chroma.sqlite3 is
private to Chroma, so that a version we do not know is not read. SQLite's POSIX locks belong to the process: never call
this in a process that has the store open, because closing our handle would drop Chroma's locks.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pipesched.pipeline.stores.mark import MARK_KEY

UNMARKED: Final = "unmarked"

_KNOWN_SCHEMA = {"sysdb": 10, "metadb": 6, "embeddings_queue": 2}
"""The highest migration of each kind in chromadb 1.5; a store beyond it is looked at through Chroma itself."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One collection at one moment. `writes`: its last sequence number (-1 where a server does not tell).

    `files`: sizes and times of its index's files, which only a writer changes; "" where there are none, or it cannot be told.
    `mark`: a hash of what it says about itself, UNMARKED where it does not say that it is ours; "" where that was not asked.
    """

    uuid: str
    count: int
    writes: int
    files: str = ""
    mark: str = ""


def probe_folder(storage_path: str) -> dict[str, Probe] | None:
    """As `stores.probe`, of a folder."""
    file = Path(storage_path) / "chroma.sqlite3"
    try:
        if not file.exists() or not file.stat().st_size:
            return {}
        with closing(connect_read_only(file)) as connection:
            return _read(connection, file.parent)
    except (OSError, sqlite3.Error):
        return None


def connect_read_only(file: Path) -> sqlite3.Connection:
    """A connection that can change nothing; close it before Chroma opens the file in this process."""
    return sqlite3.connect(f"file:{quote(os.fsencode(file))}?mode=ro", uri=True, timeout=2.0)


def _read(connection: sqlite3.Connection, folder: Path) -> dict[str, Probe] | None:
    known = connection.execute("SELECT dir, max(version) FROM migrations GROUP BY dir").fetchall()
    if any(version > _KNOWN_SCHEMA.get(kind, -1) for kind, version in known):
        return None
    rows = connection.execute(
        """
        SELECT c.name, c.id,
               (SELECT count(*) FROM embeddings e WHERE e.segment_id = s.id),
               (SELECT m.seq_id FROM max_seq_id m WHERE m.segment_id = s.id),
               (SELECT v.id FROM segments v WHERE v.collection = c.id AND v.scope = 'VECTOR')
        FROM collections c
        JOIN databases d ON d.id = c.database_id AND d.name = 'default_database' AND d.tenant_id = 'default_tenant'
        JOIN segments s ON s.collection = c.id AND s.scope = 'METADATA'
        """
    ).fetchall()
    said: dict[str, dict[str, object]] = defaultdict(dict)
    for uuid, key, *values in connection.execute(
        "SELECT collection_id, key, str_value, int_value, float_value, bool_value FROM collection_metadata"
    ):
        said[uuid][key] = next((value for value in values if value is not None), None)
    return {
        name: Probe(
            uuid=uuid,
            count=count,
            writes=writes if isinstance(writes, int) else 0,
            files=_files(folder / str(index)),
            mark=mark_hash(said[uuid]),
        )
        for name, uuid, count, writes, index in rows
    }


def mark_hash(metadata: Mapping[str, object]) -> str:
    """Of a collection's metadata, as one way of asking gives it (another gives a bool as a number)."""
    if MARK_KEY not in metadata:
        return UNMARKED
    return hashlib.sha256(repr(sorted(metadata.items())).encode()).hexdigest()[:16]


def _files(index: Path) -> str:
    """Nothing of an index that was never written: each reader lays out an empty one, and fills it from the log."""
    try:
        with os.scandir(index) as entries:
            found = sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries)
    except OSError:
        return ""
    if all(name != "index_metadata.pickle" for name, _, _ in found):
        return ""
    return " ".join(f"{name}:{size}:{time}" for name, size, time in found)
