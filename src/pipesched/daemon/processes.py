"""Signals to the processes of runs, and what the kernel says of how they ended."""

from __future__ import annotations

import contextlib
import os
import signal
from functools import cache
from pathlib import Path

from pipesched.runs.process import alive
from pipesched.settings import ENV_RUN_ID


def signal_group(pid: int, number: int) -> bool:
    """Send `number` to the process group that `pid` leads; False when nobody is left in it.

    Only for a process whose pid cannot have been given away: one not reaped yet, or one just seen alive.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
        return True
    return False


def signal_run(pid: int, started: int | None, number: int) -> bool:
    """Send `number` to a run that is no child of ours: its group where it leads one, else itself alone.

    A run by hand in a script shares the script's group, which is not ours to end. False when the process is gone.
    """
    if not alive(pid, started):
        return False
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
        return True
    return False


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def oom_kills() -> int:
    """How often the kernel ended a process of our control group for want of memory; 0 where nobody counts."""
    path = _oom_counter()
    return (_oom_kills(path) or 0) if path else 0


def _oom_kills(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None


@cache
def _oom_counter() -> Path | None:
    return next((path for path in _oom_counters() if _oom_kills(path) is not None), None)


def _oom_counters() -> list[Path]:
    """Where cgroup v2 and v1 count; a container sees its own group at the root."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root, name = Path("/sys/fs/cgroup"), "memory.events"
        if controllers:
            if "memory" not in controllers.split(","):
                continue
            root, name = root / "memory", "memory.oom_control"
        found += [root / path.lstrip("/") / name, root / name]
    return found


def find_run(run_id: str) -> int | None:
    """The pid of the process group that runs `run_id`, by its environment; None: there is none, or nobody can tell (no /proc).

    A daemon that dies between starting a process and writing its pid down leaves no other trace.
    """
    mark = f"{ENV_RUN_ID}={run_id}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(folder.name)
            if mark in (folder / "environ").read_bytes().split(b"\0") and os.getpgid(pid) == pid:
                return pid
    return None
