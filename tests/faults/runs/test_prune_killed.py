"""SIGKILL while old runs are pruned: no file is left that the ledger does not know of, and the next prune ends the work."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.runs.ledger import Ledger
from pipesched.runs.logs import log_path
from support.world import NOW, World

CHILD = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from pipesched.runs import retention
from pipesched.runs.ledger import Ledger
from pipesched.settings import Paths

home, now, die_at = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])
steps = 0

def hook(event, arguments):
    global steps
    if event == "os.remove":
        steps += 1
        if steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

retention.BATCH = 2
paths = Paths.resolve(file=str(home / "schedules.json"), environ={}, cwd=home)
with Ledger.open(paths.ledger, create=True) as ledger:
    plan = retention.plan(ledger, paths, retention.Keep(days=10), now)
    sys.addaudithook(hook)
    retention.execute(plan, ledger)
print(steps)
"""


def prune(home: Path, die_at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(home), NOW.isoformat(), str(die_at)],
        capture_output=True,
        text=True,
        check=False,
    )


def fill(home: Path) -> World:
    world = World(home)
    for days in (60, 50, 40, 30, 20, 1):
        run_id = world.ran("nightly", NOW - timedelta(days=days), report=True)
        path = log_path(world.paths.logs_dir, run_id)
        path.parent.mkdir(exist_ok=True)
        path.write_text("said")
    return world


def known_and_there(world: World) -> tuple[set[str], set[str]]:
    with Ledger.open(world.paths.ledger, create=False) as ledger:
        known = {run.run_id for run in ledger.history(limit=None)}
    logs = {path.stem for path in world.paths.logs_dir.glob("*.log")}
    reports = {path.stem.removeprefix("report-") for path in world.paths.output_dir.glob("report-*.json")}
    return known, logs | reports


@pytest.mark.parametrize("die_at", range(1, 13, 2))
def test_killed_anywhere_it_leaves_no_orphan_and_is_done_by_the_next(tmp_path: Path, die_at: int) -> None:
    world = fill(tmp_path)
    assert prune(tmp_path, die_at).returncode == -signal.SIGKILL
    known, there = known_and_there(world)
    assert there <= known
    assert len(known) > 1
    done = prune(tmp_path, 0)
    assert done.returncode == 0, done.stderr
    known, there = known_and_there(world)
    assert known == there
    assert len(known) == 1
