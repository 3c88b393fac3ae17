"""A run's output, from its pipe to its log file, without ever waiting for either."""

from __future__ import annotations

import io
import logging
import os
from typing import Final, Protocol

log = logging.getLogger(__name__)

READ_BYTES: Final = 256 * 1024
TAIL_BYTES: Final = 4096


class Sink(Protocol):
    """Where output goes; it keeps to its own cap."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Capture:
    """Reads one pipe, a bounded piece at a time, so that a flood costs no memory and keeps nobody else waiting.

    `pipe` becomes this object's, and is made non-blocking. `sink` None: the output is read, so that the run does not block
    on a full pipe, and dropped but for its tail.
    """

    def __init__(self, pipe: io.FileIO, sink: Sink | None, *, name: str) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.pipe = pipe
        self._sink = sink
        self._name = name
        self._tail = b""

    def read(self) -> bool:
        """Take what is there, at most READ_BYTES; False at the end of the output."""
        try:
            data = self.pipe.read(READ_BYTES)
        except OSError:
            return False
        if data is None:
            return True
        if not data:
            return False
        self._tail = (self._tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]
        self._write(data)
        return True

    def _write(self, data: bytes) -> None:
        if self._sink is None:
            return
        try:
            self._sink.write(data)
        except Exception:  # a full disk, or whatever: a log must not stop the schedule
            log.warning("the output of %s cannot be kept", self._name, exc_info=True)
            self._drop()

    def _drop(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except Exception:  # as above
                log.debug("closing the log of %s", self._name, exc_info=True)

    @property
    def open(self) -> bool:
        return not self.pipe.closed

    @property
    def tail(self) -> str:
        """The last of the output, as text."""
        return self._tail.decode("utf-8", "replace")

    def close(self) -> None:
        if self.open:
            self.pipe.close()
            self._drop()
