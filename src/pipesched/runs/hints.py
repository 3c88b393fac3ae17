"""What a run said is to be done about its error, read from the end of its log."""

from __future__ import annotations

import json
import re
from typing import Final

from pipesched.errors import PipeschedError
from pipesched.runs.logs import log_path
from pipesched.runs.model import Run
from pipesched.settings import Paths

_HINT: Final = re.compile(r"^hint: (.+)$", re.MULTILINE)
_JSON_HINT: Final = re.compile(r'^\{.*"message": ("hint: (?:[^"\\]|\\.)+")', re.MULTILINE)
"""As --log-format json has it."""
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
    found = _HINT.findall(tail) or [
        str(json.loads(said)).removeprefix("hint: ") for said in _JSON_HINT.findall(tail)
    ]
    return found[-1].strip() if found else ""
