"""A selector that keeps its time to the microsecond: epoll counts in milliseconds, and Python rounds them up."""

from __future__ import annotations

import selectors
import time
from typing import Final

_MILLISECOND: Final = 0.001


class PromptSelector(selectors.DefaultSelector):
    """As the system's own; the last part of a wait, less than a millisecond, is slept through."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return list(super().select(timeout))
        end = time.monotonic() + timeout
        whole = timeout - timeout % _MILLISECOND
        found = list(super().select(whole))
        if found or (rest := end - time.monotonic()) <= 0:
            return found
        time.sleep(min(rest, _MILLISECOND))
        return list(super().select(0))
