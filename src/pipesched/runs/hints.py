"""What a run said is to be done about its error, read from the end of its log."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Final

from pipesched.errors import PipeschedError
from pipesched.runs.logs import log_path
from pipesched.runs.model import Run
from pipesched.settings import Paths

_HINT: Final = "hint: "
_TAIL_BYTES: Final = 8192


def last_hint(run: Run | None, paths: Paths) -> str:
    """The last `hint:` line of the run's log; "" without one."""
    if run is None:
        return ""
    try:
        with log_path(paths.logs_dir, run.run_id).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except (OSError, PipeschedError):
        return ""
    said = (_message(line) for line in reversed(tail.split("\n")))
    return next((text.removeprefix(_HINT).strip() for text in said if text.startswith(_HINT)), "")


def _message(line: str) -> str:
    """What a line of either log format says; a program that is not ours may have written anything."""
    if line.startswith("{"):
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            return str(json.loads(line)["message"])
    return line
