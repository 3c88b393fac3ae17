"""A store folder looked at without Chroma, as `probe` does: a collection's mark, and how full its index is."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipesched.pipeline.stores.mark import Mark
from pipesched.pipeline.stores.probe import connect_read_only, probe_folder

_HEADER: Final = struct.Struct("<iQQQ")
"""hnswlib's persisted header: version, an offset, allocated elements, elements. Deleted ones keep their place."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """`mark` None: pipesched did not make it. `slots`: places taken in the index, deleted rows' too; None: not known."""

    rows: int
    mark: Mark | None
    slots: int | None


def inspect_folder(storage_path: str, collection: str) -> Inspected | None:
    """None where the collection is not there, or the folder's format is not known. Reads only; see `probe` for when not to."""
    found = (probe_folder(storage_path) or {}).get(collection)
    if found is None:
        return None
    folder = Path(storage_path)
    try:
        with closing(connect_read_only(folder / "chroma.sqlite3")) as connection:
            metadata = {
                row[0]: bool(row[4])
                if row[4] is not None
                else next((v for v in row[1:4] if v is not None), "")
                for row in connection.execute(
                    "SELECT key, str_value, int_value, float_value, bool_value FROM collection_metadata"
                    " WHERE collection_id = ?",
                    (found.uuid,),
                )
            }
            segment = connection.execute(
                "SELECT id FROM segments WHERE collection = ? AND scope = 'VECTOR'", (found.uuid,)
            ).fetchone()
    except sqlite3.Error:
        return None
    return Inspected(found.count, Mark.from_metadata(metadata), _slots(folder, segment))


def _slots(folder: Path, segment: tuple[str] | None) -> int | None:
    if segment is None:
        return None
    try:
        with (folder / segment[0] / "header.bin").open("rb") as file:
            version, _, allocated, used = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error):
        return None
    return used if version == 1 and used <= allocated else None
