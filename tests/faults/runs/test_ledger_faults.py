"""The ledger under kills, two writers, damage, a full disk, a read-only folder, a newer version and planted files."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.errors import (
    Busy,
    CannotCreate,
    ConfigurationError,
    DataError,
    InputOutputError,
    NotPermitted,
    PipeschedError,
)
from pipesched.runs import database, schema
from pipesched.runs.ledger import Ledger
from pipesched.schedule.model import Skip
from support.disk import on_a_full_disk, with_failing_calls
from support.machine import program

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

CLAIMS = """
import itertools, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pipesched.runs.ledger import Ledger
from pipesched.schedule.model import Skip
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
who, path, first, end = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
with Ledger.open(path, create=True) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(first, end):
        at = NOW + timedelta(minutes=number)
        won = ledger.claim(f"{who}-{number}", "nightly", scheduled_for=at, attempt=1, trigger="schedule", now=at)
        print(number, int(won), flush=True)
        if won and number % 3 == 0:
            ledger.finish(f"{who}-{number}", status="failed", now=at, retry_at=at)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


def claimer(who: str, path: Path, first: int, end: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLAIMS, who, str(path), str(first), str(end)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def answers(process: subprocess.Popen[str]) -> dict[int, bool]:
    """Slot -> whether the process won it, of the lines that it finished."""
    assert process.stdout is not None
    whole = [line for line in process.stdout if line.endswith("\n")]
    return {int(line.split()[0]): line.split()[1] == "1" for line in whole}


def fill(path: Path, count: int = 200) -> None:
    with Ledger.open(path, create=True) as ledger, ledger.batch():
        for number in range(count):
            at = NOW + number * MINUTE
            ledger.claim(f"r{number}", "nightly", scheduled_for=at, attempt=1, trigger="schedule", now=at)
            ledger.finish(f"r{number}", status="failed", now=at, reason="x" * 100)


def check_consistent(path: Path) -> None:
    """Nothing is half-written: the rows, the job's summary and the lifetime counts say the same."""
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        rows, failed, last = db.execute(
            "SELECT count(*), count(*) FILTER (WHERE status = 'failed'), max(scheduled_for) FROM runs"
        ).fetchone()
        job = db.execute("SELECT claimed, failed, failures, handled FROM jobs").fetchone()
        lifetime = db.execute("SELECT failed FROM lifetime").fetchone()
        assert (job or (0, 0, 0, None)) == (rows, failed, failed, last)
        assert lifetime == (failed,)
    finally:
        db.close()


def test_after_a_kill_in_mid_claim_nothing_is_claimed_twice_and_nothing_is_half_written(path: Path) -> None:
    moments = random.Random(3)
    claimed: set[int] = set()
    for round_number in range(6):
        start = max(claimed, default=-1) + 1
        with claimer(f"w{round_number}", path, start, start + 100_000) as worker:
            go(worker)
            time.sleep(moments.uniform(0.0, 0.15))
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            told = answers(worker)
        assert all(told.values())
        check_consistent(path)
        with Ledger.open(path, create=True) as ledger:
            kept = [run.scheduled_for for run in ledger.history(limit=None)]
            assert len(kept) == len(set(kept))
            # What was answered before the kill is there; at most the one in flight came on top.
            now_claimed = {round((at - NOW) / MINUTE) for at in kept if at is not None}
            assert claimed | set(told) <= now_claimed
            assert len(now_claimed - claimed - set(told)) <= 1
            for number in list(now_claimed)[-3:]:
                at = NOW + number * MINUTE
                assert not ledger.claim(
                    "again", "nightly", scheduled_for=at, attempt=1, trigger="catch_up", now=at
                )
            claimed = now_claimed
    assert len(claimed) > 20


def test_of_two_processes_that_claim_the_same_slots_exactly_one_wins_each(path: Path) -> None:
    Ledger.open(path, create=True).close()
    with claimer("a", path, 0, 150) as one, claimer("b", path, 0, 150) as other:
        go(one, other)
        first, second = answers(one), answers(other)
    assert set(first) == set(second) == set(range(150))
    assert not [number for number in range(150) if first[number] and second[number]]
    with Ledger.open(path, create=False) as ledger:
        rows = {run.run_id for run in ledger.history(limit=None)}
    assert rows == {f"a-{n}" for n, won in first.items() if won} | {
        f"b-{n}" for n, won in second.items() if won
    }
    check_consistent(path)


def test_two_processes_may_make_the_ledger_at_the_same_time(path: Path) -> None:
    workers = [claimer(f"w{number}", path, number, number + 1) for number in range(4)]
    try:
        go(*workers)
        for worker in workers:
            worker.communicate(timeout=30)
            assert worker.returncode == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    check_consistent(path)


def test_a_kill_at_any_call_while_the_ledger_is_made_leaves_one_that_works(path: Path) -> None:
    make = f"""
from pathlib import Path
from pipesched.runs.ledger import Ledger
Ledger.open(Path({str(path)!r}), create=True).close()
"""
    killed = 0
    for call in ("fsync", "fdatasync", "pwrite64"):
        for when in (1, 2, 4, 7):
            done = with_failing_calls(make, f"{call}:signal=KILL:when={when}")
            killed += done.returncode == -signal.SIGKILL
            with Ledger.open(path, create=False) as reader:
                assert reader.history() == []
            with Ledger.open(path, create=True) as ledger:
                assert ledger.counters().executed == 0
            for file in path.parent.iterdir():
                file.unlink()
    assert killed >= 6


def test_readers_go_on_while_somebody_writes(path: Path) -> None:
    fill(path, 5)
    with claimer("w", path, 1000, 100_000) as worker:
        go(worker)
        counts = []
        until = time.monotonic() + 1
        while time.monotonic() < until:
            with Ledger.open(path, create=False) as reader:
                found = reader.history(limit=None)
                assert reader.summaries()["nightly"].claimed >= len(found)
                counts.append(len(found))
        worker.kill()
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_a_reader_opening_and_closing_makes_no_write_fail(path: Path) -> None:
    """Closing the last connection checkpoints and deletes the log: a race that a reader may lose, but not a writer."""
    for number in range(40):
        with Ledger.open(path, create=True) as ledger:
            at = NOW + number * MINUTE
            assert ledger.claim(f"r{number}", "a", scheduled_for=at, attempt=1, trigger="schedule", now=at)
            with Ledger.open(path, create=False) as reader:
                assert len(reader.history(limit=None)) == number + 1
        with Ledger.open(path, create=False) as reader:
            assert len(reader.history(limit=None)) == number + 1


@pytest.mark.parametrize("damage", ["text", "header", "middle", "truncated", "nul"])
def test_a_damaged_ledger_is_an_error_that_says_what_to_do_and_its_bytes_stay(
    path: Path, damage: str
) -> None:
    fill(path)
    data = bytearray(path.read_bytes())
    match damage:
        case "text":
            data[:] = b"this is no database, and longer than a hundred bytes " * 10
        case "header":
            data[:16] = b"x" * 16
        case "middle":
            for page in range(1, len(data) // 4096):
                data[page * 4096 : page * 4096 + 2048] = b"\xa5" * 2048
        case "truncated":
            del data[4096 * 2 + 100 :]
        case "nul":
            data[:] = bytes(len(data))
    path.write_bytes(data)

    def use(*, create: bool) -> None:
        with Ledger.open(path, create=create) as ledger:
            ledger.history(limit=None)
            ledger.summaries()

    for create in (False, True):
        with pytest.raises(DataError, match="cannot be used") as caught:
            use(create=create)
        assert f"mv {path}*" in caught.value.hint
    if damage != "middle":
        assert path.read_bytes() == bytes(data)


def test_an_empty_file_is_an_empty_ledger(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    with Ledger.open(path, create=False) as reader:
        assert reader.history() == []
    fill(path, 1)
    with Ledger.open(path, create=False) as reader:
        assert len(reader.history()) == 1


def test_another_programs_database_is_not_taken_for_ours(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE runs (run_id TEXT)")
    db.commit()
    db.close()
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(DataError, match="another program"):
            Ledger.open(path, create=create)
    assert path.read_bytes() == before


def test_a_newer_ledger_is_refused(path: Path) -> None:
    fill(path, 1)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    for create in (False, True):
        with pytest.raises(ConfigurationError, match="newer pipesched") as caught:
            Ledger.open(path, create=create)
        assert "upgrade" in caught.value.hint


FULL = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pipesched.errors import PipeschedError, exit_status
from pipesched.runs.ledger import Ledger
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
done = 0
try:
    with Ledger.open(Path("state/ledger.sqlite3"), create=True) as ledger:
        for number in range(100_000):
            ledger.claim(f"r{number}", "a", scheduled_for=NOW + timedelta(minutes=number), attempt=1,
                         trigger="schedule", now=NOW, reason="x" * 1500)
            done = number + 1
except PipeschedError as error:
    print(exit_status(error), error.message, "|", error.hint)
with Ledger.open(Path("state/ledger.sqlite3"), create=False) as reader:
    print(len(reader.history(limit=None)) == done, done > 3)
"""


def test_a_full_disk_is_an_input_output_error_and_loses_nothing(tmp_path: Path) -> None:
    done = on_a_full_disk(tmp_path, FULL, size="600k")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("74 ")
    assert "df -h" in first
    assert second == "True True"


def test_a_failing_disk_is_an_input_output_error(path: Path) -> None:
    fill(path, 2)
    code = f"""
from datetime import UTC, datetime
from pathlib import Path
from pipesched.errors import PipeschedError, exit_status
from pipesched.runs.ledger import Ledger
try:
    with Ledger.open(Path({str(path)!r}), create=True) as ledger:
        ledger.claim("late", "a", scheduled_for=datetime(2027, 1, 1, tzinfo=UTC), attempt=1, trigger="schedule",
                     now=datetime(2027, 1, 1, tzinfo=UTC))
    print("claimed")
except PipeschedError as error:
    print(exit_status(error))
"""
    done = with_failing_calls(code, "fsync:error=EIO", "fdatasync:error=EIO")
    assert done.stdout.strip() == "74", done.stderr
    with Ledger.open(path, create=False) as reader:
        assert len(reader.history()) >= 2


def as_nobody(code: str) -> subprocess.CompletedProcess[str]:
    """Root may read and write everywhere, so this goes on as one who may not, once Python itself is loaded."""
    drop = "import os, pwd\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    imports, rest = code.split("\ntry:", 1)
    return subprocess.run(
        [sys.executable, "-c", f"{imports}\n{drop}try:{rest}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


READ = """
import shutil, tempfile
from pathlib import Path
from pipesched.errors import PipeschedError, exit_status
from pipesched.runs.ledger import Ledger
try:
    with Ledger.open(Path({path!r}), create={create}) as ledger:
        print(len(ledger.history(limit=None)))
except PipeschedError as error:
    print(exit_status(error), error.message)
"""


@pytest.fixture
def readable() -> Iterator[Path]:
    """A ledger that everybody may read, in a folder that others may not write; not below pytest's, which is closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        path = Path(folder) / "state" / "ledger.sqlite3"
        fill(path, 3)
        path.parent.chmod(0o755)
        path.chmod(0o644)
        yield path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_ledger_in_a_read_only_folder_is_read(readable: Path) -> None:
    done = as_nobody(READ.format(path=str(readable), create=False))
    assert done.stdout == "3\n", done.stderr
    assert [file.name for file in readable.parent.iterdir()] == [readable.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_what_a_killed_writer_left_in_a_read_only_folder_is_read(readable: Path) -> None:
    with claimer("w", readable, 1000, 100_000) as worker:
        go(worker)
        time.sleep(0.2)
        worker.kill()
    with Ledger.open(readable, create=False) as reader:
        rows = len(reader.history(limit=None))
    assert rows > 3
    assert len(list(readable.parent.iterdir())) == 3
    readable.parent.chmod(0o755)
    for file in readable.parent.iterdir():
        file.chmod(0o644)
    done = as_nobody(READ.format(path=str(readable), create=False))
    assert done.stdout == f"{rows}\n", done.stderr
    (readable.parent / f"{readable.name}-shm").unlink()  # as in a copy
    done = as_nobody(READ.format(path=str(readable), create=False))
    assert done.stdout == f"{rows}\n", done.stderr


def test_what_a_ledger_that_was_moved_away_left_is_not_taken_for_the_new_ones(path: Path) -> None:
    with claimer("w", path, 0, 100_000) as worker:
        go(worker)
        time.sleep(0.1)
        worker.kill()
    path.rename(path.with_name("old.sqlite3"))
    with Ledger.open(path, create=False) as reader:
        assert reader.history() == []
    with Ledger.open(path, create=True) as ledger:
        assert ledger.history() == []
    check_consistent(path)
    assert (path.parent / f"{path.name}-wal.orphan").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_somebody_elses_ledger_is_not_written_and_a_private_one_is_not_read(readable: Path) -> None:
    done = as_nobody(READ.format(path=str(readable), create=True))
    assert done.stdout.startswith("77 "), done.stderr
    readable.parent.chmod(0o700)
    done = as_nobody(READ.format(path=str(readable), create=False))
    assert done.stdout.startswith("77 "), done.stderr


def test_a_planted_link_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"")
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "ledger.sqlite3").symlink_to(target)
    with pytest.raises(NotPermitted, match="no ordinary file"):
        Ledger.open(state / "ledger.sqlite3", create=True)
    assert target.read_bytes() == b""


def test_permissions_that_were_too_wide_are_narrowed(path: Path) -> None:
    fill(path, 1)
    path.chmod(0o666)
    fill(path, 1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate):
        Ledger.open(tmp_path / "file" / "state" / "ledger.sqlite3", create=True)
    with Ledger.open(tmp_path / "file" / "state" / "ledger.sqlite3", create=False) as reader:
        assert reader.history() == []


def test_a_folder_in_the_ledgers_place_is_an_error(path: Path) -> None:
    path.mkdir(parents=True)
    path.parent.chmod(0o700)
    for create in (False, True):
        with pytest.raises((InputOutputError, NotPermitted, DataError)):
            Ledger.open(path, create=create)


def test_a_lock_that_is_kept_too_long_is_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, 1)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    try:
        with Ledger.open(path, create=True) as ledger:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(Busy, match="locked") as caught:
                ledger.record_slots(Skip("a", NOW, NOW, 1, "missed", "down"), NOW)
            assert isinstance(caught.value, PipeschedError)
            with Ledger.open(path, create=False) as reader:
                assert len(reader.history()) == 1
    finally:
        holder.close()


SYNCED = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pipesched.runs.ledger import Ledger
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
with Ledger.open(Path({path!r}), create=True) as ledger:
    for number in range({count}):
        at = NOW + timedelta(minutes=number)
        ledger.claim(f"r{{number}}", "a", scheduled_for=at, attempt=1, trigger="schedule", now=at)
"""


def test_the_disk_is_synced_before_a_claim_is_answered(tmp_path: Path) -> None:
    def syncs(count: int) -> int:
        trace = tmp_path / f"{count}.trace"
        code = SYNCED.format(path=str(tmp_path / str(count) / "ledger.sqlite3"), count=count)
        strace = program("strace", "strace")
        subprocess.run(
            [strace, "-qq", "-o", trace, "-e", "trace=fsync,fdatasync", sys.executable, "-c", code],
            check=True,
        )
        return len(trace.read_text().splitlines())

    assert syncs(25) - syncs(5) >= 20
