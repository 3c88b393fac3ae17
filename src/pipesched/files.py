"""Durable writes, private folders and kernel-released locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from pipesched.errors import CannotCreate, InputOutputError, NotPermitted
from pipesched.settings import STATE_DIR, STATE_NAMES

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    import threading

PRIVATE_DIR: Final = 0o700
PRIVATE_FILE: Final = 0o600
_SMALLEST_BYTES: Final = 64 * 1024
"""SQLite's -shm file has 32 kB."""
_PROBE_RETRIES: Final = 2
_PROBE_SECONDS: Final = 0.002


def fsync_dir(folder: Path) -> None:
    """Make a rename or a new name in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace `path` by `data`: a reader, or a crash at any step, meets the old bytes or the new.

    The temporary file is in the same folder, because rename(2) is atomic within one file system only. What a killed
    writer leaves there goes with the next write into the folder.
    `mode`: permission bits; default the old file's, else 0666 less the umask. A symbolic link is followed, so that a
    linked job file stays a link; root leaves a file its owner. Raises CannotCreate (no such folder, a device, a pipe),
    InputOutputError (disk full, input/output), NotPermitted.
    """
    path = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        old = path.stat() if path.exists() else None
        if old is not None and not (stat.S_ISREG(old.st_mode) or stat.S_ISDIR(old.st_mode)):
            raise CannotCreate(  # root would put a file in the place of /dev/null
                f"cannot write {path}: it is no regular file", hint="name a file"
            )
        if mode is None and old is not None:
            mode = stat.S_IMODE(old.st_mode)
        temporary, fd = _temporary_file(path.parent, 0o666 if mode is None else mode)
        try:
            if old is not None and os.geteuid() == 0:
                os.fchown(fd, old.st_uid, old.st_gid)
            if mode is not None:
                os.fchmod(fd, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
            temporary.replace(path)
        finally:
            os.close(fd)  # and with it the lock that says "in use", which must outlive the temporary name
        fsync_dir(path.parent)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise CannotCreate(
                f"cannot write {path}: there is no folder {path.parent}", hint=f"mkdir -p {path.parent}"
            ) from error
        raise os_error("write", path, error) from error
    _sweep(path.parent)


_TEMPORARY = re.compile(r"\.pipesched-[0-9a-f]{16}\.tmp")


def _temporary_file(folder: Path, mode: int) -> tuple[Path, int]:
    """A new file in `folder`, and its descriptor, which holds the lock that keeps `_sweep` away."""
    while True:
        path = folder / f".pipesched-{os.urandom(8).hex()}.tmp"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return path, fd
        os.close(fd)  # swept between the two calls


def _sweep(folder: Path) -> None:
    """Remove the temporary files of writers that were killed: nobody holds their locks."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                fd = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    (folder / name).unlink()
                finally:
                    os.close(fd)


def open_plain(path: Path) -> BinaryIO:
    """To read an ordinary file, unbuffered: neither a link nor a pipe, which somebody could have planted. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ENXIO, "it is no ordinary file")
    return open(fd, "rb", buffering=0)  # noqa: PTH123  a descriptor, closed by the caller


def os_error(verb: str, path: Path, error: OSError) -> InputOutputError | NotPermitted:
    """The error of ours for `error`, met while trying to `verb` `path`."""
    reason = error.strerror or str(error)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPermitted(
            f"cannot {verb} {path}: {reason}", hint=f"check who owns {path.parent}: ls -ld {path.parent}"
        )
    return InputOutputError(f"cannot {verb} {path}: {reason}", hint=_IO_HINTS.get(error.errno or 0, ""))


_IO_HINTS: Final = {
    errno.ENOSPC: "free some space: df -h",
    errno.EDQUOT: "free some space: quota",
    errno.EFBIG: "a file may not grow so large here: ulimit -f",
    errno.EROFS: "the file system is mounted read-only: mount",
    errno.EMFILE: "too many files are open: ulimit -n",
    errno.EIO: "check the disk: dmesg | tail",
}


def is_full(folder: Path) -> bool:
    """Whether the disk has no room for the smallest of a database's files: SQLite calls that an input/output error too."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_blocks > 0 and found.f_bavail * found.f_frsize < _SMALLEST_BYTES


def private_dir(folder: Path) -> Path:
    """Make `folder` (0700) if needed and refuse one that others could have planted.

    Refused: a symbolic link or another user's folder (root included: files of root's would lock the owner out, and so
    would a folder that root makes in another's), and a folder that others use and that holds nothing of ours (/tmp, a
    site's root): closing it would lock them out. Raises NotPermitted, CannotCreate.
    """
    try:
        if not folder.is_symlink():
            _warn_root(folder)
            folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        check_owner(folder)
        # By descriptor, so that what is swapped in after the check is not what is opened up.
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            if mode != PRIVATE_DIR:
                _check_not_in_use(folder, mode)
                os.fchmod(fd, PRIVATE_DIR)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise os_error("create", folder, error) from error
        raise CannotCreate(
            f"cannot create the folder {folder}: {error.strerror}", hint="choose another with --state-dir"
        ) from error
    return folder


def _warn_root(folder: Path) -> None:
    """Root that makes `folder` in somebody else's is warned: they cannot use it. In a container it may be meant. Raises OSError."""
    if os.geteuid() != 0 or folder.exists():
        return
    place = next(each for each in folder.parents if each.exists())
    if place.stat().st_uid != 0:
        told = _of_somebody_else(place, place.stat().st_uid)
        log.warning("%s, so that they cannot use %s; %s", told.message, folder, told.hint)


def _check_not_in_use(folder: Path, mode: int) -> None:
    """Refuse to close an open folder that serves another purpose. Raises NotPermitted."""
    if stat.S_IMODE(folder.parent.stat().st_mode) == PRIVATE_DIR:
        return  # inside a folder of ours
    names = set(os.listdir(folder))  # noqa: PTH208  names alone are wanted
    if mode & stat.S_ISVTX or (names and not names & STATE_NAMES):
        raise NotPermitted(
            f"{folder} is used for other things, and state is kept in a folder that only its owner can read",
            hint=f"name a folder of its own with --state-dir, such as {folder / STATE_DIR}",
        )


def check_owner(folder: Path) -> None:
    """Refuse `folder` as a state folder when it is a link, no folder, or somebody else's.

    Raises NotPermitted, CannotCreate, OSError (it is not there).
    """
    info = folder.lstat()
    if stat.S_ISLNK(info.st_mode):
        raise NotPermitted(
            f"{folder} is a symbolic link, which anybody could have planted",
            hint="name the real folder with --state-dir",
        )
    if not stat.S_ISDIR(info.st_mode):
        raise CannotCreate(f"{folder} is not a folder", hint="move it away, or name another with --state-dir")
    if info.st_uid != os.geteuid():
        raise _of_somebody_else(folder, info.st_uid)


def _of_somebody_else(folder: Path, uid: int) -> NotPermitted:
    owner = owner_name(uid)
    return NotPermitted(
        f"{folder} belongs to {owner}, and you are {owner_name(os.geteuid())}",
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
        for attempt in range(_PROBE_RETRIES + 1):
            if attempt:
                time.sleep(_PROBE_SECONDS)
            fd = self._open(os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                named = os.path.samestat(os.fstat(fd), self.path.stat())
            except BlockingIOError:
                os.close(fd)  # held; or looked at by is_held(), for microseconds
                continue
            except FileNotFoundError:
                named = False
            except OSError as error:
                os.close(fd)
                raise os_error("lock", self.path, error) from error
            if named:
                self._fd = fd
                self._sign()
                return True
            # Somebody removed or replaced the file since it was opened: this lock guards nothing.
            os.close(fd)
        return False

    def _open(self, flags: int) -> int:
        try:
            # O_NONBLOCK: a FIFO that somebody planted must not hang the command.
            fd = os.open(self.path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, self.mode)
        except OSError as error:
            raise os_error("lock", self.path, error) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise NotPermitted(f"cannot lock {self.path}: it is no regular file", hint=f"remove {self.path}")
        return fd

    def _sign(self) -> None:
        assert self._fd is not None
        with contextlib.suppress(OSError):  # a full disk must not keep anybody from taking the lock
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps({"pid": os.getpid(), "what": self.what}).encode(), 0)

    def acquire(
        self, wait_seconds: float, *, poll_seconds: float = 0.02, stop: threading.Event | None = None
    ) -> bool:
        """Try until it succeeds, `wait_seconds` have passed or `stop` is set."""
        deadline = time.monotonic() + wait_seconds
        while not self.try_acquire():
            if time.monotonic() >= deadline or (stop is not None and stop.is_set()):
                return False
            if stop is None:
                time.sleep(poll_seconds)
            else:
                stop.wait(poll_seconds)
        return True

    def holder(self) -> Holder:
        """What the holder wrote; unknown where it could not."""
        try:
            fd = self._open(os.O_RDONLY)
            try:
                data = json.loads(os.read(fd, 4096) or b"{}")
            finally:
                os.close(fd)
            return Holder(pid=int(data["pid"]), what=str(data.get("what", "")))
        except (OSError, InputOutputError, NotPermitted, ValueError, KeyError, TypeError, AttributeError):
            return Holder(pid=None, what="")

    def is_held(self) -> bool:
        """Whether some process holds the lock now; takes nothing and creates nothing.

        Raises InputOutputError or NotPermitted if the file is there and cannot be opened, or not be locked here.
        """
        try:
            fd = self._open(os.O_RDONLY)
        except InputOutputError as error:
            if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
                return False
            raise
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            raise os_error("lock", self.path, error) from error
        finally:
            os.close(fd)
        return False

    def guards(self) -> bool:
        """Whether what was taken is still the file at `path`: False once somebody removed or replaced it, or its folder."""
        assert self._fd is not None
        try:
            return os.path.samestat(os.fstat(self._fd), self.path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # a disk that does not answer says nothing about the file

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
