"""Status, freshness and vitals over a real job file and a real ledger."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.options import PipelineConfig
from pipesched.runs.ledger import Ledger
from pipesched.runs.model import Counters
from pipesched.schedule.model import Progress
from pipesched.views.glance import COLUMNS, SHOWN_ROWS, job_rows, lines
from pipesched.views.health import Check
from pipesched.views.scheduler import SchedulerFacts
from pipesched.views.snapshot import Memory, NextFires
from pipesched.views.status import status_document
from pipesched.views.vitals import disk_facts
from support.world import LONG_AGO, NOW, World

KEYS = {
    "scheduler_running", "pid", "http", "started_at", "active_jobs", "jobs_executed", "jobs_failed", "jobs_missed",
    "jobs_skipped", "success_rate", "last_execution", "last_error", "running", "next",
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_empty_folder_has_a_status_and_nothing_is_made(world: World) -> None:
    document = status_document(world.snapshot())
    assert document.keys() >= KEYS
    assert (document["active_jobs"], document["success_rate"], document["next"]) == (0, None, [])
    assert list(world.home.iterdir()) == []


def test_the_status_tells_counters_running_next_and_freshness(world: World) -> None:
    world.job("nightly", "0 2 * * *", timezone="Europe/Berlin")
    world.job("hourly", 3600.0)
    world.job("off", enabled=False, paused_at=LONG_AGO)
    world.ran(
        "nightly", NOW - timedelta(hours=8), documents={"new": 2, "unchanged": 10, "failed": 1, "chunks": 40}
    )
    world.ran("hourly", NOW - timedelta(hours=2), "failed", reason="no server")
    running = world.ran("hourly", NOW - timedelta(minutes=5), "running")
    world.skipped(
        "nightly", NOW - timedelta(hours=3), NOW - timedelta(hours=2), 3, "missed", "the daemon was down"
    )
    document = status_document(world.snapshot())
    assert (document["active_jobs"], document["jobs_executed"], document["jobs_failed"]) == (2, 1, 1)
    assert (document["jobs_missed"], document["jobs_skipped"], document["success_rate"]) == (3, 0, 0.5)
    assert document["last_error"] == "no server"
    assert [(run["run_id"], run["duration_seconds"]) for run in document["running"]] == [(running, 300)]
    assert [fire["job_id"] for fire in document["next"]] == ["hourly", "nightly"]
    assert document["next"][1]["at"] == "2026-11-25T02:00:00+01:00", "in the job's own zone"
    jobs = {job["job_id"]: job for job in document["jobs"]}
    nightly = jobs["nightly"]
    assert (nightly["documents"], nightly["chunks"], nightly["last_status"]) == (12, 40, "succeeded")
    assert nightly["age_seconds"] == 8 * 3600 - 2
    assert (jobs["hourly"]["state"], jobs["hourly"]["age_seconds"]) == ("running", None)
    assert (jobs["off"]["state"], jobs["off"]["next_run_time"]) == ("paused", None)


def test_a_one_time_job_that_has_run_is_done(world: World) -> None:
    at = NOW - timedelta(hours=3)
    world.job("once", at)
    world.ran("once", at)
    shot = world.snapshot()
    assert shot.jobs["once"].state == "done"
    assert status_document(shot)["active_jobs"] == 0


def test_a_job_that_starts_with_the_daemon_is_active_without_a_next_fire(world: World) -> None:
    world.job("boot", "@reboot")
    shot = world.snapshot()
    assert (shot.jobs["boot"].state, shot.jobs["boot"].next) == ("scheduled", None)
    assert status_document(shot)["active_jobs"] == 1


def test_an_auto_paused_job_is_paused(world: World) -> None:
    world.job("nightly")
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        ledger.auto_pause("nightly", NOW - timedelta(hours=1), "5 failures in a row")
        world.job("boot", "@reboot")
        ledger.auto_pause("boot", NOW - timedelta(hours=1), "5 failures in a row")
    assert world.snapshot().jobs["nightly"].state == "paused"
    assert status_document(world.snapshot())["active_jobs"] == 0
    assert world.health().checks["job:nightly"].status == "fail"


def test_the_next_fire_is_kept_until_it_has_passed_or_the_job_changes(world: World) -> None:
    job = world.job("hourly", 3600.0)
    fires = NextFires()
    first = fires.next(job, Progress(), NOW)
    assert first is not None
    assert fires.next(job, Progress(), first.at - timedelta(seconds=1)) is first, "kept"
    assert fires.next(job, Progress(), first.at) != first, "passed"
    changed = job.model_copy(update={"enabled": False, "paused_at": NOW})
    assert fires.next(changed, Progress(), NOW) is None, "another job"
    assert fires.next(job, Progress(auto_paused_at=NOW), NOW) is None, "another progress"
    fires.keep({})
    assert fires.next(job, Progress(), NOW) == first


def test_what_the_ledger_said_is_kept_until_it_is_written(world: World) -> None:
    world.job("hourly", 3600.0)
    world.ran("hourly", NOW - timedelta(hours=2))
    memory, job_file = Memory(), world.store.load()

    def counters(now: datetime) -> Counters:
        with Ledger.open(world.paths.ledger, create=False) as ledger:
            return memory.ledger(ledger, job_file, [], now).counters

    written = datetime.fromtimestamp(world.paths.ledger.stat().st_mtime, UTC)
    first = counters(written)
    assert counters(written) is not first, "just written: it may be written again in this tick"
    kept = counters(written + timedelta(minutes=1))
    assert counters(written + timedelta(minutes=2)) is kept
    world.ran("hourly", NOW - timedelta(hours=1))
    assert counters(written + timedelta(minutes=3)).executed == 2


def test_a_daily_job_is_late_after_its_second_missed_night(world: World) -> None:
    world.job("nightly", "0 2 * * *")
    world.ran("nightly", datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
    assert world.health().checks["job:nightly"].status == "pass", "one night missed"
    world.now = datetime(2026, 11, 25, 2, 6, tzinfo=UTC)
    assert world.health().checks["job:nightly"].status == "warn", "two"
    world.now = datetime(2026, 11, 27, 3, 1, tzinfo=UTC)
    assert world.health().checks["job:nightly"].status == "fail", "four"


def test_a_weekend_without_occurrences_is_not_lateness(world: World) -> None:
    world.job("workdays", "0 2 * * 1-5")
    world.ran("workdays", datetime(2026, 11, 20, 2, 0, tzinfo=UTC))  # a Friday
    world.now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    assert world.health().checks["job:workdays"].status == "pass"


def test_a_job_that_only_does_dry_runs_is_judged_by_those(world: World) -> None:
    world.job("check", 3600.0, config=PipelineConfig(dry_run=True))
    world.job("real", 3600.0)
    for job_id in ("check", "real"):
        world.ran(job_id, NOW - timedelta(minutes=20), dry_run=True)
    checks = world.health().checks
    assert checks["job:check"].status == "pass"
    assert checks["job:real"].status == "fail", "a dry run is no sync"
    assert world.health(PipelineConfig(dry_run=True)).checks["job:real"].status == "pass"


def test_a_dry_job_whose_last_run_failed_still_knows_its_last_success(world: World) -> None:
    world.job("check", 3600.0, config=PipelineConfig(dry_run=True))
    world.ran("check", NOW - timedelta(hours=1, minutes=10), dry_run=True)
    world.ran("check", NOW - timedelta(minutes=10), "failed", reason="no folder", dry_run=True)
    check = world.health().checks["job:check"]
    assert (check.status, check.message) == ("warn", "the last run failed: no folder")


def test_the_last_finished_run_is_judged_while_the_next_one_runs(world: World) -> None:
    world.job("hourly", 3600.0)
    world.ran("hourly", NOW - timedelta(hours=2), "failed", reason="no server")
    world.ran("hourly", NOW - timedelta(minutes=5), "running")
    assert world.health().checks["job:hourly"].message == "the last run failed: no server"


def test_slots_before_a_jobs_last_edit_start_or_after_its_end_do_not_count(world: World) -> None:
    from pipesched.jobs.model import JobPolicy

    world.job("edited", 3600.0, since=NOW - timedelta(minutes=90))
    world.job("future", 3600.0, policy=JobPolicy(start=NOW + timedelta(days=1)))
    checks = world.health().checks
    assert checks["job:edited"].status == "pass"
    assert checks["job:future"].message == "not due yet"


def test_a_folder_that_is_not_made_yet_is_judged_by_its_disk(world: World) -> None:
    found = list(disk_facts(world.paths))
    assert [disk.what for disk in found] == ["state and reports"]
    assert found[0].total >= found[0].free > 0


def test_a_store_whose_folder_may_not_be_looked_at_is_judged_by_the_disk_that_it_would_be_on(
    world: World,
) -> None:
    found = list(disk_facts(world.paths, [world.home / ("x" * 300) / "store"]))
    assert [disk.what for disk in found] == ["state, reports and the store"]


def test_people_get_lines_and_a_row_a_job(world: World) -> None:
    world.facts = SchedulerFacts(
        running=True, pid=42, http="http://127.0.0.1:8765", started_at=NOW - timedelta(hours=3), last_tick=NOW
    )
    world.job("nightly", "0 2 * * *")
    world.ran("nightly", NOW - timedelta(hours=7, minutes=30), documents={"unchanged": 12, "chunks": 19})
    shot = world.snapshot()
    said = lines(shot)
    assert said[0] == "scheduler: running, pid 42, up 3 h, http://127.0.0.1:8765"
    assert "runs:      1 done, 0 failed, 0 missed, 0 skipped; 100% of the last 20 runs succeeded" in said
    assert "next:      nightly in 16 h 30 min (Wed 2026-11-25 02:00 UTC)" in said
    rows, cut = job_rows(shot, full=False)
    assert dict(zip(COLUMNS, rows[0], strict=True)) == {
        "job": "nightly",
        "state": "scheduled",
        "next": "in 16 h 30 min (Wed 2026-11-25 02:00 UTC)",
        "last run": "succeeded 7 h 30 min ago, took 2 s",
        "fresh": "7 h 29 min old",
        "documents": "12",
        "chunks": "19",
    }
    assert cut == 0


def test_a_terminal_gets_as_many_jobs_as_one_reads_and_the_count_of_the_rest(world: World) -> None:
    for n in range(SHOWN_ROWS + 2):
        world.job(f"job{n}", 3600.0)
    shot = world.snapshot()
    assert job_rows(shot, full=False)[1] == 2
    assert len(job_rows(shot, full=True)[0]) == SHOWN_ROWS + 2


@pytest.mark.parametrize("ending", ["failed", "interrupted", "missed"])
def test_a_one_time_job_that_did_not_succeed_is_told_until_a_run_does(world: World, ending: str) -> None:
    at = NOW - timedelta(hours=3)
    world.job("move", at)
    if ending == "missed":
        world.skipped("move", at, at, 1, "missed", "no scheduler ran")
    else:
        world.ran("move", at, ending, reason="no server")
    assert world.snapshot().jobs["move"].state == "done"
    check = world.health().checks["job:move"]
    assert (check.status, "its only time was 3 h ago" in check.message) == (
        "fail" if ending == "failed" else "warn",
        True,
    ), check
    world.ran("move", NOW - timedelta(minutes=5))
    assert "job:move" not in world.health().checks


def test_a_job_whose_first_slot_was_skipped_is_not_said_to_wait_for_it(world: World) -> None:
    world.job("nightly", since=NOW - timedelta(days=1))
    slot = NOW.replace(hour=2, minute=0)
    world.skipped("nightly", slot, slot, 1, "skipped", "its previous run was still going")
    check = world.health().checks["job:nightly"]
    assert check == Check(
        "pass", "next in 16 h 30 min, the last one was skipped: its previous run was still going"
    )
