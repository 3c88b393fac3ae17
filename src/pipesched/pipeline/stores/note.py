"""A note in a store's folder while it is open for writing: who finds it there knows that its writer did not come to an end."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from pipesched.files import fsync_dir, os_error
from pipesched.options import is_server

NAME: Final = ".pipesched-writing"


class WritingNote:
    """The note of one store; whoever makes or clears it holds the store's lock. A server needs none: it is its own writer.

    It lies in the folder itself, so that a copy that was made while somebody wrote has it too.
    """

    def __init__(self, storage_path: str) -> None:
        self._path = None if is_server(storage_path) else Path(storage_path) / NAME

    def is_left(self) -> bool:
        return self._path is not None and self._path.exists()

    def make(self) -> None:
        """Durable when it returns, because a power cut is what tears an index. Raises InputOutputError, NotPermitted."""
        if self._path is None or self._path.exists():
            return
        if not self._path.parent.is_dir():
            return  # there is no store yet that could be torn
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, f"{os.getpid()}\n".encode())
                os.fsync(fd)
            finally:
                os.close(fd)
            fsync_dir(self._path.parent)
        except OSError as error:
            raise os_error("write", self._path, error) from error

    def clear(self) -> None:
        """What cannot be removed costs the next run a look, no more."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
