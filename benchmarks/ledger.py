"""What the ledger's answers and claims cost with 10,000 jobs and 1,000,000 rows.

    python benchmarks/ledger.py [--jobs 10000] [--rows 1000000] [--keep FILE]

The rows are made through the ledger itself, a few thousand a transaction: for each job runs of which one in twenty failed, one in fifty
was partial, and as many missed slots in between. A claim is timed with its own durable commit, as the daemon makes it; each question in
a ledger opened for it, as a command does, and in one that stays open.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pipesched.runs.ledger import Ledger
from pipesched.schedule.model import Policy, Skip, TimedJob
from pipesched.schedule.parse import interval

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
BATCH: Final = 2000


def build(path: Path, jobs: int, rows: int) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    each = rows // jobs
    with Ledger.open(path, create=True) as ledger:
        for first in range(0, rows, BATCH):
            with ledger.batch():
                for number in range(first, min(first + BATCH, rows)):
                    add(ledger, job=f"job-{number % jobs:05}", turn=number // jobs, each=each)
    return time.perf_counter() - began


def add(ledger: Ledger, *, job: str, turn: int, each: int) -> None:
    at = START + timedelta(hours=turn)
    if turn % 25 == 24:
        ledger.record_slots(Skip(job, at, at, 1, "missed", f"down {turn}"), at)
        return
    run_id = f"{job}-{turn:05}"
    ledger.claim(run_id, job, scheduled_for=at, attempt=1, trigger="schedule", now=at)
    if turn == each - 1 and job.endswith("777"):
        return  # some are still queued
    ledger.started(run_id, pid=1, pid_started=1, now=at)
    status = "failed" if turn % 20 == 7 else "partial" if turn % 50 == 3 else "succeeded"
    ledger.finish(run_id, status=status, exit_code=0, now=at + timedelta(seconds=30), documents={"new": 1})  # type: ignore[arg-type]


def report(name: str, action: Callable[[], object], times: int) -> None:
    """The processor time is what the ledger costs on a machine that others keep busy, too."""
    taken, used = [], []
    for _ in range(times):
        began, began_cpu = time.perf_counter(), time.process_time()
        action()
        used.append((time.process_time() - began_cpu) * 1e3)
        taken.append((time.perf_counter() - began) * 1e3)
    taken.sort()
    p99 = taken[min(times - 1, int(times * 0.99))]
    print(
        f"{name:<52}{statistics.median(taken):>10.3f}{p99:>10.3f}{statistics.median(used):>10.3f}{times:>7}"
    )


def job(number: int) -> TimedJob:
    return TimedJob(f"job-{number:05}", interval(3600, START), Policy(after=("job-00000",)), START)


def writes(path: Path) -> None:
    at = START + timedelta(
        days=3650, minutes=int(time.time())
    )  # later than at the last time, of a file that was kept
    with Ledger.open(path, create=True) as ledger:
        number = 0

        def claim() -> None:
            nonlocal number
            number += 1
            when = at + timedelta(minutes=number)
            ledger.claim(
                f"x-{at:%s}-{number}",
                "job-00001",
                scheduled_for=when,
                attempt=1,
                trigger="schedule",
                now=when,
            )

        def finish() -> None:
            nonlocal number
            ledger.finish(f"x-{at:%s}-{number}", status="succeeded", now=at, documents={"new": 1})
            number -= 1

        report("claim, durable", claim, 500)
        report("finish, durable", finish, 500)
        claims = iter(range(10**6))

        def thousand() -> None:
            turn = next(claims)
            with ledger.batch():
                for each in range(1000):
                    ledger.claim(
                        f"y-{at:%s}-{turn}-{each}", f"job-{each:05}", scheduled_for=at + timedelta(days=1 + turn), attempt=1,
                        trigger="schedule", now=at,
                    )  # fmt: skip

        report("1,000 claims in one transaction", thousand, 5)
        report("progress of 1 job, 5,000 runs queued", lambda: ledger.progress([job(1)]), 100)
        with ledger.batch():
            for turn in range(next(claims)):
                for each in range(1000):
                    ledger.finish(f"y-{at:%s}-{turn}-{each}", status="skipped", now=at)


def questions(path: Path, jobs: int) -> None:
    timed = [job(number) for number in range(jobs)]
    middle = START + timedelta(days=1)

    def asked(question: Callable[[Ledger], object]) -> Callable[[], object]:
        def ask() -> object:
            with Ledger.open(path, create=False) as ledger:
                return question(ledger)

        return ask

    table: list[tuple[str, Callable[[Ledger], object], int]] = [
        ("opened and closed", lambda _: None, 100),
        ("counters", lambda ledger: ledger.counters(), 100),
        ("history, 20 newest", lambda ledger: ledger.history(), 100),
        ("history of one job", lambda ledger: ledger.history("job-00042"), 100),
        ("history, 20 newest that failed", lambda ledger: ledger.history(statuses=("failed",)), 100),
        ("history, 20 newest of a state that nothing has", lambda ledger: ledger.history(statuses=("lost",)), 100),
        ("history, one job's failures since a time", lambda ledger: ledger.history("job-00042", ("failed",), middle), 100),
        ("one run", lambda ledger: ledger.run("job-00042-00003"), 100),
        ("active runs", lambda ledger: ledger.active(), 20),
        ("progress of 1 job", lambda ledger: ledger.progress(timed[:1]), 100),
        (f"progress of all {jobs} jobs", lambda ledger: ledger.progress(timed), 5),
        (f"summaries of all {jobs} jobs", lambda ledger: ledger.summaries(), 5),
        (f"totals of all {jobs} jobs", lambda ledger: ledger.totals(), 5),
        ("the older half of the rows, for retention", lambda ledger: ledger.expired(middle), 5),
    ]  # fmt: skip
    for name, question, times in table:
        report(name, asked(question), times)
    with Ledger.open(path, create=True) as ledger:
        report(f"progress of all {jobs} jobs, kept open", lambda: ledger.progress(timed), 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="build it here, or use the one that is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.keep or Path(folder) / "state" / "ledger.sqlite3"
        if not path.exists():
            seconds = build(path, given.jobs, given.rows)
            print(f"built in {seconds:.0f} s: {given.rows / seconds:,.0f} rows a second")
        size = path.stat().st_size
        print(
            f"{given.jobs} jobs, {given.rows} rows, {size / 1e6:.0f} MB, {size / given.rows:.0f} bytes a row\n"
        )
        print(f"{'':<52}{'median ms':>10}{'p99 ms':>10}{'cpu ms':>10}{'times':>7}")
        questions(path, given.jobs)
        writes(path)


if __name__ == "__main__":
    main()
