"""Gives the disk back what deleted rows leave free in a SQLite file, little by little, so that no writer has to wait."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

WORTH_BYTES: Final = 1024 * 1024
WORTH_SHARE: Final = 0.25
"""Less than either is soon used again."""
STEP_PAGES: Final = 500
"""Moved in one transaction, which takes some milliseconds."""
PAUSE_SECONDS: Final = 0.01
"""Between two of them: SQLite gives the lock to whoever asks first, not to whoever has waited."""
_SHRINKING: Final = "PRAGMA auto_vacuum = INCREMENTAL"


def prepare(db: sqlite3.Connection) -> None:
    """Before anything is in a new file: its free pages can be given back later. An old file stays as it is."""
    if not db.execute("PRAGMA page_count").fetchone()[0]:
        db.execute(_SHRINKING)


def reclaimable(db: sqlite3.Connection) -> int:
    """Bytes that `give_back` would give back; 0 where it is not worth it. Raises sqlite3.Error."""
    free, pages, size = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("freelist_count", "page_count", "page_size")
    )
    return free * size if free * size >= WORTH_BYTES and free >= pages * WORTH_SHARE else 0


def give_back(db: sqlite3.Connection) -> int:
    """Shorten the file, and its log, by what is free in it; the bytes are returned. May be killed anywhere.

    A file from before `prepare` is written anew as a whole, once. Raises sqlite3.Error: another writer, a full disk.
    """
    found = reclaimable(db)
    if not found:
        return 0
    if not db.execute("PRAGMA auto_vacuum").fetchone()[0]:
        db.execute(_SHRINKING)
        db.execute("VACUUM")
    while before := int(db.execute("PRAGMA freelist_count").fetchone()[0]):
        db.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")  # execute() would stop at the first page
        if int(db.execute("PRAGMA freelist_count").fetchone()[0]) >= before:
            break  # somebody frees as fast
        time.sleep(PAUSE_SECONDS)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return found
