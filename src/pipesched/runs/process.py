"""Whether a process is still the one that a run was."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

GONE: Final = "its process is gone, and left no word of how it ended"
"""The reason of a lost run."""
NEVER_SEEN: Final = "its daemon died when it was about to start: perhaps it ran, perhaps it never did"
"""The reason of a lost run of which no process was ever noted."""


def start_ticks(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot (/proc/PID/stat, field 22); None: not known here, or no such process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def alive(pid: int, pid_started: int | None) -> bool:
    """Whether `pid` runs and, where that is known, started at `pid_started`. A process that only waits to be reaped does not run.

    Without /proc (macOS) the pid alone decides.
    """
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # there is one, of another user
    fields = _stat(pid)
    if fields is None:
        return not _has_proc()
    return fields[0] not in {"Z", "X"} and (pid_started is None or int(fields[19]) == pid_started)


@cache
def boot_id() -> str | None:
    """Of this boot of the machine: ticks since boot mean nothing in another. None where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


@cache
def _has_proc() -> bool:
    return Path("/proc/self/stat").exists()


def _stat(pid: int) -> list[str] | None:
    """The fields from the third on: the second is the program's name, which may hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return text.rpartition(b")")[2].decode("ascii").split()
