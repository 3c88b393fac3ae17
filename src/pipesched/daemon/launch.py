"""What the daemon's state machine and its child processes say to each other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pipesched.settings import (
    ENV_ATTEMPT,
    ENV_JOB_ID,
    ENV_RUN_ID,
    ENV_RUN_OPTIONS,
    ENV_SCHEDULED_FOR,
    Paths,
    for_children,
)


@dataclass(frozen=True, slots=True)
class Launch:
    """A run to be started. `scheduled_for` is aware, UTC; `attempt` counts from 1."""

    run_id: str
    job_id: str
    scheduled_for: datetime
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Started:
    """The process of a run: its pid, which leads its process group, and when it started (see runs.process.start_ticks)."""

    pid: int
    started: int | None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run's process ended: an exit status, or a signal; neither where it was no child of this daemon.

    `out_of_memory`: the kernel ended a process of our control group for want of memory meanwhile. `tail`: the last output.
    """

    run_id: str
    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    tail: str = ""


class Spawner(Protocol):
    """Starts and ends the processes of runs. How they ended is told apart from it, as `Exit`s."""

    def launch(self, launch: Launch) -> Started:
        """Raises OSError when no process can be started."""
        ...

    def adopt(self, run_id: str, process: Started) -> None:
        """Watch a run that an earlier daemon started and that is still alive."""
        ...

    def stop(self, run_id: str) -> None:
        """TERM to the run's process group now, KILL after a grace."""
        ...

    def kill(self, run_id: str) -> None:
        """KILL to the run's process group now."""
        ...


Command = Callable[[Launch], Sequence[str]]


def base_command(paths: Paths, *, log_level: str | None = None, log_format: str = "text") -> list[str]:
    """This pipesched on these files, up to the command."""
    # -P: the current folder is not searched for modules, whatever lies there.
    base = [sys.executable, "-P", "-m", "pipesched"]
    base += [
        "--file",
        str(paths.job_file),
        "--state-dir",
        str(paths.state_dir),
        "--output-dir",
        str(paths.output_dir),
    ]
    if log_level:
        base += ["--log-level", log_level]
    if log_format != "text":
        base += ["--log-format", log_format]
    return base


def pipesched_command(paths: Paths, *, log_level: str | None = None, log_format: str = "text") -> Command:
    """The command line of a run, as cron, systemd or a person would give it."""
    base = base_command(paths, log_level=log_level, log_format=log_format)

    def command(launch: Launch) -> list[str]:
        return [
            *base, "run", launch.job_id,
            "--run-id", launch.run_id,
            "--scheduled-for", launch.scheduled_for.isoformat(),
            "--attempt", str(launch.attempt),
        ]  # fmt: skip

    return command


def child_environment(
    environ: Mapping[str, str], launch: Launch, *, options: str | None = None
) -> dict[str, str]:
    """The daemon's environment without what speaks to its service manager or is secret, and with who the run is.

    `options`: what the daemon knows of the run's options (options.hand_over), so that the run does as the daemon decided
    whatever has become of the job file.
    """
    handed = {} if options is None else {ENV_RUN_OPTIONS: options}
    return (
        for_children(environ)
        | handed
        | {
            ENV_JOB_ID: launch.job_id,
            ENV_RUN_ID: launch.run_id,
            ENV_SCHEDULED_FOR: launch.scheduled_for.isoformat(),
            ENV_ATTEMPT: str(launch.attempt),
            "PYTHONUNBUFFERED": "1",
        }
    )
