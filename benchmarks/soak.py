"""A daemon that lives through weeks in minutes: does it hold more and more memory, threads, files or disk?

    .venv/bin/python benchmarks/soak.py [--days 14] [--jobs 3] [--every 120] [--hours 6] [--folder /dev/shm]

All of it is real (loop, ledger, job file, endpoint, pings, notifications, and a process for each run) but the clock, and what a
run does, which is `echo` (tests/support/soak.py). A line each --hours of the daemon's time, then the verdict; exit 1 for a leak.
"""

import argparse
import logging
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.soak import Sample, Soak, leaks

COLUMNS: Final = ("day", "runs", "RSS MB", "blocks", "threads", "handles", "ledger MB", "files", "seconds")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument(
        "--every", type=float, default=120.0, help="seconds from one run of a job to the next"
    )
    parser.add_argument("--hours", type=float, default=6.0, help="from one line to the next")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the state is made")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began = time.perf_counter()
    print("".join(column.rjust(11) for column in COLUMNS))

    def row(sample: Sample) -> None:
        cells = (
            f"{sample.hours / 24:.2f}", f"{sample.fires:,}", f"{sample.kilobytes / 1024:.1f}", f"{sample.blocks:,}",
            str(sample.threads), str(sample.handles), f"{sample.database / 2**20:.2f}", str(sample.files),
            f"{time.perf_counter() - began:.0f}",
        )  # fmt: skip
        print("".join(cell.rjust(11) for cell in cells), flush=True)

    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        soak = Soak(
            Path(folder),
            hours=given.days * 24,
            jobs=given.jobs,
            every=timedelta(seconds=given.every),
            between=timedelta(hours=given.hours),
            watcher=row,
        )
        soak.live()
    found = leaks(soak.samples)
    print("\n".join(found) or "flat")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
