"""The daemon's state machine, on a real ledger, with a fake clock and pretended processes."""

import errno
import logging
import os
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from pipesched.daemon.launch import Exit, Started
from support.scheduling import START, job


def test_a_job_fires_when_it_is_due_and_not_before(daemon):
    daemon.jobs(job("a", every=60))

    daemon.pass_time(59)
    assert daemon.launched == []
    daemon.pass_time(1)
    assert [(each.job_id, each.scheduled_for, each.attempt) for each in daemon.launched] == [
        ("a", START + timedelta(seconds=60), 1)
    ]


def test_the_loop_may_sleep_until_the_next_job_is_due(daemon):
    daemon.jobs(job("a", every=600), job("b", every=400))

    assert daemon.scheduler.step() == 400.0


def test_an_occurrence_is_claimed_and_marked_as_started_before_its_process_is(daemon):
    seen = []
    launch = daemon.spawner.launch

    def look(what):
        seen.append(daemon.run(what).status)
        return launch(what)

    daemon.spawner.launch = look
    daemon.jobs(job("a"))
    daemon.pass_time(60)

    assert seen == ["running"]
    run = daemon.run(daemon.launched[0])
    assert (run.pid, run.pid_started) == (2**22 + 1, 1)


def test_an_end_is_recorded_with_its_exit_code_and_the_reports_documents(daemon):
    daemon.jobs(job("a"))
    daemon.pass_time(60)
    (launch,) = daemon.launched
    daemon.reports[launch.run_id] = {
        "status": "succeeded",
        "message": "all well",
        "stats": {"new_documents": 3},
    }
    daemon.clock.pass_time(5)
    daemon.end(launch)

    run = daemon.run(launch)
    assert (run.status, run.exit_code, run.duration_seconds) == ("succeeded", 0, 5.0)
    assert daemon.ledger.summaries(["a"])["a"].documents["new"] == 3


def test_no_more_than_the_workers_run_at_one_time(daemon):
    daemon.jobs(*(job(name) for name in "abcd"))
    daemon.pass_time(60)
    assert len(daemon.launched) == 2
    assert sorted(run.status for run in daemon.ledger.active()) == ["queued", "queued", "running", "running"]

    daemon.end(daemon.launched[0])
    assert len(daemon.launched) == 3


def test_a_run_that_waits_starts_before_one_that_comes_due_when_there_is_room_for_both(daemon):
    daemon.jobs(job("a"), job("b"), job("c", every=61), job("d", every=62))
    daemon.pass_time(61)
    assert [each.job_id for each in daemon.launched] == ["a", "b"]
    for launch in daemon.launched[:2]:
        daemon.scheduler.ended(Exit(launch.run_id, 0))
    daemon.clock.pass_time(1)
    daemon.scheduler.step()

    assert [each.job_id for each in daemon.launched] == ["a", "b", "c", "d"]


def test_two_jobs_that_write_to_one_store_run_one_after_the_other(daemon):
    daemon.stores = {"a": "/s", "b": "/s"}
    daemon.jobs(job("a"), job("b"), job("c"))
    daemon.pass_time(60)

    assert [each.job_id for each in daemon.launched] == ["a", "c"]
    daemon.end(daemon.launched[1])
    assert len(daemon.launched) == 2
    daemon.end(daemon.launched[0])
    assert [each.job_id for each in daemon.launched] == ["a", "c", "b"]


def test_hundreds_of_jobs_due_at_once_all_run_and_none_twice(make_daemon):
    daemon = make_daemon(max_workers=3)
    daemon.jobs(*(job(f"j{number:04}", every=3600) for number in range(120)))
    daemon.pass_time(3600, turns=3600)

    done = 0
    while done < len(daemon.launched):
        daemon.end(daemon.launched[done])
        done += 1
    assert sorted(each.job_id for each in daemon.launched) == [f"j{number:04}" for number in range(120)]
    assert daemon.ledger.counters().executed == 120


def test_a_slot_that_comes_while_the_job_runs_is_skipped_and_recorded(daemon):
    daemon.jobs(job("a", overlap="skip"))
    daemon.pass_time(180)

    assert len(daemon.launched) == 1
    run = daemon.launched[0].run_id
    assert daemon.history("a") == [("running", ""), ("skipped", f"run {run} had not ended")]


def test_a_queued_slot_starts_when_the_run_before_it_has_ended(daemon):
    daemon.jobs(job("a", overlap="queue"))
    daemon.pass_time(180)
    assert len(daemon.launched) == 1

    daemon.end(daemon.launched[0])
    assert [each.scheduled_for for each in daemon.launched[1:]] == [START + timedelta(seconds=120)]
    assert ("skipped", "another run was queued already") in daemon.history("a")


def test_a_replaced_run_is_ended_first_and_recorded_as_interrupted(daemon):
    daemon.jobs(job("a", overlap="replace"))
    daemon.pass_time(120)
    first = daemon.launched[0]
    assert daemon.spawner.stopped == [first.run_id]
    assert len(daemon.launched) == 1  # never two runs of one job

    daemon.end(first, signal=15)
    assert daemon.run(first).status == "interrupted"
    assert daemon.run(first).reason.startswith("replaced by the run for 2026-03-01T12:02")
    assert daemon.launched[1].scheduled_for == START + timedelta(seconds=120)


def test_a_run_that_waits_is_replaced_without_ever_starting(make_daemon):
    daemon = make_daemon(max_workers=1)
    daemon.jobs(job("a", every=50), job("b", every=60, overlap="replace"))
    daemon.pass_time(120)
    assert [each.job_id for each in daemon.launched] == ["a"]

    daemon.end(daemon.launched[0])
    assert daemon.launched[1].scheduled_for == START + timedelta(seconds=120)
    assert daemon.history("b") == [
        ("skipped", "replaced by the run for 2026-03-01T12:02:00+00:00"),
        ("running", ""),
    ]


def test_a_run_that_takes_too_long_is_stopped_and_recorded_as_timeout(daemon):
    daemon.jobs(job("a", every=600, timeout=30))
    daemon.pass_time(629)
    assert daemon.spawner.stopped == []
    daemon.pass_time(1)
    (launch,) = daemon.launched
    assert daemon.spawner.stopped == [launch.run_id]

    daemon.end(launch, signal=9)
    run = daemon.run(launch)
    assert (run.status, run.exit_code, run.reason) == ("timeout", 137, "ran longer than its timeout of 30 s")


def test_a_failed_run_is_tried_again_as_often_as_the_policy_says(daemon):
    daemon.jobs(job("a", every=36_000, retries=2, retry_delay=60))
    daemon.pass_time(36_000, turns=36_000)
    daemon.end(daemon.launched[0], code=69)
    daemon.pass_time(80)
    daemon.end(daemon.launched[1], code=69)
    daemon.pass_time(160)
    daemon.end(daemon.launched[2], code=69)
    daemon.pass_time(3600, turns=60)

    assert [each.attempt for each in daemon.launched] == [1, 2, 3]
    assert len({each.scheduled_for for each in daemon.launched}) == 1
    assert [status for status, _ in daemon.history("a")] == ["failed"] * 3


@pytest.mark.parametrize("code", [2, 65, 77, 78])
def test_what_a_second_try_cannot_mend_is_not_tried_again(daemon, code):
    daemon.jobs(job("a", every=36_000, retries=2, retry_delay=1))
    daemon.pass_time(36_000, turns=36_000)
    daemon.end(daemon.launched[0], code=code)
    daemon.pass_time(60)

    assert len(daemon.launched) == 1


def test_a_retry_survives_a_restart_of_the_daemon(make_daemon):
    first = make_daemon()
    first.jobs(job("a", every=36_000, retries=1, retry_delay=60))
    first.pass_time(36_000, turns=36_000)
    first.end(first.launched[0], code=1)
    first.ledger.close()

    second = make_daemon()
    second.jobs(job("a", every=36_000, retries=1, retry_delay=60))
    second.recover()
    second.pass_time(80)
    assert [each.attempt for each in second.launched] == [2]


def test_a_child_that_found_its_store_busy_is_queued_again_and_not_failed(daemon):
    daemon.jobs(job("a", every=36_000))
    daemon.pass_time(36_000, turns=36_000)
    daemon.end(daemon.launched[0], code=75, tail="error: pid 7 writes to this store\n")
    run = daemon.run(daemon.launched[0])
    assert (run.status, run.reason) == ("queued", "pid 7 writes to this store")

    daemon.pass_time(1)
    assert len(daemon.launched) == 1
    daemon.pass_time(1)
    assert [each.run_id for each in daemon.launched] == [run.run_id] * 2
    daemon.end(daemon.launched[1])
    assert daemon.run(daemon.launched[1]).status == "succeeded"


def test_a_store_may_be_in_use_for_days(daemon):
    daemon.jobs(job("a", every=36_000))
    daemon.pass_time(36_000, turns=36_000)
    (launch,) = daemon.launched
    waited = daemon.scheduler._running[launch.run_id].waited
    now = daemon.clock.now()
    again = daemon.scheduler.recorder.busy(replace(waited, busy_count=5000), "busy", now=now, monotonic=0.0)

    assert again == now + timedelta(seconds=60)


def test_a_job_is_paused_after_so_many_failures_in_a_row(daemon):
    daemon.jobs(job("a", every=60, pause_after_failures=2))
    daemon.pass_time(60)
    daemon.end(daemon.launched[0], code=2)
    daemon.pass_time(60)
    daemon.end(daemon.launched[1], code=2)
    daemon.pass_time(300)

    assert len(daemon.launched) == 2
    assert daemon.ledger.summaries(["a"])["a"].auto_paused_at is not None
    assert daemon.history("a")[-1] == ("skipped", "paused after 2 failures in a row")


def test_a_dependent_job_runs_as_soon_as_what_it_waits_for_has_succeeded(daemon):
    daemon.jobs(job("a", every=600), job("b", every=600, after=["a"]))
    daemon.pass_time(600, turns=600)
    assert [each.job_id for each in daemon.launched] == ["a"]

    daemon.end(daemon.launched[0])
    assert [each.job_id for each in daemon.launched] == ["a", "b"]


def test_a_dependent_job_sees_a_run_by_hand_within_seconds(daemon):
    daemon.jobs(job("a", every=36_000), job("b", every=600, after=["a"]))
    daemon.pass_time(600, turns=600)
    assert daemon.launched == []
    daemon.ledger.begin_manual("by-hand", "a", now=daemon.clock.now(), pid=1, dry_run=False)
    daemon.ledger.finish("by-hand", status="succeeded", exit_code=0, now=daemon.clock.now())
    daemon.pass_time(5)

    assert [each.job_id for each in daemon.launched] == ["b"]


def test_what_waits_for_a_job_that_is_removed_or_paused_does_not_start(make_daemon):
    daemon = make_daemon(max_workers=1)
    daemon.jobs(job("a"), job("b"), job("c"))
    daemon.pass_time(60)
    daemon.jobs(job("a"), job("c", enabled=False))
    daemon.end(daemon.launched[0])

    assert [each.job_id for each in daemon.launched] == ["a"]
    assert daemon.history("b") == [("skipped", "the job was removed before its run could start")]
    assert ("skipped", "paused") in daemon.history("c")


def test_a_slot_that_waits_for_another_job_is_recorded_when_its_schedule_is_changed(daemon):
    waiting = job("b", every=600, after=["a"])
    daemon.jobs(job("a", every=36_000), waiting)
    daemon.pass_time(700, turns=50)
    assert daemon.history("b") == []

    daemon.jobs(job("a", every=36_000), waiting.rescheduled(daemon.clock.now()))
    daemon.pass_time(10)
    assert daemon.history("b") == [("missed", "not run before its schedule was changed")]


def test_a_slot_that_waits_for_another_job_is_recorded_when_it_is_removed(daemon):
    daemon.jobs(job("a", every=36_000), job("b", every=600, after=["a"]))
    daemon.pass_time(700, turns=50)
    daemon.jobs(job("a", every=36_000))
    daemon.pass_time(10)

    assert daemon.history("b") == [("missed", "the job was removed before its run could start")]


def test_a_slot_that_was_left_behind_is_recorded_as_soon_as_the_ledger_can_be_written(daemon):
    waiting = job("b", every=600, after=["a"])
    daemon.jobs(job("a", every=36_000), waiting)
    daemon.pass_time(700, turns=50)
    with read_only(daemon):
        daemon.jobs(job("a", every=36_000), waiting.rescheduled(daemon.clock.now()))
        daemon.pass_time(3)
    daemon.pass_time(10)

    assert daemon.history("b") == [("missed", "not run before its schedule was changed")]


def test_a_running_run_goes_on_when_its_job_is_removed(daemon):
    daemon.jobs(job("a"))
    daemon.pass_time(60)
    daemon.jobs()
    daemon.end(daemon.launched[0], code=1)

    assert daemon.history("a") == [("failed", "exit status 1")]


def test_a_new_job_is_planned_at_once(daemon):
    daemon.jobs(job("a", every=36_000))
    daemon.scheduler.step()
    daemon.jobs(job("a", every=36_000), job("b", every=30))
    daemon.pass_time(30)

    assert [each.job_id for each in daemon.launched] == ["b"]


def test_a_process_that_cannot_be_started_is_a_failed_run_and_nothing_else(daemon):
    daemon.jobs(job("a", every=36_000, retries=1, retry_delay=60), job("b", every=36_005))
    daemon.spawner.error = OSError(errno.EMFILE, "Too many open files")
    daemon.pass_time(36_000, turns=36_000)
    assert daemon.history("a") == [
        ("failed", "its process could not be started: [Errno 24] Too many open files")
    ]

    daemon.spawner.error = None
    daemon.pass_time(80)
    assert [(each.job_id, each.attempt) for each in daemon.launched] == [("b", 1), ("a", 2)]


class Poisoned:
    """A schedule that cannot be asked."""

    text = "poison"
    at_start = False

    def next(self, after):
        raise ZeroDivisionError("poison")


def test_a_poison_job_stops_no_other_and_does_not_spin(daemon, caplog):
    daemon.jobs(job("bad"), job("good"))
    object.__setattr__(daemon.planner.job("bad"), "schedule", Poisoned())
    with caplog.at_level(logging.ERROR):
        daemon.pass_time(179)

    assert {each.job_id for each in daemon.launched} == {"good"}
    said = [record for record in caplog.records if "bad cannot be planned" in record.getMessage()]
    assert len(said) == 2  # at once, and a minute later; then two minutes pass


def test_a_poison_job_may_stay_one_for_months(daemon, caplog):
    daemon.jobs(job("bad"))
    object.__setattr__(daemon.planner.job("bad"), "schedule", Poisoned())
    with caplog.at_level(logging.CRITICAL, "pipesched"):
        daemon.pass_time(1100 * 3600, turns=3600)

    assert daemon.planner.next_wake() is not None


@contextmanager
def read_only(daemon):
    """The ledger cannot be written, as on a file system that was remounted read-only."""
    daemon.ledger._db.execute("PRAGMA query_only = 1")
    yield
    daemon.ledger._db.execute("PRAGMA query_only = 0")


def test_a_ledger_that_cannot_be_written_starts_nothing_and_loses_nothing(daemon):
    daemon.jobs(job("a", every=60))
    daemon.scheduler.step()
    with read_only(daemon):
        daemon.pass_time(61)
        assert daemon.launched == []
    daemon.pass_time(5)

    assert [each.scheduled_for for each in daemon.launched] == [START + timedelta(seconds=60)]


def test_the_end_of_a_run_is_recorded_as_soon_as_the_ledger_can_be_written_again(daemon):
    daemon.jobs(job("a", every=600))
    daemon.pass_time(600, turns=600)
    with read_only(daemon):
        daemon.end(daemon.launched[0], code=1)
        daemon.pass_time(20)
        assert not daemon.scheduler.idle
    daemon.pass_time(5)

    assert daemon.history("a") == [("failed", "exit status 1")]


def test_a_process_whose_pid_cannot_be_recorded_is_watched_all_the_same(daemon):
    daemon.jobs(job("a", every=600))
    launch = daemon.spawner.launch

    def launch_and_break(what):
        daemon.ledger._db.execute("PRAGMA query_only = 1")
        return launch(what)

    daemon.spawner.launch = launch_and_break
    daemon.pass_time(600, turns=600)
    daemon.ledger._db.execute("PRAGMA query_only = 0")
    daemon.end(daemon.launched[0])
    daemon.pass_time(5)

    assert daemon.history("a") == [("succeeded", "")]


def test_a_clock_that_is_set_back_fires_nothing_again(daemon):
    daemon.jobs(job("a", every=600))
    daemon.pass_time(600, turns=600)
    daemon.end(daemon.launched[0])
    daemon.clock.set_wall(timedelta(hours=-2))
    daemon.scheduler.clock_went_back(timedelta(hours=2))
    daemon.planner.look_at_all(daemon.clock.now())
    daemon.pass_time(7800, turns=60)

    assert [each.scheduled_for for each in daemon.launched] == [
        START + timedelta(seconds=600),
        START + timedelta(seconds=1200),
    ]


def test_a_run_that_was_to_start_in_a_moment_still_does_when_the_clock_is_set_back(daemon):
    daemon.jobs(job("a", every=36_000))
    daemon.pass_time(36_000, turns=36_000)
    daemon.end(daemon.launched[0], code=75)
    daemon.clock.set_wall(timedelta(hours=-2))
    daemon.scheduler.clock_went_back(timedelta(hours=2))
    daemon.pass_time(10)

    assert len(daemon.launched) == 2


def test_a_clock_that_jumps_forward_gives_one_run_for_all_missed_slots(daemon):
    daemon.jobs(job("a", every=600))
    daemon.scheduler.step()
    daemon.clock.set_wall(timedelta(hours=3))
    daemon.planner.look_at_all(daemon.clock.now())
    daemon.pass_time(2)

    assert len(daemon.launched) == 1
    assert daemon.ledger.counters().missed == 17


def test_late_runs_start_one_after_the_other_and_not_as_a_stampede(make_daemon):
    daemon = make_daemon(max_workers=100, stagger=1.0)
    daemon.jobs(*(job(f"j{number}", every=600) for number in range(5)))
    daemon.clock.set_wall(timedelta(hours=3, seconds=90))
    started = []
    for _ in range(6):
        daemon.scheduler.step()
        started.append(len(daemon.launched))
        daemon.clock.pass_time(1)

    assert started == [1, 2, 3, 4, 5, 5]


def test_cancelling_a_run_that_waits_keeps_it_from_starting(make_daemon):
    daemon = make_daemon(max_workers=1)
    daemon.jobs(job("a"), job("b"))
    daemon.pass_time(60)
    (waiting,) = [run for run in daemon.ledger.active() if run.status == "queued"]
    daemon.cancellations.ask(waiting.run_id)
    daemon.scheduler.step()

    assert daemon.history("b") == [("skipped", "cancelled with pipesched cancel")]
    assert daemon.cancellations.pending() == []


def test_a_cancelled_run_is_stopped_once_and_recorded_as_interrupted(daemon):
    daemon.jobs(job("a", every=3600, retries=3, retry_delay=1))
    daemon.pass_time(3600, turns=3600)
    (launch,) = daemon.launched
    daemon.cancellations.ask(launch.run_id)
    daemon.pass_time(5)
    assert daemon.spawner.stopped == [launch.run_id]
    daemon.end(launch, signal=9)
    daemon.pass_time(60)

    assert daemon.history("a") == [("interrupted", "cancelled with pipesched cancel")]
    assert daemon.cancellations.pending() == []
    assert len(daemon.launched) == 1


def test_a_draining_daemon_starts_nothing_and_stops_what_runs_too_long(daemon):
    daemon.jobs(job("a"), job("b", every=90))
    daemon.pass_time(60)
    daemon.scheduler.launching = False
    daemon.pass_time(60)
    assert [each.job_id for each in daemon.launched] == ["a"]

    daemon.scheduler.stop_all("the daemon stopped")
    daemon.end(daemon.launched[0], signal=15)
    assert daemon.history("a") == [("interrupted", "the daemon stopped")]
    assert daemon.scheduler.running == 0


def test_run_once_fires_what_is_due_and_leaves_what_comes_later(make_daemon):
    daemon = make_daemon(horizon=START + timedelta(seconds=60))
    daemon.jobs(job("a", every=60), job("b", every=3600), job("c", every=60, after=["a"]))
    daemon.clock.pass_time(60)
    daemon.pass_time(120)
    assert [each.job_id for each in daemon.launched] == ["a"]
    assert not daemon.scheduler.idle

    daemon.end(daemon.launched[0])
    assert [each.job_id for each in daemon.launched] == ["a", "c"]
    daemon.end(daemon.launched[1])
    assert daemon.scheduler.idle


def test_a_job_for_the_start_of_the_daemon_fires_then(daemon):
    from pipesched.jobs.model import CronTrigger

    at_start = job("boot").model_copy(update={"trigger": CronTrigger(expression="@reboot")})
    paused = at_start.model_copy(update={"id": "paused", "enabled": False, "paused_at": START})
    daemon.jobs(at_start, paused)
    daemon.clock.pass_time(1)
    daemon.scheduler.take(daemon.planner.fire_at_start(daemon.clock.now()))
    daemon.pass_time(120)

    assert [each.job_id for each in daemon.launched] == ["boot"]
    assert daemon.history("paused") == [("skipped", "paused")]


def test_a_job_that_cannot_be_scheduled_stops_no_other(daemon, monkeypatch):
    bad = job("bad").model_copy(update={"timezone": "Nowhere/Land", "trigger": job("x").trigger})
    object.__setattr__(bad, "trigger", None)
    daemon.jobs(bad, job("good"))
    daemon.pass_time(60)

    assert [each.job_id for each in daemon.launched] == ["good"]


def test_an_adopted_run_keeps_the_time_it_has_had(daemon):
    daemon.jobs(job("a", every=600, timeout=100))
    daemon.pass_time(600, turns=600)
    (launch,) = daemon.launched
    waited = daemon.scheduler._running.pop(launch.run_id).waited
    daemon.clock.pass_time(70)
    daemon.scheduler.adopt(waited, Started(1, 1), started_at=START + timedelta(seconds=600))
    daemon.pass_time(29)
    assert daemon.spawner.stopped == []
    daemon.pass_time(1)

    assert daemon.spawner.stopped == [launch.run_id]


def test_an_adopted_run_has_no_more_than_its_timeout_although_the_clock_was_set_back(daemon):
    daemon.jobs(job("a", every=600, timeout=100))
    daemon.pass_time(600, turns=600)
    (launch,) = daemon.launched
    waited = daemon.scheduler._running.pop(launch.run_id).waited
    daemon.scheduler.adopt(waited, Started(1, 1), started_at=daemon.clock.now() + timedelta(days=365))
    daemon.pass_time(100)

    assert daemon.spawner.stopped == [launch.run_id]


def test_a_report_of_an_earlier_try_says_nothing_of_this_one(daemon):
    daemon.jobs(job("a", every=36_000))
    daemon.pass_time(36_000, turns=36_000)
    (launch,) = daemon.launched
    stale = daemon.clock.now().isoformat()
    daemon.end(launch, code=75)
    daemon.reports[launch.run_id] = {
        "timestamp": stale,
        "status": "failed",
        "exit_code": 75,
        "message": "busy",
    }
    daemon.pass_time(2)
    daemon.end(launch, code=1)

    assert daemon.history("a") == [("failed", "exit status 1")]


def test_a_dry_run_by_hand_is_in_no_slots_way(daemon):
    daemon.jobs(job("a", every=600))
    daemon.ledger.begin_manual("looking", "a", now=START, pid=os.getpid(), dry_run=True)
    daemon.pass_time(600, turns=600)

    assert [each.scheduled_for for each in daemon.launched] == [START + timedelta(seconds=600)]
