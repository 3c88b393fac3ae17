"""A store folder looked at without Chroma, as `probe` does: a collection's mark, how full its index is, and whether it is whole."""

from __future__ import annotations

import sqlite3
import struct
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipesched.pipeline.stores.mark import Mark
from pipesched.pipeline.stores.probe import connect_read_only, probe_folder
from pipesched.pipeline.stores.vendor_errors import damaged

_HEADER: Final = struct.Struct("<iQQQQ")
"""hnswlib's persisted header: version, an offset, allocated elements, elements (deleted ones keep their place), bytes of each."""

_WRITTEN_SECONDS: Final = 1.0
"""Longer than Chroma takes to write an index out."""

_UNSYNCED: Final = 2000
"""Chroma writes its index out each 1,000 changes; so many rows are never without one."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """`mark` None: pipesched did not make it. `slots`: places taken in the index, deleted rows' too; None: not known.

    `trouble`: what is wrong with the index's files, with which Chroma would find little, and say nothing; "" for nothing.
    """

    rows: int
    mark: Mark | None
    slots: int | None
    trouble: str = ""


def inspect_folder(storage_path: str, collection: str) -> Inspected | None:
    """None where the collection is not there, or the folder's format is not known. Reads only; see `probe` for when not to."""
    found = (probe_folder(storage_path) or {}).get(collection)
    if found is None:
        return None
    folder = Path(storage_path)
    try:
        with closing(connect_read_only(folder / "chroma.sqlite3")) as connection:
            metadata = {
                key: bool(flag)
                if flag is not None
                else next((value for value in values if value is not None), "")
                for key, *values, flag in connection.execute(
                    "SELECT key, str_value, int_value, float_value, bool_value FROM collection_metadata"
                    " WHERE collection_id = ?",
                    (found.uuid,),
                )
            }
            segment = connection.execute(
                "SELECT id FROM segments WHERE collection = ? AND scope = 'VECTOR'", (found.uuid,)
            ).fetchone()
            is_written = segment is not None and _is_written(connection, segment[0])
    except sqlite3.Error:
        return None
    slots, size = _header(folder / segment[0]) if segment else (None, 0)
    trouble = (
        _trouble(folder / segment[0], found.count, slots, size, is_written=is_written) if segment else ""
    )
    return Inspected(found.count, Mark.from_metadata(metadata), slots, trouble)


def database_trouble(storage_path: str) -> str:
    """What SQLite finds wrong in the store's database; "" for nothing, and where it cannot be looked at. Reads all of it (100 MB/s)."""
    file = Path(storage_path) / "chroma.sqlite3"
    if not file.exists():
        return ""
    try:
        with closing(connect_read_only(file)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        corrupt = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        return str(error) if corrupt else ""
    return "" if found is None or found[0] == "ok" else str(found[0]).splitlines()[-1]


def check_index(storage_path: str, collection: str) -> None:
    """Raises DataError (store_damaged) where files of its index are gone or cut short: Chroma answers from what is left of them.

    A run may be writing them: they are looked at once more before anything is said.
    """
    trouble = _of_ours(storage_path, collection)
    if trouble:
        time.sleep(_WRITTEN_SECONDS)
        trouble = _of_ours(storage_path, collection)
    if trouble:
        raise damaged(storage_path, f"collection {collection}: {trouble}")


def _of_ours(storage_path: str, collection: str) -> str:
    seen = inspect_folder(storage_path, collection)
    return "" if seen is None or seen.mark is None else seen.trouble


def _is_written(connection: sqlite3.Connection, segment: str) -> bool:
    """Whether Chroma has written the index out: then it reads no row of its log again that is in it."""
    try:
        found = connection.execute("SELECT 1 FROM max_seq_id WHERE segment_id = ?", (segment,)).fetchone()
    except sqlite3.OperationalError:  # a format in which that is elsewhere
        return False
    return found is not None


def _header(index: Path) -> tuple[int | None, int]:
    """Places taken, and bytes of each."""
    try:
        with (index / "header.bin").open("rb") as file:
            version, _, allocated, used, size = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error):
        return None, 0
    return (used, size) if version == 1 and used <= allocated else (None, 0)


def _trouble(index: Path, rows: int, slots: int | None, size: int, *, is_written: bool) -> str:
    if slots is None:
        gone = rows > _UNSYNCED or (rows and is_written)
        return f"the index of its {rows} rows is gone from {index.name}" if gone else ""
    if slots < rows - _UNSYNCED:
        return f"its index has {slots} of {rows} rows"
    try:
        there = (index / "data_level0.bin").stat().st_size
    except OSError:
        there = 0
    if there < slots * size:
        return f"data_level0.bin in {index.name} has {there} of {slots * size} bytes"
    return ""
