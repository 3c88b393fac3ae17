"""One connection to the ledger's file: transactions to write, snapshots to read, from any thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pipesched.errors import DataError, InputOutputError, NotPermitted
from pipesched.runs.database import Stamp, open_empty, open_readable, open_writable, stamp, translated

Answer = TypeVar("Answer")


class Connection:
    """Raises what `database.translated` raises: DataError, InputOutputError, Busy, NotPermitted."""

    def __init__(self, path: Path, db: sqlite3.Connection, *, writable: bool, seen: Stamp | None) -> None:
        self.path = path
        self._db = db
        self._writable = writable
        self._seen = seen
        self._exact = seen is None or not seen.log
        self._lock = threading.RLock()
        self._in_batch = False

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Self:
        """Open the ledger at `path`. `create`: to write, made if missing; else to read: nothing is made, a missing one is empty.

        Raises ConfigurationError for a ledger of a newer version, and CannotCreate.
        """
        if create:
            return cls(path, open_writable(path), writable=True, seen=None)
        ledger = cls(path, open_empty(), writable=False, seen=None)
        ledger._reopen()
        return ledger

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
            for _ in range(10):
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
        if self._writable:
            return True
        now = stamp(self.path)
        if self._exact or now is None or self._seen is None:
            return now == self._seen
        return now.inode == self._seen.inode

    def _reopen(self) -> None:
        """For a reader. What nobody has open is read as it lies, so that no trace is left; also where none may be left."""
        self._db.close()
        self._seen = stamp(self.path)
        self._exact = self._seen is None or not self._seen.log
        if self._seen is None:
            self._db = open_empty()
            return
        try:
            self._db = open_readable(self.path, quiescent=self._exact)
        except (NotPermitted, InputOutputError):
            if self._exact:
                raise
            self._exact = True
            self._db = open_readable(self.path, quiescent=True)
