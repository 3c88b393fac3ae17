"""Named points at which a test stops the process, to prove that a crash at any of them is mended."""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "PIPESCHED_FAULT"
"""`POINT:kill` (SIGKILL) or `POINT:raise` (FaultReached), with `:N` for the Nth time. Only tests set it."""

POINTS: Final = (
    "read-back",
    "scanned",
    "created",
    "cached",
    "intended",
    "upserted",
    "updated",
    "deleted",
    "committed",
    "generation-recorded",
    "generation-checked",
    "swap-recorded",
    "swap-half",
    "swap-done",
    "swap-committed",
    "retired-dropped",
    "finished",
)
"""In the order in which a run meets them."""

_met: dict[str, int] = {}


class FaultReached(BaseException):
    """The process is to be taken for dead: nothing may be tidied up on the way out."""


def reach(point: str) -> None:
    """Die here if the environment says so."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    name, how, *count = wanted.split(":")
    if name != point:
        return
    _met[wanted] = _met.get(wanted, 0) + 1
    if _met[wanted] != int(count[0] if count else "1"):
        return
    _met.clear()
    if how == "raise":
        raise FaultReached(point)
    os.kill(os.getpid(), signal.SIGKILL)
