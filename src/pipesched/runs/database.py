"""The ledger's SQLite file: private, durable, migrated, and opened for reading without a trace."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pipesched import compaction, files
from pipesched.errors import (
    Busy,
    CannotCreate,
    ConfigurationError,
    DataError,
    InputOutputError,
    NotPermitted,
    PipeschedError,
)
from pipesched.runs.schema import APPLICATION_ID, VERSION, migrate, user_version

BUSY_SECONDS: Final = 10.0


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
        db = _connect(f"file:{quote(os.fsencode(path))}?mode=rw")
        with _closed_on_error(db):
            _check_version(db, path)
            compaction.prepare(db)
            _write_ahead(db)
            db.execute("PRAGMA synchronous = FULL")
            if user_version(db) < VERSION:
                migrate(db)
    return db


def open_readable(path: Path, *, quiescent: bool) -> sqlite3.Connection:
    """Open `path` for reading; a file that holds nothing yet is an empty ledger.

    `quiescent`: nobody has it open, so that it can be read as it lies. SQLite makes -wal and -shm files for a reader too, and
    cannot read at all where it must not make them. The caller has to make sure afterwards that nobody came (`stamp`).
    """
    with translated(path):
        db = _connect(f"file:{quote(os.fsencode(path))}?" + ("immutable=1" if quiescent else "mode=ro"))
        with _closed_on_error(db):
            version = _check_version(db, path)
            if version == VERSION:
                db.execute("PRAGMA query_only = 1")
                return db
            db.close()
    return open_empty() if version == 0 else open_copy(path)


def open_copy(path: Path) -> sqlite3.Connection:
    """Read a copy: where SQLite may not make its -shm file, and what the log holds belongs to the ledger all the same.

    A ledger of an older version is brought up to date in the copy: who only reads changes nothing.
    """
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pipesched-") as folder:
        copy = Path(folder) / path.name
        try:
            shutil.copyfile(path, copy)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}-wal", f"{copy}-wal")
        except OSError as error:
            raise files.os_error("read", path, error) from error
        with translated(path):
            db = _connect(f"file:{quote(os.fsencode(copy))}?mode=rw")
            with _closed_on_error(db):
                db.execute("PRAGMA journal_mode = DELETE")  # the log is in the file now, whose name may go
                if _check_version(db, path) < VERSION:
                    migrate(db)
                db.execute("PRAGMA query_only = 1")
    return db


def open_empty() -> sqlite3.Connection:
    """A ledger of nothing, in memory, for those who only read."""
    db = _connect(":memory:")
    migrate(db)
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
        case _ if code == sqlite3.SQLITE_FULL or (
            code == sqlite3.SQLITE_IOERR and files.is_full(path.parent)
        ):
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
        hint=f"move it away (mv {path}* SOMEWHERE), and the next run starts a new one; history and counts begin again",
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
        with _folder_locked(path.parent):
            if not path.is_symlink() and not path.exists():
                # What an earlier ledger left would be taken for this one's.
                for orphan in (Path(f"{path}-wal"), Path(f"{path}-shm")):
                    with contextlib.suppress(FileNotFoundError):
                        orphan.rename(f"{orphan}.orphan")
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, files.PRIVATE_FILE))
                files.fsync_dir(path.parent)
                return
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode):
            raise NotPermitted(
                f"{path} is no ordinary file, and anybody could have planted it", hint=f"see ls -l {path}"
            )
        if stat.S_IMODE(info.st_mode) & 0o077:
            path.chmod(files.PRIVATE_FILE)
    except OSError as error:
        ours = files.os_error("create", path, error)
        if isinstance(ours, NotPermitted):
            raise ours from error
        raise CannotCreate(ours.message, hint=ours.hint) from error


@contextlib.contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Those who make a ledger in `folder`, one after the other; a file system without such locks goes without."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _check_version(db: sqlite3.Connection, path: Path) -> int:
    """The file's version; 0: there is nothing in it yet."""
    version = user_version(db)
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
