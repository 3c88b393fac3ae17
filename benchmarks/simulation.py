"""A month of a scheduler with 10,000 jobs, in which it crashes, is edited and has its clock set: is every occurrence accounted for?

    .venv/bin/python benchmarks/simulation.py [--jobs 10000] [--days 30] [--seed 1] [--folder /dev/shm]

The scheduler, the planner and the ledger are the real ones, over a ledger file in memory; the clock is set, and processes are
pretended (tests/support/simulation.py). At the end every slot of every job, by its schedules alone, is looked for in the ledger:
it has to be in exactly one row, and no attempt may have been started twice.
"""

import argparse
import logging
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.simulation import Faults, Simulation, random_jobs, random_trigger

HOURS: Final = (1, 2, 2, 3)
"""Fourteen occurrences of a job a day, on average."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the ledger is made")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        simulation = Simulation(
            Path(folder) / "state",
            random_jobs(random.Random(given.seed), given.jobs, hours=HOURS, waiting=0.002),
            seed=given.seed,
            workers=max(8, given.jobs // 5),
            lasting=lambda dice: dice.choice([20, 60, 300, 1200]) * dice.uniform(0.5, 1.5),
            faults=Faults(
                crash=0.25,
                jump=2.0,
                pause=0.02,
                edit=0.02,
                remove=0.2,
                by_hand=0.05,
                downtimes=(0, 0, 1, 30, 600, 7200),
            ),
            new_trigger=lambda dice: random_trigger(dice, hours=HOURS),
            grain=30.0,
        )
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in range(max(1, round(given.days))):
            simulation.live(days=given.days / max(1, round(given.days)))
            counts = simulation.shell.counters()
            print(
                f"{simulation.clock.wall:%Y-%m-%d %H:%M}: {counts.executed + counts.failed:>9,} runs, {counts.missed:>9,} missed,"
                f" {counts.skipped:>9,} skipped; {time.perf_counter() - began:6.0f} s, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
        took, took_cpu = time.perf_counter() - began, time.process_time() - began_cpu
        found = simulation.audit()
        total, started = found.total(), sum(simulation.processes.launches.values())
        size = simulation.path.stat().st_size
        simulation.close()
    print(f"happened: {dict(simulation.happened)}")
    print(f"occurrences, each in one row: {total:,} of {given.jobs:,} jobs: {dict(found)}")
    print(f"{started:,} processes started, none twice")
    print(
        f"{took:.0f} s, {took_cpu:.0f} s of one core, {took_cpu / total * 1e6:.0f} us an occurrence; ledger {size / 1e6:.0f} MB;"
        f" memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
