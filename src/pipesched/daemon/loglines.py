"""Log lines are written by a thread of their own: a terminal or a pipe that takes nothing must not stop the schedule."""

from __future__ import annotations

import logging
import queue
import threading
from types import TracebackType
from typing import Final, Self

QUEUE_LENGTH: Final = 10_000
CLOSE_SECONDS: Final = 1.0


class PatientLogging:
    """While it is entered, `logger`'s handlers are served by a thread; what it cannot keep up with is dropped, and said at the end.

    `stuck`, after the end: the thread still waits for a reader. Such a process must end by os._exit, because the
    interpreter's own end would wait for that thread's lock on stderr.
    """

    def __init__(self, logger: logging.Logger, *, length: int = QUEUE_LENGTH) -> None:
        self._logger = logger
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(length)
        self._thread = threading.Thread(target=self._write, name="log lines", daemon=True)
        self._handlers: list[logging.Handler] = []
        self.dropped = 0
        self.stuck = False

    def __enter__(self) -> Self:
        self._handlers = self._logger.handlers[:]
        self._logger.handlers[:] = [_Queued(self)]
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._logger.handlers[:] = self._handlers
        try:
            self._records.put(None, timeout=CLOSE_SECONDS)
        except queue.Full:
            self.stuck = True
            return
        self._thread.join(CLOSE_SECONDS)
        self.stuck = self._thread.is_alive()
        if self.dropped and not self.stuck:
            self._logger.warning("%d log lines were dropped: their reader was too slow", self.dropped)

    def take(self, record: logging.LogRecord) -> None:
        try:
            self._records.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        while (record := self._records.get()) is not None:
            for handler in self._handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)


class _Queued(logging.Handler):
    def __init__(self, lines: PatientLogging) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.take(record)
