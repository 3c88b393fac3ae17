"""What was told of which job, kept over restarts: one small file a job, none for one of which nothing was told."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pipesched.errors import PipeschedError
from pipesched.files import PRIVATE_FILE, private_dir, write_atomic
from pipesched.notify.decision import Told
from pipesched.settings import JOB_ID_PATTERN

log = logging.getLogger(__name__)

_FILE: Final = re.compile(rf"(?P<job>{JOB_ID_PATTERN})\.json")


class ToldFiles:
    """Reads a job's file once; a file that cannot be read counts as nothing told, which is told again rather than never."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Told | None] = {}

    def get(self, job_id: str) -> Told | None:
        if job_id not in self._known:
            self._known[job_id] = self._read(job_id)
        return self._known[job_id]

    def put(self, job_id: str, told: Told) -> None:
        """Remembered at once, and on the disk if it takes it."""
        if self._known.get(job_id) == told or (self._known.get(job_id) is None and told == Told()):
            return
        self._known[job_id] = told
        try:
            data = json.dumps(asdict(told), default=datetime.isoformat).encode()
            write_atomic(private_dir(self._folder) / f"{job_id}.json", data, mode=PRIVATE_FILE)
        except PipeschedError as error:
            log.warning("what was told of job %s may be told once more: %s", job_id, error.message)

    def keep(self, job_ids: Collection[str]) -> None:
        """Forget the jobs that are gone."""
        self._known = {job_id: told for job_id, told in self._known.items() if job_id in job_ids}
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                match = _FILE.fullmatch(path.name)
                if match and match["job"] not in job_ids:
                    path.unlink()

    def _read(self, job_id: str) -> Told | None:
        try:
            data: Any = json.loads((self._folder / f"{job_id}.json").read_bytes())
            return Told(
                failing_since=_time(data["failing_since"]),
                late_since=_time(data["late_since"]),
                paused_at=_time(data["paused_at"]),
                missed=int(data["missed"]),
                missed_at=_time(data["missed_at"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without its offset")
    return time
