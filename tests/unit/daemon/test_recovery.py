"""What a daemon finds when it starts after another, which was killed."""

import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path

from pipesched.daemon.recovery import forget_dead_manual_runs
from pipesched.runs.process import start_ticks
from support.scheduling import START, job

NEVER = 2**22 + 7
"""Beyond any real pid."""


def killed(make_daemon, *jobs, at: float = 60.0):
    """A daemon that has fired what was due `at`, and is gone."""
    daemon = make_daemon()
    daemon.jobs(*jobs)
    daemon.pass_time(at, turns=at)
    daemon.ledger.close()
    return daemon


def restarted(make_daemon, *jobs):
    daemon = make_daemon()
    daemon.jobs(*jobs)
    daemon.recover()
    return daemon


def test_a_run_whose_process_is_gone_is_lost_and_its_occurrence_does_not_run_again(make_daemon):
    first = killed(make_daemon, job("a", every=600), at=600)
    second = restarted(make_daemon, job("a", every=600))
    second.pass_time(30)

    run = second.run(first.launched[0])
    assert (run.status, run.reason) == ("lost", "its process is gone, and left no word of how it ended")
    assert second.launched == []


def test_a_lost_run_is_tried_again_by_the_retry_policy(make_daemon):
    jobs = (job("a", every=600, retries=1, retry_delay=10),)
    first = killed(make_daemon, *jobs, at=600)
    second = restarted(make_daemon, *jobs)
    second.pass_time(15)

    assert [(each.scheduled_for, each.attempt) for each in second.launched] == [
        (first.launched[0].scheduled_for, 2)
    ]


def test_a_run_that_waited_starts_although_the_clock_was_set_back_before_the_restart(make_daemon):
    jobs = (job("a", every=600), job("b", every=600, jitter=300), job("c", every=600))
    first = make_daemon(max_workers=1)
    first.jobs(*jobs)
    first.pass_time(600, turns=600)
    waited = {run.job_id: run for run in first.ledger.active() if run.status == "queued"}
    assert sorted(waited) == ["b", "c"]
    delay = (waited["b"].not_before - waited["b"].queued_at).total_seconds()
    first.ledger.close()
    first.clock.set_wall(timedelta(hours=-30))
    second = restarted(make_daemon, *jobs)
    second.scheduler.step()
    assert [each.job_id for each in second.launched] == ["c"]
    second.pass_time(delay)

    assert [each.job_id for each in second.launched] == ["c", "b"]


def test_a_run_that_ended_while_no_daemon_was_there_ended_as_its_report_says(make_daemon):
    first = killed(make_daemon, job("a", every=600), at=600)
    second = make_daemon()
    second.jobs(job("a", every=600))
    second.reports[first.launched[0].run_id] = {
        "status": "succeeded",
        "exit_code": 0,
        "stats": {"new_documents": 2},
    }
    second.recover()

    assert second.run(first.launched[0]).status == "succeeded"
    assert second.ledger.summaries(["a"])["a"].documents["new"] == 2


def test_a_run_that_still_lives_is_watched_and_not_started_again(make_daemon):
    first = make_daemon()
    first.jobs(job("a", every=600))
    first.pass_time(600, turns=600)
    launch = first.launched[0]
    with subprocess.Popen(["sleep", "60"]) as process:
        started = start_ticks(process.pid)
        first.ledger.started(launch.run_id, pid=process.pid, pid_started=started, now=first.clock.now())
        first.ledger.close()
        second = restarted(make_daemon, job("a", every=600))
        second.pass_time(600, turns=600)

        assert second.spawner.adopted == [launch.run_id]
        assert second.launched == []
        second.end(launch, code=None)
        assert second.run(launch).status == "lost"
        process.kill()


def test_a_pid_that_another_process_has_by_now_is_not_taken_for_the_run(make_daemon):
    first = make_daemon()
    first.jobs(job("a", every=600))
    first.pass_time(600, turns=600)
    first.ledger.started(first.launched[0].run_id, pid=os.getpid(), pid_started=1, now=first.clock.now())
    first.ledger.close()
    second = restarted(make_daemon, job("a", every=600))

    assert second.spawner.adopted == []
    assert second.run(first.launched[0]).status == "lost"


def test_a_run_that_was_claimed_and_never_started_starts_now(make_daemon):
    first = make_daemon(max_workers=1)
    first.jobs(job("a"), job("b"))
    first.pass_time(60, turns=60)
    (waiting,) = [run for run in first.ledger.active() if run.status == "queued"]
    first.ledger.close()
    second = restarted(make_daemon, job("a"), job("b"))
    second.scheduler.step()

    assert [each.run_id for each in second.launched] == [waiting.run_id]


def test_a_claimed_run_of_a_job_that_is_gone_or_paused_is_skipped(make_daemon):
    first = make_daemon(max_workers=1)
    first.jobs(job("a"), job("b"), job("c"))
    first.pass_time(60, turns=60)
    first.ledger.close()
    second = restarted(make_daemon, job("a"), job("c", enabled=False))
    second.pass_time(5)

    assert second.launched == []
    assert second.history("b") == [("skipped", "the job was removed before its run could start")]
    assert second.history("c") == [("skipped", "paused")]


def test_a_daemon_that_died_while_it_started_a_run_does_not_start_it_twice(make_daemon):
    first = make_daemon()
    first.jobs(job("a", every=600))
    first.scheduler.step()
    claimed = first.ledger.claim(
        "torn", "a", scheduled_for=START + timedelta(seconds=600), attempt=1, trigger="schedule", now=START
    )
    assert claimed
    first.ledger.started("torn", pid=None, pid_started=None, now=START)
    first.ledger.close()
    first.clock.pass_time(600)
    second = restarted(make_daemon, job("a", every=600))
    second.pass_time(30)

    assert second.launched == []
    run = second.ledger.run("torn")
    assert run is not None
    assert run.status == "lost"


def test_a_run_whose_pid_was_never_written_down_is_found_by_its_environment(make_daemon):
    first = make_daemon()
    first.jobs(job("a", every=600))
    first.scheduler.step()
    first.ledger.claim(
        "torn", "a", scheduled_for=START + timedelta(seconds=600), attempt=1, trigger="schedule", now=START
    )
    first.ledger.started("torn", pid=None, pid_started=None, now=START)
    first.ledger.close()
    with subprocess.Popen(
        ["sleep", "60"], env={"PIPESCHED_RUN_ID": "torn"}, start_new_session=True
    ) as process:
        # Popen returns in the middle of exec, a moment before the kernel knows the new environment.
        while not Path(f"/proc/{process.pid}/environ").read_bytes():
            time.sleep(0.001)
        second = restarted(make_daemon, job("a", every=600))
        process.kill()

    assert second.spawner.adopted == ["torn"]


def test_a_dead_run_by_hand_is_lost_and_a_live_one_is_left_alone(daemon):
    now = daemon.clock.now()
    daemon.ledger.begin_manual("dead", None, now=now, pid=NEVER, dry_run=False)
    daemon.ledger.begin_manual("alive", None, now=now, pid=os.getpid(), dry_run=False)
    daemon.recover()
    forget_dead_manual_runs(daemon.ledger, now)

    assert {run.run_id: run.status for run in daemon.ledger.history(limit=None)} == {
        "dead": "lost",
        "alive": "running",
    }


def left_queued(make_daemon, **policy):
    """The run of `b` was claimed and never started when its daemon was killed. The clock has gone on since by 20 hours."""
    jobs = (job("a", every=86_400, **policy), job("b", every=86_400, **policy))
    first = make_daemon(max_workers=1)
    first.jobs(*jobs)
    first.pass_time(86_400, turns=86_400)
    assert {run.job_id: run.status for run in first.ledger.active()} == {"a": "running", "b": "queued"}
    first.ledger.close()
    first.clock.pass_time(20 * 3600)
    return restarted(make_daemon, *jobs)


def test_a_claimed_run_is_not_started_later_than_its_grace(make_daemon):
    second = left_queued(make_daemon, grace=3600)
    second.pass_time(5)

    assert second.launched == []
    assert second.history("b") == [("skipped", "late by more than the grace of 1h")]


def test_nor_is_one_that_is_not_to_be_caught_up(make_daemon):
    second = left_queued(make_daemon, catch_up="none")
    second.pass_time(5)

    assert second.history("b") == [("skipped", "late, and nothing is caught up")]


def test_a_claimed_run_within_its_grace_waits_for_the_end_of_a_window(make_daemon):
    """It is 08:00 by now."""
    second = left_queued(make_daemon, grace=86_400, not_during=("07:00-09:30",))
    second.pass_time(3600, turns=600)
    assert second.launched == []
    second.pass_time(1800, turns=600)

    assert [each.job_id for each in second.launched] == ["b"]


def test_a_run_that_waits_for_its_jitter_is_not_late_for_that(make_daemon):
    daily = job("a", every=86_400, jitter=40_000, catch_up="none")
    first = make_daemon()
    first.jobs(daily)
    first.pass_time(86_400, turns=86_400)
    (waiting,) = first.ledger.active()
    first.ledger.close()
    first.clock.pass_time((waiting.not_before - first.clock.now()).total_seconds() - 10)
    second = restarted(make_daemon, daily)
    second.pass_time(15)

    assert [each.run_id for each in second.launched] == [waiting.run_id]
