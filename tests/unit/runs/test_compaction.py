"""The disk gets back what deleted rows have left, while others read and write, and whatever kills it."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.compaction import WORTH_BYTES, give_back, prepare, reclaimable
from pipesched.runs.ids import new_run_id
from pipesched.runs.ledger import Ledger
from support.world import NOW

Filled = Callable[..., sqlite3.Connection]


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """A database of `rows` kilobytes, of which all but `left` were deleted."""

    def made(*, rows: int = 4000, left: int = 100, prepared: bool = True) -> sqlite3.Connection:
        db = sqlite3.connect(tmp_path / "some.sqlite3", isolation_level=None, check_same_thread=False)
        if prepared:
            prepare(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE lines (number INTEGER PRIMARY KEY, text)")
        db.execute("BEGIN")
        db.executemany("INSERT INTO lines (text) VALUES (?)", (("x" * 1000,) for _ in range(rows)))
        db.execute("COMMIT")
        db.execute("DELETE FROM lines WHERE number > ?", (left,))
        return db

    return made


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("prepared", [True, False])
def test_what_is_free_is_given_back_log_and_all(filled: Filled, tmp_path: Path, prepared: bool) -> None:
    with closing(filled(prepared=prepared)) as db:
        assert reclaimable(db) > 3_500_000
        assert give_back(db) > 3_500_000
        assert size(tmp_path) < 300_000
        assert db.execute("SELECT count(*), sum(length(text)) FROM lines").fetchone() == (100, 100_000)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert give_back(db) == 0


def test_a_little_is_left_to_be_used_again(filled: Filled, tmp_path: Path) -> None:
    with closing(filled(rows=WORTH_BYTES // 1000 - 200)) as db:
        assert reclaimable(db) == give_back(db) == 0
    (tmp_path / "some.sqlite3").unlink()
    with closing(filled(rows=8000, left=6500)) as db:
        assert reclaimable(db) == give_back(db) == 0, "less than a quarter"


def test_who_writes_meanwhile_hardly_waits(filled: Filled, tmp_path: Path) -> None:
    waits: list[float] = []
    done = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(tmp_path / "some.sqlite3", isolation_level=None, timeout=30)) as other:
            while not done.wait(0.005):
                began = time.perf_counter()
                other.execute("INSERT INTO lines (text) VALUES ('meanwhile')")
                waits.append(time.perf_counter() - began)

    with closing(filled(rows=40_000)) as db:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            give_back(db)
        finally:
            done.set()
            writer.join()
        assert db.execute("SELECT count(*) FROM lines WHERE text = 'meanwhile'").fetchone() == (len(waits),)
    assert len(waits) > 10
    assert max(waits) < 1.0


CHILD = """
import os, signal, sqlite3, sys
from pipesched import compaction
compaction.STEP_PAGES = 50
db = sqlite3.connect(sys.argv[1], isolation_level=None)
steps = 0
def seen(statement):
    global steps
    steps += "incremental_vacuum" in statement or "VACUUM" in statement
    if steps == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
db.set_trace_callback(seen)
db.set_progress_handler(lambda: steps == int(sys.argv[2]) and os.kill(os.getpid(), signal.SIGKILL), 1000)
compaction.give_back(db)
"""


@pytest.mark.parametrize("die_at", [1, 5])
def test_killed_anywhere_it_loses_nothing_and_the_next_one_ends_the_work(
    filled: Filled, tmp_path: Path, die_at: int
) -> None:
    filled().close()
    path = tmp_path / "some.sqlite3"
    command = [sys.executable, "-c", CHILD, str(path), str(die_at)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM lines").fetchone() == (100,)
        give_back(db)
        assert size(tmp_path) < 300_000


def test_a_ledger_is_made_so_that_it_can_shrink(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite3", create=True) as ledger:
        with ledger.batch():
            for number in range(3000):
                run_id = new_run_id("nightly", NOW + timedelta(seconds=number))
                ledger.begin_manual(run_id, "nightly", now=NOW, pid=1, dry_run=False)
                ledger.finish(run_id, status="failed", exit_code=1, reason="why " * 200, now=NOW)
        before = size(tmp_path)
        ledger.forget(run.run_id for run in ledger.surplus(1))
        assert ledger.reclaimable() > WORTH_BYTES
        assert ledger.give_back() > WORTH_BYTES
    assert size(tmp_path) < before / 5
    with Ledger.open(tmp_path / "ledger.sqlite3", create=False) as ledger:
        assert len(ledger.history(limit=None)) == 1
        assert ledger.counters().failed == 3000
