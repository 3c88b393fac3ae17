"""SQLite as the pipeline's own files need it: private, durable, migrated, and read without leaving a trace."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from pipesched import compaction
from pipesched.errors import Busy, DataError, InputOutputError, NotPermitted, PipeschedError
from pipesched.files import is_full, umask

BUSY_SECONDS = 30.0

_IDS_AT_ONCE = 500

Migrations = Sequence[str]
"""Scripts; the number of those that were run is the file's user_version."""


class Damaged(DataError):
    """The file is not what we wrote. What it held can be had again, so that it is set aside (see `set_aside`)."""

    code = "state_damaged"

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(
            f"{path} is damaged: {why}", hint="the next run makes it anew; the old file is kept beside it"
        )
        self.path = path


class Database:
    """One open file; every error of SQLite arrives as one of ours."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, migrations: Migrations) -> Self:
        """Open for writing, made (0600) if needed, in a folder that exists. Raises Damaged, Busy, InputOutputError, NotPermitted."""
        with translated(path), umask(0o077):
            # Autocommit: transactions are begun by hand. The writer of a run is a thread of its own, one at a time.
            connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                compaction.prepare(connection)
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                database = cls(path, connection)
                database._migrate(migrations)
            except BaseException:
                connection.close()
                raise
            return database

    @classmethod
    def open_to_read(cls, path: Path, migrations: Migrations) -> Self:
        """Open without writing a byte; a file that is not there reads as an empty one.

        SQLite would make a -shm file to read one in WAL mode. Without a -wal file nobody is writing, and `immutable` reads
        the file as it is; who starts to write in that moment appends to the -wal file, so that what is read stays whole.
        """
        with translated(path):
            if not path.exists():
                return cls.empty(path, migrations)
            live = path.with_name(path.name + "-wal").exists()
            connection = sqlite3.connect(
                f"file:{quote(os.fsencode(path))}?mode=ro{'' if live else '&immutable=1'}",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
            )
            database = cls(path, connection)
            try:
                database._check_version(migrations)
            except BaseException:
                connection.close()
                raise
            return database

    @classmethod
    def empty(cls, path: Path, migrations: Migrations) -> Self:
        """In memory, as `path` would be if it were made now."""
        database = cls(path, sqlite3.connect(":memory:", isolation_level=None))
        database._migrate(migrations)
        return database

    @classmethod
    def copy(cls, path: Path, migrations: Migrations) -> Self:
        """The file's content in memory, brought to this version's schema; an empty one for a damaged file, which is only read."""
        try:
            source = cls.open_to_read(path, migrations)
        except Damaged:
            return cls.empty(path, migrations)
        try:
            with translated(path):
                connection = sqlite3.connect(":memory:", isolation_level=None)
                source.back_up(connection)
                connection.execute("PRAGMA journal_mode=MEMORY")
                database = cls(path, connection)
                database._migrate(migrations)
                return database
        finally:
            source.close()

    def back_up(self, into: sqlite3.Connection) -> None:
        self._connection.backup(into)

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _check_version(self, migrations: Migrations) -> int:
        version = self._version()
        if version > len(migrations):
            raise DataError(
                f"{self.path} was written by a newer pipesched",
                hint="use that version, or name another --state-dir",
            )
        return version

    def _migrate(self, migrations: Migrations) -> None:
        version = self._check_version(migrations)
        if version == len(migrations):
            return
        with self.transaction():
            for script in migrations[self._version() :]:
                for statement in script.split(";"):
                    self.execute(statement)
            self.execute(f"PRAGMA user_version={len(migrations)}")

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        with translated(self.path):
            return self._connection.execute(sql, values).fetchall()

    def rows_in(self, sql: str, values: Sequence[Any], ids: Sequence[Any]) -> list[Any]:
        """`rows` of a statement that ends in "IN", for any number of `ids`: SQLite takes only so many at once."""
        found: list[Any] = []
        for start in range(0, len(ids), _IDS_AT_ONCE):
            page = ids[start : start + _IDS_AT_ONCE]
            found += self.rows(f"{sql} ({','.join('?' * len(page))})", (*values, *page))
        return found

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Rows one at a time; the file must not be written meanwhile."""
        with translated(self.path):
            yield from self._connection.execute(sql, values)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement; returns how many rows it touched."""
        with translated(self.path):
            return self._connection.execute(sql, values).rowcount

    def execute_many(self, sql: str, values: Iterator[Any] | Sequence[Any]) -> None:
        with translated(self.path):
            self._connection.executemany(sql, values)

    @contextmanager
    def transaction(self, kind: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[None]:
        """All or nothing, durable when it ends. A file opened to read has a deferred one alone, for its temporary tables."""
        self.execute(f"BEGIN {kind}")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has rolled it back already
                self.execute("ROLLBACK")
            raise

    def reclaimable(self) -> int:
        with translated(self.path):
            return compaction.reclaimable(self._connection)

    def give_back(self) -> int:
        """Give the disk back what deleted rows have left; the bytes are returned."""
        with translated(self.path):
            return compaction.give_back(self._connection)

    def close(self) -> None:
        with translated(self.path):
            self._connection.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        ours = _ours(path, error)
        if ours is None:
            raise  # a bug of ours, and loud: the file is not to blame
        raise ours from error


def _ours(path: Path, error: sqlite3.Error) -> PipeschedError | None:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Busy(f"{path} is being written by another process", hint="try again in a moment")
    if name.startswith("SQLITE_FULL") or (name.startswith("SQLITE_IOERR") and is_full(path.parent)):
        return InputOutputError(f"cannot write {path}: the disk is full", hint="free some space: df -h")
    if name.startswith("SQLITE_IOERR"):
        return InputOutputError(f"cannot write {path}: {error}", hint="check the disk: df -h; dmesg | tail")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return NotPermitted(
            f"cannot open {path}: {error}", hint=f"check who owns it: ls -ld {path.parent} {path}"
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")) or "no such table" in str(error):
        return Damaged(path, error)
    return None


def set_aside(path: Path) -> Path:
    """Move a damaged file and its journals out of the way; returns where it is now."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.replace(kept)
    return kept
