"""Whether a scheduler runs on this state folder, where it listens, and whether its loop turns."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from pipesched.files import PRIVATE_FILE, KernelLock, write_atomic
from pipesched.settings import Paths

DAEMON_FILE: Final = "daemon.json"


def daemon_file(paths: Paths) -> Path:
    """What a running daemon says of itself; its modification time is the loop's heartbeat."""
    return paths.state_dir / DAEMON_FILE


@dataclass(frozen=True, slots=True)
class DaemonFile:
    """What the daemon writes at its start. `http`: the endpoint's URL (`http://127.0.0.1:8765`), None with --no-http.

    `certificate_until` (aware): when the certificate that it shows ends; None without one.
    """

    pid: int
    started_at: datetime
    http: str | None = None
    version: str = ""
    certificate_until: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "pid": self.pid,
            "started_at": self.started_at.isoformat(),
            "http": self.http,
            "version": self.version,
            "certificate_until": self.certificate_until.isoformat() if self.certificate_until else None,
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises ValueError for anything that `to_json` did not make."""
        try:
            started_at = datetime.fromisoformat(data["started_at"])
            http = data["http"]
            until = data.get("certificate_until")
            certificate_until = None if until is None else datetime.fromisoformat(until)
            times = [at for at in (started_at, certificate_until) if at is not None]
            if any(at.tzinfo is None for at in times) or not isinstance(http, str | None):
                raise ValueError("not a daemon file")
            return cls(
                pid=int(data["pid"]),
                started_at=started_at,
                http=http,
                version=str(data.get("version", "")),
                certificate_until=certificate_until,
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("not a daemon file") from error

    def write(self, paths: Paths) -> None:
        """Raises InputOutputError, NotPermitted."""
        write_atomic(daemon_file(paths), json.dumps(self.to_json()).encode(), mode=PRIVATE_FILE)


def beat(paths: Paths) -> None:
    """The loop's sign of life: now, by the file system's clock. A full or read-only disk is no reason to stop."""
    with contextlib.suppress(OSError):
        os.utime(daemon_file(paths))


def remove_daemon_file(paths: Paths) -> None:
    """What a daemon does last; one that was killed leaves its file, and the free lock says that it is gone."""
    with contextlib.suppress(OSError):
        daemon_file(paths).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class SchedulerFacts:
    """What is known of the scheduler from outside it.

    `running`: a process holds the daemon's lock. `last_tick`: when its loop last turned, for all that can be seen; kept
    for a daemon that was killed, so that one learns since when nothing has been fired. `certificate_until`: when the certificate
    that its endpoint shows ends. Times are aware, UTC.
    """

    running: bool
    pid: int | None = None
    http: str | None = None
    started_at: datetime | None = None
    last_tick: datetime | None = None
    version: str = ""
    certificate_until: datetime | None = None


def read_facts(paths: Paths, now: datetime) -> SchedulerFacts:
    """From the daemon's lock and file; takes nothing and creates nothing. `last_tick` is never later than `now`."""
    lock = KernelLock(paths.daemon_lock)
    said, last_tick = _read(daemon_file(paths), now)
    if not lock.is_held():
        return SchedulerFacts(running=False, last_tick=last_tick)
    holder = lock.holder().pid
    if said is None or (holder is not None and said.pid != holder):
        # Just started, or just taken over from one that was killed: what the file says is another's.
        return SchedulerFacts(running=True, pid=holder)
    return SchedulerFacts(
        running=True,
        pid=said.pid,
        http=said.http,
        started_at=said.started_at,
        last_tick=last_tick,
        version=said.version,
        certificate_until=said.certificate_until,
    )


def _read(path: Path, now: datetime) -> tuple[DaemonFile | None, datetime | None]:
    try:
        text = path.read_bytes()
        beaten = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None, None
    try:
        said = DaemonFile.from_json(json.loads(text))
    except ValueError:
        said = None
    return said, min(beaten, now)
