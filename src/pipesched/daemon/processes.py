"""Which process is which: a pid with the time it started at, and signals to its group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path


def start_ticks(pid: int) -> int | None:
    """When `pid` started (clock ticks since boot, field 22 of /proc/PID/stat); None when there is no such process.

    A zombie counts as gone: it runs no more, whoever is slow to reap it. Without /proc (macOS) the start time of ps(1),
    in seconds since the epoch.
    """
    try:
        # The command's name, in parentheses, may hold anything, parentheses included.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _start_by_ps(pid)
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def _start_by_ps(pid: int) -> int | None:
    from email.utils import mktime_tz, parsedate_tz

    done = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )
    parsed = parsedate_tz(done.stdout.strip())
    return None if parsed is None else mktime_tz(parsed)


def is_alive(pid: int | None, started: int | None) -> bool:
    """Whether the process that had `pid` and started then is still there; without a start time, whether any has the pid."""
    if pid is None or pid <= 0:
        return False
    ticks = start_ticks(pid)
    return ticks is not None and (started is None or ticks == started)


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
    if not is_alive(pid, started):
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
    for path in _oom_counters():
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text(encoding="ascii").splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0


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
