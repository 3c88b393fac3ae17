"""The ledger's SQLite file: private, durable, migrated, and opened for reading without a trace."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pipesched import files
from pipesched.errors import (
    Busy,
    CannotCreate,
    ConfigurationError,
    DataError,
    InputOutputError,
    NotPermitted,
    PipeschedError,
)

APPLICATION_ID: Final = 0x70697065
"""In the file's header, so that another program's database is never taken for ours."""
BUSY_SECONDS: Final = 10.0
MIGRATIONS: Final = (
    """
    CREATE TABLE runs (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      run_id TEXT NOT NULL UNIQUE,
      job_id TEXT NOT NULL,              -- '' where no job started it
      status TEXT NOT NULL,
      cause TEXT NOT NULL,               -- schedule, manual, catch_up, retry, dependency
      claimed INTEGER NOT NULL DEFAULT 0,
      scheduled_for INTEGER,             -- this and all times: microseconds since 1970, UTC
      attempt INTEGER NOT NULL DEFAULT 1,
      at INTEGER NOT NULL,               -- when it last happened: start, else claim; of slots, the last
      queued_at INTEGER,
      not_before INTEGER,
      started_at INTEGER,
      finished_at INTEGER,
      exit_code INTEGER,
      reason TEXT NOT NULL DEFAULT '',
      count INTEGER NOT NULL DEFAULT 1,
      until INTEGER,
      pid INTEGER,
      pid_started INTEGER,
      boot TEXT,
      dry_run INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX runs_attempt ON runs (job_id, scheduled_for, attempt) WHERE claimed = 1;
    CREATE INDEX runs_by_status ON runs (status, at);
    CREATE INDEX runs_by_job ON runs (job_id, status, at);
    CREATE TABLE jobs (
      job_id TEXT PRIMARY KEY,
      created_at INTEGER,
      handled INTEGER,
      claimed INTEGER NOT NULL DEFAULT 0,
      failures INTEGER NOT NULL DEFAULT 0,
      auto_paused_at INTEGER,
      auto_pause_reason TEXT NOT NULL DEFAULT '',
      retry_slot INTEGER,
      retry_attempt INTEGER,
      retry_not_before INTEGER,
      slot_row INTEGER,                  -- the row that the next slot may join
      last_run INTEGER,
      last_sync INTEGER,
      ran_event INTEGER NOT NULL DEFAULT 0,
      sync_event INTEGER NOT NULL DEFAULT 0,
      recent TEXT NOT NULL DEFAULT '',   -- the last 20 outcomes, oldest first: 1 executed, 0 failed
      documents TEXT NOT NULL DEFAULT '{}',
      succeeded INTEGER NOT NULL DEFAULT 0,
      partial INTEGER NOT NULL DEFAULT 0,
      failed INTEGER NOT NULL DEFAULT 0,
      timeout INTEGER NOT NULL DEFAULT 0,
      interrupted INTEGER NOT NULL DEFAULT 0,
      lost INTEGER NOT NULL DEFAULT 0,
      missed INTEGER NOT NULL DEFAULT 0,
      skipped INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE lifetime (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      events INTEGER NOT NULL DEFAULT 0, -- an order of things that no clock can upset
      recent TEXT NOT NULL DEFAULT '',
      last_execution INTEGER,
      last_error TEXT,
      succeeded INTEGER NOT NULL DEFAULT 0,
      partial INTEGER NOT NULL DEFAULT 0,
      failed INTEGER NOT NULL DEFAULT 0,
      timeout INTEGER NOT NULL DEFAULT 0,
      interrupted INTEGER NOT NULL DEFAULT 0,
      lost INTEGER NOT NULL DEFAULT 0,
      missed INTEGER NOT NULL DEFAULT 0,
      skipped INTEGER NOT NULL DEFAULT 0
    );
    INSERT INTO lifetime (id) VALUES (1);
    CREATE TABLE documents (outcome TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
    """,
)
VERSION: Final = len(MIGRATIONS)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes whenever the file does; `log`: a write-ahead log lies beside it."""

    inode: int
    size: int
    mtime_ns: int
    log: bool


def stamp(path: Path) -> Stamp | None:
    """None: there is no such file. Raises NotPermitted, InputOutputError."""
    try:
        info = path.stat()
        return Stamp(info.st_ino, info.st_size, info.st_mtime_ns, Path(f"{path}-wal").exists())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise files.os_error("read", path, error) from error


def open_writable(path: Path) -> sqlite3.Connection:
    """Open `path`, made 0600 in a private folder if it is missing, and brought to VERSION. Raises the errors of `translated`."""
    files.private_dir(path.parent)
    _private_file(path)
    with translated(path):
        db = _connect(f"file:{quote(str(path))}?mode=rw")
        with _closed_on_error(db):
            _check_version(db, path)
            _write_ahead(db)
            db.execute("PRAGMA synchronous = FULL")
            if _user_version(db) < VERSION:
                _migrate(db)
    return db


def open_readable(path: Path, *, quiescent: bool) -> sqlite3.Connection:
    """Open `path` for reading; a file that holds nothing yet is an empty ledger.

    `quiescent`: nobody has it open, so that it can be read as it lies. SQLite makes -wal and -shm files for a reader too, and
    cannot read at all where it must not make them. The caller has to make sure afterwards that nobody came (`stamp`).
    """
    with translated(path):
        db = _connect(f"file:{quote(str(path))}?" + ("immutable=1" if quiescent else "mode=ro"))
        with _closed_on_error(db):
            version = _check_version(db, path)
            if version == 0:
                db.close()
                return open_empty()
            if version < VERSION:
                raise ConfigurationError(
                    f"the ledger {path} is of an older version, {version}",
                    hint="pipesched daemon, or any run, brings it up to date",
                )
            db.execute("PRAGMA query_only = 1")
    return db


def open_empty() -> sqlite3.Connection:
    """A ledger of nothing, in memory, for those who only read."""
    db = _connect(":memory:")
    _migrate(db)
    db.execute("PRAGMA query_only = 1")
    return db


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors become ours: here, and nowhere else.

    Raises DataError (damaged, or no ledger), InputOutputError (disk), Busy, NotPermitted, CannotCreate. What is our own
    mistake (SQL, types) stays as it is, and is loud.
    """
    try:
        yield
    except sqlite3.Error as error:
        ours = _translate(path, error)
        if ours is None:
            raise
        raise ours from error


def _translate(path: Path, error: sqlite3.Error) -> PipeschedError | None:
    extended = getattr(error, "sqlite_errorcode", None)
    code = extended & 0xFF if isinstance(extended, int) else None
    match code:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damaged(path, str(error))
        case sqlite3.SQLITE_FULL:
            return InputOutputError(f"cannot write {path}: the disk is full", hint="free some space: df -h")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOMEM | sqlite3.SQLITE_TOOBIG | sqlite3.SQLITE_PROTOCOL:
            return InputOutputError(f"cannot use {path}: {error}", hint="check the disk: df -h; dmesg | tail")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Busy(f"another process keeps {path} locked", hint=f"see which: fuser {path}")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return NotPermitted(
                f"cannot write {path}: {error}", hint=f"check its owner and mode: ls -l {path}"
            )
        case sqlite3.SQLITE_CANTOPEN:
            if path.exists() and not os.access(path, os.R_OK):
                return NotPermitted(f"cannot open {path}: permission denied", hint=f"ls -l {path}")
            return InputOutputError(f"cannot open {path}: {error}", hint=f"ls -ld {path.parent} {path}")
        case sqlite3.SQLITE_ERROR if "no such table" in str(error) or "no such column" in str(error):
            return _damaged(path, str(error))
    return None


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"the ledger {path} cannot be used: {what}",
        hint=f"move it away, and the next run starts a new one (history and counts begin again): mv {path} {path}.damaged",
    )


def _connect(uri: str) -> sqlite3.Connection:
    # Threads of one process share a connection; Ledger lets one in at a time.
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    return db


@contextlib.contextmanager
def _closed_on_error(db: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        db.close()
        raise


def _private_file(path: Path) -> None:
    """Make `path` (0600) unless it is there; SQLite gives its -wal and -shm files the same mode."""
    try:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, files.PRIVATE_FILE)
        except FileExistsError:
            info = path.lstat()
            if not stat.S_ISREG(info.st_mode):
                raise NotPermitted(
                    f"{path} is no ordinary file, and anybody could have planted it", hint=f"see ls -l {path}"
                ) from None
            if stat.S_IMODE(info.st_mode) & 0o077:
                path.chmod(files.PRIVATE_FILE)
            return
        os.close(fd)
        files.fsync_dir(path.parent)
    except OSError as error:
        ours = files.os_error("create", path, error)
        if isinstance(ours, NotPermitted):
            raise ours from error
        raise CannotCreate(ours.message, hint=ours.hint) from error


def _user_version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _check_version(db: sqlite3.Connection, path: Path) -> int:
    """The file's version; 0: there is nothing in it yet."""
    version = _user_version(db)
    application = int(db.execute("PRAGMA application_id").fetchone()[0])
    tables = int(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if (version, tables) == (0, 0):
        return 0
    if application != APPLICATION_ID:
        raise _damaged(path, "it is another program's database")
    if version > VERSION:
        raise ConfigurationError(
            f"the ledger {path} was written by a newer pipesched (its version {version}, ours {VERSION})",
            hint="upgrade pipesched, or name another --state-dir",
        )
    return version


def _write_ahead(db: sqlite3.Connection) -> None:
    """Readers go on while somebody writes. The change of mode does not wait for a lock by itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _migrate(db: sqlite3.Connection) -> None:
    """All steps in one transaction: the file is of the old version, or of the new one."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for number in range(_user_version(db), VERSION):
            for statement in _statements(MIGRATIONS[number]):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """One by one, because executescript commits the transaction that it finds open."""
    statement = ""
    for line in script.splitlines():
        statement += line.split("--")[0] + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
