"""Durable writes, private folders and kernel-released locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipesched.errors import CannotCreate, InputOutputError, NotPermitted

PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600


def fsync_dir(folder: Path) -> None:
    """Make a rename or a new name in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace `path` by `data`: a reader, or a crash at any step, meets the old bytes or the new.

    The temporary file is in the same folder, because rename(2) is atomic within one file system only.
    `mode`: permission bits; default the old file's, else 0666 less the umask. A symbolic link is followed, so that a
    linked job file stays a link. Raises InputOutputError (disk full, input/output), NotPermitted.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        if mode is None and path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else mode
        )
        try:
            if mode is not None:
                os.fchmod(fd, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        fsync_dir(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise os_error("write", path, error) from error


def os_error(verb: str, path: Path, error: OSError) -> InputOutputError | NotPermitted:
    """The error of ours for `error`, met while trying to `verb` `path`."""
    reason = error.strerror or str(error)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPermitted(
            f"cannot {verb} {path}: {reason}", hint=f"check who owns {path.parent}: ls -ld {path.parent}"
        )
    hint = "free some space: df -h" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
    return InputOutputError(f"cannot {verb} {path}: {reason}", hint=hint)


def private_dir(folder: Path) -> Path:
    """Make `folder` (0700) if needed and refuse one that others could have planted.

    Refused: a symbolic link or another user's folder (root included: files of root's would lock the owner out).
    Raises NotPermitted, CannotCreate.
    """
    try:
        created = not folder.exists() and not folder.is_symlink()
        if created:
            folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
            folder.chmod(PRIVATE_DIR)
        check_owner(folder)
        info = folder.stat()
        if stat.S_IMODE(info.st_mode) & 0o077:
            folder.chmod(PRIVATE_DIR)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise os_error("create", folder, error) from error
        raise CannotCreate(
            f"cannot create the folder {folder}: {error.strerror}", hint="choose another with --state-dir"
        ) from error
    return folder


def check_owner(folder: Path) -> None:
    """Refuse `folder` as a state folder when it is a link, no folder, or somebody else's. Raises NotPermitted."""
    info = folder.lstat()
    if stat.S_ISLNK(info.st_mode):
        raise NotPermitted(
            f"{folder} is a symbolic link, which anybody could have planted",
            hint="name the real folder with --state-dir",
        )
    if not stat.S_ISDIR(info.st_mode):
        raise CannotCreate(f"{folder} is not a folder", hint="move it away, or name another with --state-dir")
    me = os.geteuid()
    if info.st_uid != me:
        owner = owner_name(info.st_uid)
        raise NotPermitted(
            f"{folder} belongs to {owner}, and you are {owner_name(me)}",
            hint=f"run it as its owner: sudo -u {owner} pipesched ...",
        )


def owner_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as written into the lock file by the holder."""

    pid: int | None
    what: str

    def __str__(self) -> str:
        who = f"pid {self.pid}" if self.pid is not None else "another process"
        return f"{who} ({self.what})" if self.what else who


class KernelLock:
    """An exclusive flock(2) on a file beside what it guards: the kernel lets it go when the holder dies.

    The holder writes its pid and purpose into the file, so that who waits can be told who holds it (filelock, the
    usual package, truncates the file at each attempt, and costs 40 ms to import). The file itself is never removed:
    unlinking a lock file lets two holders in.
    """

    def __init__(self, path: Path, *, what: str = "", mode: int = PRIVATE_FILE) -> None:
        self.path = path
        self.what = what
        self.mode = mode
        self._fd: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free. Raises InputOutputError or NotPermitted if the file cannot be opened."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, self.mode)
        except OSError as error:
            raise os_error("lock", self.path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as error:
            os.close(fd)
            raise os_error("lock", self.path, error) from error
        self._fd = fd
        with contextlib.suppress(OSError):  # a full disk must not keep anybody from taking the lock
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"pid": os.getpid(), "what": self.what}).encode(), 0)
        return True

    def acquire(self, wait_seconds: float, *, poll_seconds: float = 0.02) -> bool:
        """Try until it succeeds or `wait_seconds` have passed."""
        deadline = time.monotonic() + wait_seconds
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                return False
            time.sleep(poll_seconds)
        return True

    def holder(self) -> Holder:
        """What the holder wrote; unknown where it could not."""
        try:
            data = json.loads(self.path.read_bytes() or b"{}")
            return Holder(pid=int(data["pid"]), what=str(data.get("what", "")))
        except (OSError, ValueError, KeyError, TypeError):
            return Holder(pid=None, what="")

    def is_held(self) -> bool:
        """Whether some process holds the lock now; takes nothing and creates nothing."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def release(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Every file made inside gets at most these permissions (SQLite makes its -wal and -shm files itself)."""
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)
