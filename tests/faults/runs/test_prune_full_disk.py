"""`prune` on a full disk, where it is needed most: what needs no database makes the room for what does."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.runs.ledger import Ledger
from pipesched.runs.logs import log_path
from support.command import pipesched
from support.disk import fill, small_disk
from support.world import NOW, World


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    with small_disk(tmp_path / "small", "1m") as folder:
        yield folder


def killed_while_it_writes(ledger: Path) -> None:
    """Leave the ledger as a daemon that is killed does: with a log beside it."""
    child = os.fork()
    if child == 0:
        with Ledger.open(ledger, create=True) as opened:
            opened.claim("a-run", "other", scheduled_for=NOW, attempt=1, trigger="schedule", now=NOW)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert Path(f"{ledger}-wal").stat().st_size


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_old_logs_go_before_the_ledger_is_written_to(mounted: Path, killed: bool) -> None:
    world = World(mounted)
    old, new = (world.ran("nightly", NOW - timedelta(days=days), report=True) for days in (3000, 2999))
    log = log_path(world.paths.logs_dir, old)
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(b"x" * 200_000)
    if killed:
        killed_while_it_writes(world.paths.ledger)
    fill(mounted)
    done = pipesched("prune", "--json", cwd=mounted)
    assert done.code == 0, done
    assert {name: done.json["pruned"][name] for name in ("runs", "logs", "reports")} == {
        "runs": 1,
        "logs": 1,
        "reports": 1,
    }
    assert not log.exists()
    with Ledger.open(world.paths.ledger, create=False) as ledger:
        assert [run.run_id for run in ledger.history(limit=None) if run.run_id != "a-run"] == [new]


def test_a_disk_on_which_nothing_can_go_is_said_to_be_full(mounted: Path) -> None:
    world = World(mounted)
    world.ran("nightly", NOW - timedelta(days=1))
    fill(mounted)
    done = pipesched("prune", "--json", cwd=mounted)
    assert done.code == 74
    assert "the disk is full" in done.json["error"]["message"]
    assert "df -h" in done.json["error"]["hint"]
