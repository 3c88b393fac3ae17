"""A real daemon whose runs are shell scripts: a program, and what a test does with it.

`python shell_daemon.py FOLDER '{"workers": 2, "drain": 60, "once": false, "standby": false, "http": false}'`; FOLDER has schedules.json and
scripts/JOB_ID for each job.
"""

import contextlib
import ctypes
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipesched.daemon.clock import SystemClock
from pipesched.daemon.launch import Launch
from pipesched.daemon.loglines import PatientLogging
from pipesched.daemon.service import Options, serve
from pipesched.daemon.source import DaemonSource
from pipesched.http.server import StatusServer
from pipesched.jobs.model import IntervalTrigger, Job, JobPolicy, OnceTrigger
from pipesched.jobs.store import JobStore
from pipesched.runs.ledger import Ledger
from pipesched.runs.model import Run
from pipesched.settings import Paths
from pipesched.views.scheduler import read_facts

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def paths_of(folder: Path) -> Paths:
    return Paths(folder / "schedules.json", folder / ".pipesched", folder / "output")


class ShiftedClock(SystemClock):
    """The machine's clocks, set by as many seconds as two files say: `shift` the wall clock, `passed` the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _seconds(self, name: str) -> float:
        file = self.folder / name
        return float(file.read_text() or 0) if file.exists() else 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._seconds("shift"))

    def monotonic(self) -> float:
        return super().monotonic() + self._seconds("passed")


def main(folder: Path, settings: dict[str, Any]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    with PatientLogging(logging.getLogger()) as lines:
        status = _serve(folder, settings)
    if lines.stuck:
        os._exit(status)
    return status


def _serve(folder: Path, settings: dict[str, Any]) -> int:
    options = Options(
        max_workers=settings.get("workers", 2),
        drain_seconds=settings.get("drain", 60),
        once=settings.get("once", False),
        standby=settings.get("standby", False),
    )
    return serve(
        paths_of(folder),
        options,
        environ=os.environ,
        command=lambda launch: _command(folder, launch),
        kill_grace=settings.get("kill_grace", 0.5),
        pipe_grace=0.3,
        endpoint=_endpoint if settings.get("http") else None,
        clock=ShiftedClock(folder),
    )


def _command(folder: Path, launch: Launch) -> list[str]:
    gate = folder / "gate"
    if gate.exists():
        gate.read_bytes()  # a FIFO: the loop hangs in here until somebody writes to it
    return ["sh", str(folder / "scripts" / launch.job_id)]


def _endpoint(source: DaemonSource) -> StatusServer:
    return StatusServer("127.0.0.1:0", token=None, source=source)


def due_in(job_id: str, seconds: float, **policy: Any) -> Job:
    """A job that is due once, so many seconds from now (or before)."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return Job(
        id=job_id,
        timezone="UTC",
        trigger=OnceTrigger(at=at),
        policy=JobPolicy(**policy),
        created_at=min(at, datetime.now(UTC)) - timedelta(seconds=1),
        since=min(at, datetime.now(UTC)) - timedelta(seconds=1),
    )


def every(job_id: str, seconds: float, **policy: Any) -> Job:
    now = datetime.now(UTC)
    return Job(
        id=job_id,
        timezone="UTC",
        trigger=IntervalTrigger(seconds=seconds, anchor=now),
        policy=JobPolicy(**policy),
        created_at=now,
        since=now,
    )


class ShellDaemon:
    """What a test does with it: jobs with scripts, starts, signals, and what the ledger says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = paths_of(folder)
        (folder / "scripts").mkdir()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.said = folder / "said"

    def add(self, job: Job, script: str) -> None:
        self.add_all([job], script)

    def add_all(self, jobs: Sequence[Job], script: str) -> None:
        """They all do the same; in `script` their own name is `${0##*/}`."""
        for job in jobs:
            (self.folder / "scripts" / job.id).write_text(script)
        # Each job its own store, so that they do not wait for each other.
        own = [
            job.model_copy(
                update={"config": job.config.model_copy(update={"storage_path": f"store-{job.id}"})}
            )
            for job in jobs
        ]
        JobStore(self.paths.job_file).add(own, jobs[0].created_at)

    def start(
        self, *, env: dict[str, str] | None = None, stderr: int | None = None, **settings: Any
    ) -> subprocess.Popen[bytes]:
        with self.said.open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, __file__, str(self.folder), json.dumps(settings)],
                env={key: value for key, value in os.environ.items() if not key.startswith("PIPESCHED_")}
                | (env or {}),
                stderr=said if stderr is None else stderr,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def address(self) -> tuple[str, int]:
        """Of its endpoint, once it is there (`http=True`)."""
        url = self.wait_for(lambda: read_facts(self.paths, datetime.now(UTC)).http, "an endpoint")
        parts = urlsplit(url)
        return str(parts.hostname), int(parts.port or 0)

    @property
    def log(self) -> str:
        return self.said.read_text() if self.said.exists() else ""

    def runs(self, job_id: str | None = None) -> list[Run]:
        """Oldest first."""
        with Ledger.open(self.paths.ledger, create=False) as ledger:
            return list(reversed(ledger.history(job_id, limit=None)))

    def statuses(self, job_id: str) -> list[str]:
        return [run.status for run in self.runs(job_id)]

    def recorded(self, job_id: str) -> list[tuple[str, int | None]]:
        """(status, pid) as they are written; a reader of the ledger is told of a run whose process is gone that it is lost."""
        with contextlib.closing(sqlite3.connect(self.paths.ledger)) as db:
            return db.execute(
                "SELECT status, pid FROM runs WHERE job_id = ? ORDER BY seq", (job_id,)
            ).fetchall()

    def wait_for(self, condition: Callable[[], Any], what: str = "", seconds: float = 20.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what or 'it'} did not happen; the daemon said:\n{self.log}"
            time.sleep(0.02)
        return found

    def set_clock(self, seconds: float) -> None:
        """The wall clock is this far from the true one from now on."""
        self._write("shift", seconds)

    def let_pass(self, seconds: float) -> None:
        """The monotonic clock is this far ahead of the true one from now on."""
        self._write("passed", seconds)

    def _write(self, name: str, seconds: float) -> None:
        new = self.folder / f"{name}.new"
        new.write_text(str(seconds))
        new.replace(self.folder / name)

    def wait_for_log(self, text: str) -> None:
        self.wait_for(lambda: text in self.log, repr(text))

    def written(self, name: str) -> str:
        """What a script wrote into the folder's file `name`, once it did."""
        path = self.folder / name
        self.wait_for(lambda: path.exists() and path.read_text().endswith("\n"), name)
        return path.read_text()

    def end(self) -> None:
        """Whatever still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
        for run in self.runs():
            if run.status == "running" and run.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGKILL)


def end_with_parent() -> None:
    """A test session that is killed leaves no daemon behind (Linux: prctl(PR_SET_PDEATHSIG, SIGKILL))."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
