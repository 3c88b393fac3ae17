"""The index folders that Chroma leaves behind when a collection is dropped."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from pipesched.options import is_server
from pipesched.pipeline.stores.probe import connect_read_only


def sweep(storage_path: str) -> list[Path]:
    """Remove folders with a UUID for a name that chroma.sqlite3 no longer names as a segment; returns them.

    The caller holds the store's lock and has Chroma closed. A folder that cannot be removed stays.
    """
    folder = Path(storage_path)
    if is_server(storage_path) or not (folder / "chroma.sqlite3").is_file():
        return []
    try:
        with closing(connect_read_only(folder / "chroma.sqlite3")) as connection:
            named = {row[0] for row in connection.execute("SELECT id FROM segments")}
    except sqlite3.Error:
        return []
    removed = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and entry.name not in named and _is_uuid(entry.name):
            shutil.rmtree(entry, ignore_errors=True)
            removed += [] if entry.exists() else [entry]
    return removed


def _is_uuid(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
