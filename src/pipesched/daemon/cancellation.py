"""That somebody asked for a run to be ended, told from the command that asks to the daemon that keeps the record."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from pipesched.files import PRIVATE_FILE, private_dir, write_atomic
from pipesched.runs.ids import check_run_id, is_run_id

CANCELLED: Final = "cancelled with pipesched cancel"


class Cancellations:
    """One empty file for each run that is to be ended, in a folder of the state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "cancelled"

    def ask(self, run_id: str) -> None:
        """Raises InvalidValue, NotPermitted, CannotCreate, InputOutputError."""
        write_atomic(private_dir(self._folder) / check_run_id(run_id), b"", mode=PRIVATE_FILE)

    def asked(self, run_id: str) -> bool:
        return run_id in self.pending()

    def pending(self) -> list[str]:
        """The runs that were asked about; none where the disk does not say."""
        try:
            return [name for name in os.listdir(self._folder) if is_run_id(name)]  # noqa: PTH208  names only
        except OSError:
            return []

    def settle(self, run_id: str) -> None:
        """The run has ended and is recorded."""
        with contextlib.suppress(OSError):
            (self._folder / check_run_id(run_id)).unlink()
