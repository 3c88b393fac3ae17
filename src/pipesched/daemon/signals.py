"""Signals as something a selector can wait for."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from collections import deque
from types import FrameType, TracebackType
from typing import Final, Self

STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
WATCHED: Final = (*sorted(STOPPING), signal.SIGHUP, signal.SIGCHLD)


class Signals:
    """TERM, INT, HUP and CHLD make `fileno` readable, and `take` says which came. For the main thread, as a context manager."""

    def __init__(self) -> None:
        self._seen: deque[int] = deque()

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._note) for number in WATCHED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        self._reader.close()
        self._writer.close()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._seen.append(number)

    def fileno(self) -> int:
        return self._reader.fileno()

    def wait(self, seconds: float) -> None:
        """Until a signal comes, or so long. For who has no selector of its own."""
        select.select([self._reader], [], [], seconds)

    def take(self) -> list[int]:
        """The signals that came since the last call, oldest first."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass
        taken = []
        while self._seen:
            taken.append(self._seen.popleft())
        return taken
