"""Writing one batch while the next is embedded, in the order of the batches."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Writer:
    """One thread, and at most one write at a time.

    What a write raises is raised by the next call here. When the block is left by an error of its own, the write that is
    under way is still finished and counted: what is embedded should not be embedded again.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._pending: tuple[Future[None], Callable[[], None]] | None = None

    def put(self, write: Callable[[], None], done: Callable[[], None]) -> None:
        """Start `write` when the one before it has ended; `done` is called here, later, if it succeeded."""
        self.wait()
        self._pending = (self._pool.submit(write), done)

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._pending is not None:
            future, done = self._pending
            self._pending = None
            future.result()
            done()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
            elif self._pending is not None:
                future, done = self._pending
                if future.exception() is None:
                    done()
        finally:
            self._pool.shutdown()
