"""One connection to the ledger's file: transactions to write, snapshots to read, from any thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from pipesched import compaction
from pipesched.errors import DataError, InputOutputError, NotPermitted
from pipesched.runs.database import (
    Stamp,
    open_copy,
    open_empty,
    open_readable,
    open_writable,
    stamp,
    translated,
)

Answer = TypeVar("Answer")
TRIES: Final = 10
"""How often a reader asks again when the file changed under it."""


class Connection:
    """Raises what `database.translated` raises: DataError, InputOutputError, Busy, NotPermitted."""

    def __init__(self, path: Path, db: sqlite3.Connection | None) -> None:
        """`db`: a connection that writes; None: read only."""
        self.path = path
        self._writable = db is not None
        self._seen: Stamp | None = None
        self._as_it_lies = False
        self._db = self._open_reader() if db is None else db
        self._lock = threading.RLock()
        self._in_batch = False

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Self:
        """Open the ledger at `path`. `create`: to write, made if missing; else to read: nothing is made, a missing one is empty.

        Raises ConfigurationError for a ledger of a newer version, and CannotCreate.
        """
        return cls(path, open_writable(path) if create else None)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All changes inside are one: durable, together, when it ends; an error undoes them all. One sync of the disk for 1,000 claims."""
        with self._write():
            yield

    def reclaimable(self) -> int:
        """Bytes of the file that `give_back` would give back."""
        return self._read(compaction.reclaimable)

    def give_back(self) -> int:
        """Give the disk back what deleted rows have left; the bytes are returned."""
        with self._lock, translated(self.path):
            return compaction.give_back(self._db)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        assert self._writable, "opened to read only"
        with self._lock:
            if self._in_batch:
                yield self._db
                return
            with translated(self.path):
                self._db.execute("BEGIN IMMEDIATE")
                self._in_batch = True
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
                finally:
                    self._in_batch = False

    def _read(self, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Ask within one snapshot; a reader whose file changed under it asks again."""
        with self._lock:
            if self._in_batch:
                return question(self._db)
            for _ in range(TRIES):
                try:
                    answer = self._snapshot(question)
                except DataError:
                    if self._is_current():
                        raise
                else:
                    if self._is_current():
                        return answer
                self._reopen()
            return self._snapshot(question)

    def _snapshot(self, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
        with translated(self.path):
            self._db.execute("BEGIN")
            try:
                return question(self._db)
            finally:
                self._db.execute("COMMIT")

    def _is_current(self) -> bool:
        """Whether what was read is of one moment, and of the file that is there now."""
        if self._writable:
            return True
        now = stamp(self.path)
        if now is None or self._seen is None or self._as_it_lies:
            return now == self._seen
        return now.inode == self._seen.inode

    def _reopen(self) -> None:
        self._db.close()
        self._db = self._open_reader()

    def _open_reader(self) -> sqlite3.Connection:
        """A connection that leaves no trace: a file without a log beside it is read as it lies, since nobody has it open."""
        for _ in range(TRIES):
            self._seen = stamp(self.path)
            try:
                return self._reader(self._seen)
            except DataError:
                if stamp(self.path) == self._seen:
                    raise
        return self._reader(self._seen)

    def _reader(self, seen: Stamp | None) -> sqlite3.Connection:
        self._as_it_lies = seen is None or not seen.log
        if seen is None:
            return open_empty()
        if not seen.log:
            return open_readable(self.path, quiescent=True)
        try:
            return open_readable(self.path, quiescent=False)
        except (NotPermitted, InputOutputError):
            self._as_it_lies = True
            return open_copy(self.path)
