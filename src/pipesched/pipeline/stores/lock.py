"""The one writer of a store: kernel-released locks that two processes meet at, whatever their state folders."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pipesched.errors import PipeschedError
from pipesched.files import Holder, KernelLock, private_dir
from pipesched.options import is_server

log = logging.getLogger(__name__)

_TEMPORARY: Final = Path("/tmp")  # noqa: S108  the folder in it is private, and checked
"""Not $TMPDIR nor $XDG_RUNTIME_DIR: a service and a shell have others."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104  names of this machine


def lock_path(storage_path: str, index_dir: Path) -> Path:
    """The lock beside a store's resolved folder, whatever the state folder; for a server in `index_dir`, and see `StoreLock`."""
    if is_server(storage_path):
        digest = hashlib.sha256(storage_path.rstrip("/").encode()).hexdigest()[:16]
        return index_dir / f"server-{digest}.lock"
    resolved = os.path.realpath(storage_path)
    return Path(resolved + ".lock")


def server_lock_path(url: str) -> Path:
    """The lock of a server for all processes of this user on this machine, by its host and port however they are written."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = (parts.hostname or "").lower().rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    where = f"{'localhost' if host in _LOOPBACK else host}:{port}{parts.path.rstrip('/')}"
    digest = hashlib.sha256(where.encode()).hexdigest()[:16]
    return _TEMPORARY / f"pipesched-{os.geteuid()}" / f"server-{digest}.lock"


class StoreLock:
    """The lock of a store; for a server two: one in the state folder, and one for the whole machine.

    A sandboxed service has a /tmp of its own, where only the first one is met; processes with other state folders meet at the
    second. On two machines nobody keeps two writers of a server apart.
    """

    def __init__(self, storage_path: str, index_dir: Path, *, what: str = "") -> None:
        self._own = KernelLock(lock_path(storage_path, index_dir), what=what)
        self._shared = (
            KernelLock(server_lock_path(storage_path), what=what) if is_server(storage_path) else None
        )
        self._holder = Holder(pid=None, what="")

    def try_acquire(self) -> bool:
        """Take all of it or nothing. Raises InputOutputError or NotPermitted."""
        if not self._own.try_acquire():
            self._holder = self._own.holder()
            return False
        if self._shared is None:
            return True
        try:
            private_dir(self._shared.path.parent)
            taken = self._shared.try_acquire()
        except PipeschedError as error:
            # A planted or read-only /tmp must not keep anybody from indexing.
            log.warning("other state folders' runs on this server are not kept out: %s", error.message)
            return True
        if not taken:
            self._holder = self._shared.holder()
            self._own.release()
        return taken

    def is_held(self) -> bool:
        """Whether some process holds it now. Raises InputOutputError or NotPermitted."""
        if self._own.is_held():
            self._holder = self._own.holder()
            return True
        if self._shared is None:
            return False
        try:
            held = self._shared.is_held()
        except PipeschedError:
            return False
        self._holder = self._shared.holder() if held else self._holder
        return held

    def holder(self) -> Holder:
        """Who held it when it was last asked."""
        return self._holder

    def release(self) -> None:
        for lock in (self._shared, self._own):
            if lock is not None:
                lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
