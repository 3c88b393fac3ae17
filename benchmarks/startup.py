"""How long commands take to start, as whole processes, beside a bare import of what they are built on.

    .venv/bin/python benchmarks/startup.py [--rounds 15]

Prints one table: the least wall time and the least processor time over interleaved rounds, and their ratio to the
reference. The target is 1.5.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REFERENCE = "import typer, rich.table; from pydantic import BaseModel"
TARGET = 1.5
PIPESCHED = str(Path(sys.executable).with_name("pipesched"))

COMMANDS: dict[str, list[str]] = {
    "reference": [sys.executable, "-c", REFERENCE],
    "--help": [PIPESCHED, "--help"],
    "list": [PIPESCHED, "list"],
    "next": [PIPESCHED, "next"],
    "status": [PIPESCHED, "status"],
}


@dataclass
class Least:
    """Seconds of one process: the least of all rounds, since whatever else runs on the machine only adds."""

    wall: float = float("inf")
    cpu: float = float("inf")


def environment() -> dict[str, str]:
    # PYTHONDONTWRITEBYTECODE would have an editable install compiled anew at each start.
    return {key: value for key, value in os.environ.items() if not key.startswith(("PIPESCHED_", "PYTHON"))}


def measure(commands: Mapping[str, list[str]], folder: Path, rounds: int) -> dict[str, Least]:
    """The least wall and processor time of each command in `folder`, over `rounds` rounds of all of them in turn."""
    least = {name: Least() for name in commands}
    env = environment()
    for round_number in range(rounds + 1):
        for name, command in commands.items():
            begun = time.perf_counter()
            process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                sys.exit(f"{command} exited with {process.returncode}")
            if round_number:  # the first one compiles bytecode and fills the page cache
                least[name].wall = min(least[name].wall, wall)
                least[name].cpu = min(least[name].cpu, usage.ru_utime + usage.ru_stime)
    return least


def project(folder: Path) -> None:
    """Three jobs and a ledger with a run in it, as a project has after its first day."""
    (folder / "data").mkdir()
    for arguments in (["init"], ["run", "daily_incremental"]):
        subprocess.run(
            [PIPESCHED, *arguments], cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        project(Path(name))
        least = measure(COMMANDS, Path(name), rounds)
    reference = least["reference"]
    print(f"{'process':<12} {'wall ms':>8} {'ratio':>6} {'cpu ms':>8} {'ratio':>6}")
    for command, found in least.items():
        print(
            f"{command:<12} {found.wall * 1e3:8.0f} {found.wall / reference.wall:6.2f}"
            f" {found.cpu * 1e3:8.0f} {found.cpu / reference.cpu:6.2f}"
        )


if __name__ == "__main__":
    main()
