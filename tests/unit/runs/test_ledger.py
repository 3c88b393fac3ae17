"""What the ledger promises: claims once, counts for ever, and says of each occurrence what became of it."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import InvalidValue, NotFound
from pipesched.runs import process, schema
from pipesched.runs.durations import percentile
from pipesched.runs.ids import check_run_id
from pipesched.runs.ledger import Ledger, new_run_id
from pipesched.runs.model import RunState
from pipesched.schedule.model import PendingRetry, Policy, Skip, TimedJob, TriggerOn
from pipesched.schedule.parse import interval

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

TRIGGER_ON: tuple[TriggerOn, ...] = ("success", "failure", "any")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.open(path, create=True) as ledger:
        yield ledger


def timed(name: str, *after: str, created_at: datetime | None = None) -> TimedJob:
    return TimedJob(name, interval(3600, NOW), Policy(after=after), NOW, created_at=created_at)


def claim(ledger: Ledger, run_id: str, at: datetime = NOW, *, job: str = "nightly", attempt: int = 1) -> bool:
    trigger = "schedule" if attempt == 1 else "retry"
    return ledger.claim(run_id, job, scheduled_for=at, attempt=attempt, trigger=trigger, now=at)


def ran(
    ledger: Ledger,
    run_id: str,
    status: RunState = "succeeded",
    at: datetime = NOW,
    *,
    job: str = "nightly",
    dry_run: bool = False,
    **ending: object,
) -> None:
    """A run by hand from `at` to a minute later."""
    ledger.begin_manual(run_id, job, now=at, pid=os.getpid(), dry_run=dry_run)
    ledger.finish(run_id, status=status, now=at + timedelta(minutes=1), **ending)  # type: ignore[arg-type]


def skip(
    first: datetime, last: datetime, count: int, *, status: str = "missed", reason: str = "down"
) -> Skip:
    return Skip("nightly", first, last, count, status, reason)  # type: ignore[arg-type]


# Claims


def test_an_occurrence_is_claimed_once(ledger: Ledger) -> None:
    assert claim(ledger, "first")
    assert not claim(ledger, "second")
    assert [run.run_id for run in ledger.history()] == ["first"]
    assert ledger.history()[0].status == "queued"


def test_the_clock_going_back_claims_nothing_again_not_even_after_retention(ledger: Ledger) -> None:
    claim(ledger, "late", NOW)
    ledger.finish("late", status="succeeded", now=NOW)
    claim(ledger, "later", NOW + HOUR)
    ledger.finish("later", status="succeeded", now=NOW + HOUR)
    ledger.forget(["late", "later"])
    assert not claim(ledger, "again", NOW)
    assert not claim(ledger, "before", NOW - HOUR)
    assert not claim(ledger, "once-more", NOW + HOUR)


def test_each_attempt_is_claimed_once(ledger: Ledger) -> None:
    claim(ledger, "a1")
    assert claim(ledger, "a2", attempt=2)
    assert not claim(ledger, "b2", attempt=2)


def test_a_slot_that_was_recorded_as_missed_is_not_claimed(ledger: Ledger) -> None:
    ledger.record_slots(skip(NOW, NOW + 3 * HOUR, 4), NOW + 4 * HOUR)
    assert not claim(ledger, "late", NOW + 2 * HOUR)
    assert claim(ledger, "next", NOW + 4 * HOUR)


def test_a_batch_is_all_or_nothing(ledger: Ledger) -> None:
    def two_claims_and_an_error() -> None:
        with ledger.batch():
            assert claim(ledger, "one", job="a")
            assert claim(ledger, "two", job="b")
            ledger.finish("nobody", status="failed", now=NOW)

    with pytest.raises(NotFound):
        two_claims_and_an_error()
    assert ledger.history() == []
    with ledger.batch():
        assert claim(ledger, "one", job="a")
        assert ledger.run("one") is not None
    assert [run.run_id for run in ledger.history()] == ["one"]


def test_an_id_that_could_lead_out_of_a_folder_is_refused(ledger: Ledger) -> None:
    for bad in ("../x", "-x", "a\nb", "", "a/b", "x" * 129, "é"):
        with pytest.raises(InvalidValue):
            claim(ledger, bad)
        with pytest.raises(InvalidValue):
            check_run_id(bad)


def test_run_ids_sort_by_time_and_differ(ledger: Ledger) -> None:
    moments = [NOW + timedelta(milliseconds=step) for step in range(0, 5000, 7)]
    ids = [new_run_id("nightly", moment) for moment in moments]
    assert ids == sorted(ids)
    assert len({new_run_id("x" * 64, NOW) for _ in range(200)}) == 200
    assert check_run_id(new_run_id("x" * 64, NOW))
    assert new_run_id(None, NOW).startswith("20261124T020000.000Z-run-")


# A run's life


def test_a_run_goes_from_queued_over_running_to_its_end(ledger: Ledger) -> None:
    claim(ledger, "one")
    ledger.started("one", pid=None, pid_started=None, now=NOW + timedelta(seconds=1))
    ledger.started("one", pid=4242, pid_started=77, now=NOW + timedelta(seconds=2))
    running = ledger.run("one")
    assert running is not None
    assert (running.status, running.pid, running.pid_started) == ("running", 4242, 77)
    assert running.started_at == NOW + timedelta(seconds=1)
    assert ledger.finish("one", status="partial", exit_code=3, reason="2 failed", now=NOW + HOUR)
    ended = ledger.run("one")
    assert ended is not None
    assert (ended.status, ended.exit_code, ended.reason) == ("partial", 3, "2 failed")
    assert ended.duration_seconds == 3599
    assert ledger.active() == []


def test_a_run_ends_once(ledger: Ledger) -> None:
    ran(ledger, "one", "succeeded")
    assert not ledger.finish("one", status="failed", now=NOW)
    assert ledger.run("one").status == "succeeded"  # type: ignore[union-attr]
    assert ledger.counters().failed == 0


def test_a_run_that_found_its_store_busy_waits_again(ledger: Ledger) -> None:
    ran(ledger, "before", at=NOW - HOUR)
    claim(ledger, "one")
    ledger.started("one", pid=1, pid_started=None, now=NOW + timedelta(minutes=5))
    assert ledger.latest("nightly").run_id == "one"  # type: ignore[union-attr]
    ledger.requeue("one", not_before=NOW + HOUR, reason="the store is busy")
    waiting = ledger.run("one")
    assert waiting is not None
    assert (waiting.status, waiting.pid, waiting.started_at) == ("queued", None, None)
    assert (waiting.not_before, waiting.reason) == (NOW + HOUR, "the store is busy")
    assert ledger.latest("nightly").run_id == "before"  # type: ignore[union-attr]
    ran(ledger, "since", at=NOW + timedelta(minutes=1), job="other")
    assert [run.run_id for run in ledger.history()] == ["since", "one", "before"], "by its claim again"
    assert ledger.progress([timed("nightly")])["nightly"].queued


def test_an_unknown_run_is_named(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="no run nobody"):
        ledger.finish("nobody", status="failed", now=NOW)
    assert ledger.run("nobody") is None


def test_a_run_by_hand_with_a_used_id_is_refused(ledger: Ledger) -> None:
    ran(ledger, "one")
    with pytest.raises(InvalidValue, match="there is a run one already"):
        ran(ledger, "one")


def test_times_keep_their_microseconds(ledger: Ledger) -> None:
    odd = datetime(2026, 11, 24, 2, 0, 0, 123457, tzinfo=UTC)
    claim(ledger, "one", odd)
    assert ledger.run("one").scheduled_for == odd  # type: ignore[union-attr]
    assert ledger.progress([timed("nightly")])["nightly"].handled == odd


# Occurrences that do not run


def test_consecutive_slots_with_one_reason_are_one_row(ledger: Ledger) -> None:
    ledger.record_slots(skip(NOW, NOW + HOUR, 2), NOW + HOUR)
    ledger.record_slots(skip(NOW + 2 * HOUR, NOW + 5 * HOUR, 4), NOW + 5 * HOUR)
    (row,) = ledger.history()
    assert (row.count, row.scheduled_for, row.until) == (6, NOW, NOW + 5 * HOUR)
    assert (row.status, row.reason) == ("missed", "down")
    assert ledger.counters().missed == 6


@pytest.mark.parametrize(
    "other",
    [skip(NOW + HOUR, NOW + HOUR, 1, reason="paused"), skip(NOW + HOUR, NOW + HOUR, 1, status="skipped")],
)
def test_another_reason_or_state_is_another_row(ledger: Ledger, other: Skip) -> None:
    ledger.record_slots(skip(NOW, NOW, 1), NOW)
    ledger.record_slots(other, NOW + HOUR)
    assert len(ledger.history()) == 2


def test_a_run_in_between_parts_the_rows_but_one_by_hand_does_not(ledger: Ledger) -> None:
    ledger.record_slots(skip(NOW, NOW, 1), NOW)
    ran(ledger, "by-hand", at=NOW + timedelta(minutes=5))
    ledger.record_slots(skip(NOW + HOUR, NOW + HOUR, 1), NOW + HOUR)
    assert [run.count for run in ledger.history(statuses=["missed"])] == [2]
    claim(ledger, "claimed", NOW + 2 * HOUR)
    ledger.record_slots(skip(NOW + 3 * HOUR, NOW + 3 * HOUR, 1), NOW + 3 * HOUR)
    assert [run.count for run in ledger.history(statuses=["missed"])] == [1, 2]


def test_slots_that_are_known_are_not_recorded_twice(ledger: Ledger) -> None:
    ledger.record_slots(skip(NOW, NOW + HOUR, 2), NOW + HOUR)
    ledger.record_slots(skip(NOW, NOW + HOUR, 2), NOW + HOUR)
    assert ledger.counters().missed == 2


def test_a_superseded_retry_is_dropped_and_recorded(ledger: Ledger) -> None:
    claim(ledger, "one")
    ledger.finish("one", status="failed", now=NOW, retry_at=NOW + HOUR)
    ledger.record_slots(skip(NOW, NOW, 1, status="skipped", reason="superseded"), NOW + HOUR)
    assert ledger.progress([timed("nightly")])["nightly"].retry is None
    newest = ledger.history()[0]
    assert (newest.status, newest.reason, newest.attempt, newest.trigger) == (
        "skipped", "superseded", 2, "retry",
    )  # fmt: skip
    assert ledger.progress([timed("nightly")])["nightly"].handled == NOW


# Retries, failures, pauses


def test_a_retry_is_pending_until_it_is_claimed(path: Path, ledger: Ledger) -> None:
    claim(ledger, "one")
    ledger.finish("one", status="failed", exit_code=1, now=NOW)
    ledger.plan_retry("one", NOW + HOUR)
    with Ledger.open(path, create=False) as reader:
        assert reader.progress([timed("nightly")])["nightly"].retry == PendingRetry(NOW, 2, NOW + HOUR)
    assert claim(ledger, "two", attempt=2)
    progress = ledger.progress([timed("nightly")])["nightly"]
    assert (progress.retry, progress.claimed, progress.active) == (None, 1, ("two",))


@pytest.mark.parametrize(
    ("endings", "failures"),
    [
        (["failed", "timeout", "lost"], 3),
        (["failed", "failed", "succeeded"], 0),
        (["failed", "partial"], 0),
        (["failed", "interrupted"], 1),
        (["failed", "skipped", "failed"], 2),
    ],
)
def test_failures_in_a_row(ledger: Ledger, endings: list[RunState], failures: int) -> None:
    for number, status in enumerate(endings):
        claim(ledger, f"run{number}", NOW + number * HOUR)
        ledger.finish(f"run{number}", status=status, now=NOW + number * HOUR)
    assert ledger.progress([timed("nightly")])["nightly"].failures_in_row == failures
    assert ledger.summaries(["nightly"])["nightly"].failures_in_row == failures


def test_a_dry_run_by_hand_is_neither_a_failure_nor_a_recovery(ledger: Ledger) -> None:
    ran(ledger, "one", "failed")
    for number, ending in enumerate(["failed", "failed", "succeeded"]):
        ran(ledger, f"look{number}", ending, dry_run=True)  # type: ignore[arg-type]
        assert ledger.summaries()["nightly"].failures_in_row == 1


def test_an_automatic_pause_lasts_until_the_failures_are_reset(path: Path, ledger: Ledger) -> None:
    ran(ledger, "one", "failed")
    ledger.auto_pause("nightly", NOW, "3 failures in a row")
    with Ledger.open(path, create=False) as reader:
        assert reader.progress([timed("nightly")])["nightly"].auto_paused_at == NOW
        assert reader.summaries(["nightly"])["nightly"].auto_pause_reason == "3 failures in a row"
    ledger.reset_failures("nightly")
    progress = ledger.progress([timed("nightly")])["nightly"]
    assert (progress.auto_paused_at, progress.failures_in_row) == (None, 0)


def test_a_job_added_again_under_an_old_id_starts_afresh_but_refires_nothing(
    path: Path, ledger: Ledger
) -> None:
    first = timed("nightly", created_at=NOW - HOUR)
    claim(ledger, "one")
    ledger.finish("one", status="failed", now=NOW, retry_at=NOW + HOUR)
    ledger.auto_pause("nightly", NOW, "failed")
    assert ledger.progress([first])["nightly"].auto_paused_at == NOW

    second = timed("nightly", created_at=NOW + HOUR)
    with Ledger.open(path, create=False) as reader:
        seen = reader.progress([second])["nightly"]
    assert seen == ledger.progress([second])["nightly"] == ledger.progress([second])["nightly"]
    assert (seen.auto_paused_at, seen.claimed, seen.retry, seen.failures_in_row) == (None, 0, None, 0)
    assert seen.handled == NOW
    summary = ledger.summaries()["nightly"]
    assert (summary.failures_in_row, summary.success_rate) == (0, None)
    assert (ledger.counters().failed, ledger.counters().success_rate) == (1, 0.0)


def test_a_job_added_again_under_an_old_id_has_no_durations_of_the_old_one(ledger: Ledger) -> None:
    ledger.progress([timed("nightly", created_at=NOW - HOUR)])
    ran(ledger, "one")
    ledger.progress([timed("nightly", created_at=NOW - HOUR)])
    assert usual(ledger) == (60.0, 60.0)
    ledger.progress([timed("nightly", created_at=NOW + HOUR)])
    assert usual(ledger) == (None, None)
    took(ledger, 5, 2)
    assert usual(ledger) == (5.0, 5.0)


# Dependencies


def waits(ledger: Ledger, how: TriggerOn) -> bool:
    """Whether a job that runs when `nightly` has ended `how` has to wait."""
    child = TimedJob("child", interval(3600, NOW), Policy(after=("nightly",), trigger_on=how), NOW)
    return bool(ledger.progress([child])["child"].waits_for)


@pytest.mark.parametrize(
    ("status", "met"),
    [
        ("succeeded", {"success", "any"}),
        ("partial", {"success", "any"}),
        *[(status, {"failure", "any"}) for status in ("failed", "timeout", "lost")],
        ("interrupted", {"any"}),
        ("skipped", set()),
    ],
)
def test_a_dependency_is_met_by_the_end_that_is_waited_for(
    ledger: Ledger, status: RunState, met: set[str]
) -> None:
    assert all(waits(ledger, how) for how in TRIGGER_ON)
    ran(ledger, "r1", status)
    assert {how for how in TRIGGER_ON if not waits(ledger, how)} == met
    ran(ledger, "c1", "failed", job="child")
    assert all(waits(ledger, how) for how in TRIGGER_ON)


def test_a_failure_counts_once_no_retry_follows(ledger: Ledger) -> None:
    claim(ledger, "r1")
    ledger.started("r1", pid=1, pid_started=1, now=NOW)
    ledger.finish("r1", status="failed", now=NOW, retry_at=NOW + timedelta(minutes=5))
    assert waits(ledger, "failure")
    assert waits(ledger, "any")
    ledger.record_slots(Skip("nightly", NOW, NOW, 1, "skipped", "superseded"), NOW)
    assert not waits(ledger, "failure")
    assert not waits(ledger, "any")
    assert waits(ledger, "success")


def test_a_dry_run_is_no_end_that_anybody_waits_for(ledger: Ledger) -> None:
    for run_id, status in (("r1", "failed"), ("r2", "succeeded")):
        ledger.begin_manual(run_id, "nightly", now=NOW, pid=1, dry_run=True)
        ledger.finish(run_id, status=status, now=NOW)  # type: ignore[arg-type]
    assert all(waits(ledger, how) for how in TRIGGER_ON)


def test_a_ledger_of_the_first_version_is_read_as_it_is_and_brought_up_to_date_by_who_writes(
    path: Path,
) -> None:
    path.parent.mkdir(mode=0o700)
    db = sqlite3.connect(path)
    db.executescript(schema.MIGRATIONS[0])
    db.executescript(
        f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = 1;"
        "INSERT INTO jobs (job_id, sync_event) VALUES ('nightly', 3); UPDATE lifetime SET events = 3;"
    )
    db.close()
    before = path.read_bytes()
    with Ledger.open(path, create=False) as reader:
        assert [waits(reader, how) for how in TRIGGER_ON] == [False, True, False]
    assert path.read_bytes() == before
    with Ledger.open(path, create=True) as ledger:
        assert [waits(ledger, how) for how in TRIGGER_ON] == [False, True, False]
        ran(ledger, "r1", "failed")
        assert not waits(ledger, "failure")
        ran(ledger, "r2")
        assert usual(ledger) == (60.0, 60.0)


def test_a_job_waits_for_those_that_have_not_succeeded_since_its_own_last_run(ledger: Ledger) -> None:
    child = timed("child", "a", "b")

    def waits() -> tuple[str, ...]:
        return ledger.progress([child])["child"].waits_for

    assert waits() == ("a", "b")
    ran(ledger, "a1", job="a")
    ran(ledger, "b1", "failed", job="b")
    assert waits() == ("b",)
    ran(ledger, "b2", "partial", job="b")
    assert waits() == ()
    claim(ledger, "c1", job="child")
    assert waits() == ("a", "b")
    ran(ledger, "a2", job="a")
    ran(ledger, "b3", job="b", dry_run=True)
    assert waits() == ("b",)
    ran(ledger, "look", job="child", dry_run=True)
    assert waits() == ("b",)


def test_dependencies_go_by_order_and_not_by_a_clock_that_may_be_set_back(ledger: Ledger) -> None:
    child = timed("child", "a")
    claim(ledger, "c1", NOW, job="child")
    ran(ledger, "a1", at=NOW - 3 * HOUR, job="a")
    assert ledger.progress([child])["child"].waits_for == ()


# Counts


def test_counters_tell_executed_failed_missed_and_skipped_apart(ledger: Ledger) -> None:
    assert ledger.counters().success_rate is None
    for number, status in enumerate(["succeeded", "partial", "failed", "timeout", "lost", "interrupted"]):
        ran(ledger, f"run{number}", status, reason=f"why {number}")  # type: ignore[arg-type]
    ledger.record_slots(skip(NOW, NOW + HOUR, 2), NOW)
    ledger.record_slots(skip(NOW + 2 * HOUR, NOW + 4 * HOUR, 3, status="skipped", reason="paused"), NOW)
    counters = ledger.counters()
    assert (counters.executed, counters.failed, counters.missed, counters.skipped) == (2, 3, 2, 3)
    assert counters.success_rate == 2 / 5
    assert counters.last_error == "why 4"
    assert counters.last_execution == NOW + timedelta(minutes=1)


def test_the_success_rate_looks_at_the_last_twenty_runs(ledger: Ledger) -> None:
    for number in range(15):
        ran(ledger, f"bad{number}", "failed")
    for number in range(15):
        ran(ledger, f"good{number}")
    assert ledger.counters().success_rate == 0.75
    assert ledger.summaries()["nightly"].success_rate == 0.75


def took(
    ledger: Ledger, seconds: float, number: int, status: RunState = "succeeded", **options: bool
) -> None:
    at = NOW + number * HOUR
    ledger.begin_manual(
        f"run-{number}", "nightly", now=at, pid=os.getpid(), dry_run=options.get("dry_run", False)
    )
    ledger.finish(f"run-{number}", status=status, now=at + timedelta(seconds=seconds))


def usual(ledger: Ledger) -> tuple[float | None, float | None]:
    summary = ledger.summaries(["nightly"])["nightly"]
    return summary.duration_p50, summary.duration_p95


def test_a_job_that_never_did_its_work_has_no_usual_duration(ledger: Ledger) -> None:
    took(ledger, 1, 1, "failed")
    took(ledger, 1, 2, dry_run=True)
    took(ledger, -30, 3)  # the clock was set back meanwhile
    assert usual(ledger) == (None, None)


def test_durations_are_those_of_runs_that_did_their_work(ledger: Ledger) -> None:
    for number, seconds in enumerate([1.5, 4, 2.5]):
        took(ledger, seconds, number)
    assert usual(ledger) == (2.5, 4.0)
    took(ledger, 3600, 3, "timeout")
    took(ledger, 3600, 4, dry_run=True)
    assert usual(ledger) == (2.5, 4.0)
    took(ledger, 2, 5, "partial")
    assert usual(ledger) == (2.0, 4.0)


def test_durations_look_at_the_newest_hundred_even_when_the_rows_are_gone(path: Path, ledger: Ledger) -> None:
    with ledger.batch():
        for number in range(100):
            took(ledger, 1000, number)
        for number in range(100, 200):
            took(ledger, number - 99, number)
    assert usual(ledger) == (50.0, 95.0)
    ledger.forget(f"run-{number}" for number in range(199))
    took(ledger, 101, 200)  # the oldest, of 1 s, is beyond the window now
    assert usual(ledger) == (51.0, 96.0)
    with Ledger.open(path, create=False) as reader:
        assert usual(reader) == (51.0, 96.0)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=120), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[int], share: float) -> None:
    found = percentile(sorted(values), share)
    assert found in values
    assert sum(each <= found for each in values) >= share * len(values)
    assert sum(each < found for each in values) < share * len(values)


def test_counts_survive_a_restart_and_retention(path: Path) -> None:
    with Ledger.open(path, create=True) as ledger:
        for number in range(30):
            ran(ledger, f"run{number}", "failed" if number % 3 else "succeeded", NOW + number * HOUR)
        ledger.record_slots(skip(NOW, NOW + HOUR, 2), NOW)
        before = ledger.counters(), ledger.totals(), ledger.summaries()
        old = ledger.expired(NOW + timedelta(days=365))
        ledger.forget(run.run_id for run in old)
        assert len(ledger.history(limit=None)) == 31 - len(old)
        assert len(old) == 28  # what a summary shows stays
    with Ledger.open(path, create=False) as ledger:
        assert (ledger.counters(), ledger.totals(), ledger.summaries()) == before


def test_retention_takes_only_what_is_old_and_over(ledger: Ledger) -> None:
    ran(ledger, "old", at=NOW - 2 * HOUR)
    claim(ledger, "waiting", NOW - HOUR)
    ran(ledger, "new", at=NOW)
    assert [run.run_id for run in ledger.expired(NOW)] == ["old"]
    ledger.forget(["old", "waiting"])
    assert [run.run_id for run in ledger.history()] == ["new", "waiting"]


def test_a_dry_run_never_counts_as_a_sync(ledger: Ledger) -> None:
    ran(ledger, "real", documents={"new": 3})
    ran(ledger, "dry", at=NOW + HOUR, dry_run=True, documents={"new": 9})
    summary = ledger.summaries()["nightly"]
    assert summary.last_run is not None
    assert summary.last_sync is not None
    assert (summary.last_run.run_id, summary.last_sync.run_id) == ("dry", "real")
    assert summary.documents == {"new": 3}
    assert ledger.totals().documents == {"new": 3}
    assert ledger.counters().executed == 2


def test_documents_add_up_over_syncs(ledger: Ledger) -> None:
    ran(ledger, "one", documents={"new": 3, "failed": 1})
    ran(ledger, "two", "partial", documents={"new": 1, "deleted": 2}, job="other")
    ran(ledger, "three", "failed", documents={"new": 50})
    totals = ledger.totals()
    assert totals.documents == {"new": 4, "failed": 1, "deleted": 2}
    assert totals.runs == {
        ("nightly", "succeeded"): 1, ("other", "partial"): 1, ("nightly", "failed"): 1,
    }  # fmt: skip


def test_runs_of_no_job_are_counted_and_listed_but_are_no_job(ledger: Ledger) -> None:
    ledger.begin_manual("one", None, now=NOW, pid=1, dry_run=False)
    ledger.finish("one", status="succeeded", now=NOW)
    assert ledger.history()[0].job_id is None
    assert ledger.counters().executed == 1
    assert ledger.summaries() == {}


# Questions


def test_history_is_newest_first_and_filtered(ledger: Ledger) -> None:
    for number in range(6):
        ran(
            ledger,
            f"run{number}",
            "failed" if number % 2 else "succeeded",
            NOW + number * HOUR,
            job="ab"[number % 3 == 0],
        )
    names = lambda runs: [run.run_id for run in runs]  # noqa: E731
    assert names(ledger.history()) == [f"run{number}" for number in reversed(range(6))]
    assert names(ledger.history(limit=2)) == ["run5", "run4"]
    assert names(ledger.history("b")) == ["run3", "run0"]
    assert names(ledger.history(statuses=("failed",))) == ["run5", "run3", "run1"]
    assert names(ledger.history("a", ("failed", "succeeded"), NOW + 2 * HOUR)) == ["run5", "run4", "run2"]
    assert names(ledger.history(since=NOW + 5 * HOUR)) == ["run5"]


def test_summaries_are_given_for_what_was_asked(ledger: Ledger) -> None:
    ran(ledger, "one")
    claim(ledger, "two", job="other")
    assert set(ledger.summaries()) == {"nightly", "other"}
    asked = ledger.summaries(["other", "unknown"])
    assert set(asked) == {"other", "unknown"}
    assert [run.run_id for run in asked["other"].active] == ["two"]
    assert asked["other"].last_run is None
    assert asked["unknown"].totals == {}


def test_more_jobs_than_sqlite_takes_parameters(ledger: Ledger) -> None:
    with ledger.batch():
        for number in range(1200):
            claim(ledger, f"run{number}", job=f"job{number}")
            ledger.started(f"run{number}", pid=1, pid_started=None, now=NOW)
    jobs = [timed(f"job{number}") for number in range(1100)]
    assert all(each.claimed == 1 for each in ledger.progress(jobs).values())
    summaries = ledger.summaries(job.id for job in jobs)
    assert len(summaries) == 1100
    assert all(each.last_run is not None for each in summaries.values())


# Lost runs


def test_a_run_whose_process_is_gone_is_found(ledger: Ledger) -> None:
    alive = os.getpid()
    for name, pid, started in (
        ("mine", alive, process.start_ticks(alive)),
        ("another-with-my-pid", alive, 1),
        ("gone", 2**22 + 1, 5),
        ("perhaps-never-started", None, None),
    ):
        claim(ledger, name, job=name)
        ledger.started(name, pid=pid, pid_started=started, now=NOW)
    claim(ledger, "still-queued", job="queued")
    lost = [run.run_id for run in ledger.find_lost()]
    assert lost == ["another-with-my-pid", "gone", "perhaps-never-started"]


def test_a_run_from_before_the_machine_started_is_lost_whatever_its_pid(path: Path, ledger: Ledger) -> None:
    if process.boot_id() is None:
        pytest.skip("this kernel has no boot id")
    claim(ledger, "one")
    ledger.started("one", pid=os.getpid(), pid_started=process.start_ticks(os.getpid()), now=NOW)
    assert ledger.find_lost() == []
    with sqlite3.connect(path) as db:
        db.execute("UPDATE runs SET boot = 'another'")
    db.close()
    assert [run.run_id for run in ledger.find_lost()] == ["one"]


# Files


def test_reading_a_ledger_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "state" / "ledger.sqlite3", create=False) as reader:
        assert reader.history() == []
        assert reader.counters().executed == 0
        assert reader.progress([timed("nightly", "other")])["nightly"].waits_for == ("other",)
        assert reader.summaries(["nightly"])["nightly"].last_run is None
        assert reader.find_lost() == []
    assert list(tmp_path.iterdir()) == []


def test_reading_leaves_no_trace_beside_a_ledger_that_nobody_has_open(path: Path) -> None:
    with Ledger.open(path, create=True) as ledger:
        ran(ledger, "one")
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Ledger.open(path, create=False) as reader:
        assert len(reader.history()) == 1
        assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_reader_sees_what_is_written_while_it_is_open(path: Path) -> None:
    with Ledger.open(path, create=False) as reader:
        assert reader.history() == []
        with Ledger.open(path, create=True) as ledger:
            ran(ledger, "one")
            assert len(reader.history()) == 1
            ran(ledger, "two")
            assert len(reader.history()) == 2
        ran_again = Ledger.open(path, create=True)
        assert len(reader.history()) == 2
        ran(ran_again, "three")
        ran_again.close()
        assert len(reader.history()) == 3


def test_a_reader_notices_that_the_ledger_was_replaced(path: Path) -> None:
    with Ledger.open(path, create=True) as ledger:
        ran(ledger, "one")
        with Ledger.open(path, create=False) as reader:
            assert len(reader.history()) == 1
            for file in list(path.parent.iterdir()):
                file.rename(file.with_name(f"{file.name}.old"))
            assert reader.history() == []
            with Ledger.open(path, create=True) as other:
                ran(other, "two")
                assert [run.run_id for run in reader.history()] == ["two"]
                for file in path.parent.glob(f"{path.name}*"):
                    file.rename(file.with_name(f"{file.name}.older"))
                with Ledger.open(path, create=True) as third:
                    ran(third, "three")
                    assert [run.run_id for run in reader.history()] == ["three"]


def test_files_are_private(path: Path) -> None:
    old = os.umask(0)
    try:
        with Ledger.open(path, create=True) as ledger:
            ran(ledger, "one")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    def work(name: str) -> None:
        for number in range(20):
            claim(ledger, f"{name}-{number}", NOW + number * HOUR, job=name)
            ledger.finish(f"{name}-{number}", status="succeeded", now=NOW)
            ledger.counters()

    threads = [Thread(target=work, args=(f"job{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.counters().executed == 80


def test_long_reasons_are_kept_short(ledger: Ledger) -> None:
    ran(ledger, "one", "failed", reason="x" * 100_000)
    assert len(ledger.history()[0].reason) == 2000


def test_a_reason_with_a_file_name_that_is_no_utf8_is_kept_readable(ledger: Ledger) -> None:
    ran(ledger, "r1", "failed", reason="b\udcff.md cannot be read")
    assert ledger.history()[0].reason == "b\\udcff.md cannot be read"
    assert ledger.counters().last_error == "b\\udcff.md cannot be read"
