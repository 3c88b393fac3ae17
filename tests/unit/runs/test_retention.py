"""What of past runs goes, and what stays."""

from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.runs.ledger import Ledger
from pipesched.runs.logs import log_path
from pipesched.runs.retention import Keep, RetentionPlan, execute, plan
from support.world import World

DAY = timedelta(days=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def past(world: World, days: float, status: str = "succeeded", job_id: str = "nightly") -> str:
    """A run so many days ago, with its log, report and statistics."""
    run_id = world.ran(job_id, world.now - days * DAY, status, report=True)
    path = log_path(world.paths.logs_dir, run_id)
    path.parent.mkdir(exist_ok=True)
    path.write_text("x" * 100)
    (world.paths.output_dir / f"statistics-{run_id}.json").write_text("{}")
    return run_id


def files_of(world: World, run_id: str) -> list[str]:
    return sorted(path.name for path in world.home.rglob(f"*{run_id}*"))


def planned(world: World, **keep: int) -> RetentionPlan:
    with Ledger.open(world.paths.ledger, create=False) as ledger:
        return plan(ledger, world.paths, Keep(**keep), world.now)


def prune(world: World, **keep: int) -> RetentionPlan:
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        return execute(plan(ledger, world.paths, Keep(**keep), world.now), ledger).gone


def rows(world: World) -> set[str]:
    with Ledger.open(world.paths.ledger, create=False) as ledger:
        return {run.run_id for run in ledger.history(limit=None)}


def test_old_runs_go_with_their_log_report_and_statistics(world: World) -> None:
    old, new, last = past(world, 100), past(world, 50), past(world, 1)
    gone = prune(world, days=90)
    assert [run.run_id for run in gone.runs] == [old]
    assert (gone.rows, gone.files("log"), gone.files("report"), gone.files("statistics")) == (1, 1, 1, 1)
    assert gone.bytes > 100
    assert files_of(world, old) == []
    assert len(files_of(world, new)) == len(files_of(world, last)) == 3
    assert rows(world) == {new, last}


def test_runs_beyond_the_newest_of_a_job_go(world: World) -> None:
    runs = [past(world, days) for days in range(10, 0, -1)]
    other = past(world, 30, job_id="weekly")
    gone = prune(world, runs=4)
    assert [run.run_id for run in gone.runs] == runs[:6]
    assert rows(world) == {*runs[6:], other}


def test_each_job_keeps_its_last_run_and_its_last_sync_however_old(world: World) -> None:
    sync, between, last = past(world, 300), past(world, 299, "failed"), past(world, 298, "failed")
    by_nobody = past(world, 400, job_id="removed-since")
    prune(world, days=1, runs=1)
    assert rows(world) == {sync, last, by_nobody}
    assert files_of(world, between) == []
    assert len(files_of(world, sync)) == 3


def test_a_run_that_has_not_ended_stays(world: World) -> None:
    running = past(world, 200, "running")
    past(world, 1)
    assert planned(world, days=1).runs == ()
    assert running in rows(world)


def test_counters_survive(world: World) -> None:
    for days in range(20, 0, -1):
        past(world, days, "failed" if days % 2 else "succeeded")
    world.skipped("nightly", world.now - 40 * DAY, world.now - 39 * DAY, 7, "missed", "nobody ran")

    def counts() -> object:
        with Ledger.open(world.paths.ledger, create=False) as ledger:
            return ledger.counters(), ledger.totals(), ledger.summaries()["nightly"].totals

    before = counts()
    assert prune(world, days=2).rows > 10
    assert counts() == before


def test_files_that_no_known_run_names_are_never_touched(world: World) -> None:
    past(world, 100)
    past(world, 1)
    stray = [
        world.paths.logs_dir / "20200101T000000.000Z-nightly-00000000.log",
        world.paths.output_dir / "report-20200101T000000.000Z-nightly-00000000.json",
        world.paths.output_dir / "ci_summary.json",
        world.paths.output_dir / "notes.txt",
    ]
    for path in stray:
        path.write_text("{}")
    assert prune(world, days=90).rows == 1
    assert all(path.exists() for path in stray)


def test_a_link_in_a_reports_place_goes_and_what_it_leads_to_stays(world: World, tmp_path: Path) -> None:
    old = past(world, 100)
    past(world, 1)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    report = next(world.paths.output_dir.glob(f"report-*{old}*"))
    report.unlink()
    report.symlink_to(precious)
    prune(world, days=90)
    assert not report.is_symlink()
    assert precious.read_text() == "mine"


def test_the_oldest_logs_go_when_all_together_are_too_large(world: World) -> None:
    runs = [past(world, days) for days in range(10, 0, -1)]
    gone = prune(world, log_bytes=450)
    assert [run.run_id for run in gone.runs] == runs[:6]
    assert (gone.rows, gone.files("log"), gone.files("report")) == (0, 6, 0)
    assert rows(world) == set(runs)


def test_the_log_of_a_jobs_last_run_stays_however_large(world: World) -> None:
    last = past(world, 1)
    assert prune(world, log_bytes=10).runs == ()
    assert log_path(world.paths.logs_dir, last).exists()


def test_a_file_that_cannot_be_removed_keeps_its_row_for_the_next_time(world: World) -> None:
    old, last = past(world, 100), past(world, 1)
    path = log_path(world.paths.logs_dir, old)
    path.unlink()
    path.mkdir()  # unlink(2) refuses a folder, root's too
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        done = execute(plan(ledger, world.paths, Keep(days=90), world.now), ledger)
    assert done.gone.rows == 0
    assert str(path) in done.kept[0]
    assert rows(world) == {old, last}
    path.rmdir()
    assert prune(world, days=90).rows == 1


def test_what_would_go_is_only_said(world: World) -> None:
    old = past(world, 100)
    past(world, 1)
    before = {path: path.stat().st_mtime_ns for path in world.home.rglob("*")}
    [run] = planned(world, days=90).runs
    assert (run.run_id, run.job_id, run.reason) == (old, "nightly", "older than 90 days")
    assert {path: path.stat().st_mtime_ns for path in world.home.rglob("*")} == before
