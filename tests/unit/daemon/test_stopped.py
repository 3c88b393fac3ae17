"""A run that the daemon's own stop cut off is owed: the next daemon starts it again, and no retry is used up."""

from datetime import timedelta
from typing import Any

import pytest

from pipesched.schedule.tick import CUT_OFF
from support.scheduling import START, Daemon, job

SLOT = START + timedelta(seconds=600)
REASON = "the daemon stopped, and its drain timeout ended"


def stop(daemon: Daemon, *, signal: int = 15) -> None:
    """As the loop does it when the drain timeout is over."""
    daemon.scheduler.launching = False
    daemon.scheduler.stop_all(REASON)
    daemon.end(daemon.launched[-1], signal=signal)


def stopped(make_daemon: Any, *jobs: Any, at: float = 600) -> Daemon:
    daemon: Daemon = make_daemon()
    daemon.jobs(*jobs)
    daemon.pass_time(at, turns=at)
    stop(daemon)
    daemon.ledger.close()
    return daemon


def next_daemon(make_daemon: Any, *jobs: Any, after: float = 5) -> Daemon:
    daemon: Daemon = make_daemon()
    daemon.clock.pass_time(after)
    daemon.jobs(*jobs)
    daemon.recover()
    daemon.scheduler.step()
    return daemon


def attempts(daemon: Daemon) -> list[tuple[Any, int]]:
    return [(each.scheduled_for, each.attempt) for each in daemon.launched]


def test_the_next_daemon_starts_it_again_at_once_although_the_job_has_no_retries(make_daemon):
    hourly = job("a", every=600, pause_after_failures=1)
    first = stopped(make_daemon, hourly)
    second = next_daemon(make_daemon, hourly)

    assert attempts(second) == [(SLOT, 2)]
    again = second.run(second.launched[0])
    assert (again.trigger, again.reason, again.status) == ("retry", CUT_OFF, "running")
    assert (second.run(first.launched[0]).status, second.run(first.launched[0]).reason) == (
        "interrupted",
        REASON,
    )
    second.end(second.launched[0])
    second.pass_time(500, turns=100)
    assert second.history("a")[-1][0] == "succeeded"
    assert len(second.launched) == 1


def test_the_daemon_that_stops_does_not_start_it_again_itself(make_daemon):
    daemon = make_daemon()
    daemon.jobs(job("a", every=600))
    daemon.pass_time(600, turns=600)
    stop(daemon)
    daemon.pass_time(30)
    assert len(daemon.launched) == 1


def test_a_stop_uses_up_no_retry_and_is_no_failure(make_daemon):
    jobs = (job("a", every=3600, retries=1, retry_delay=1, pause_after_failures=1),)
    stopped(make_daemon, *jobs, at=3600)
    second = next_daemon(make_daemon, *jobs)
    stop(second)
    second.ledger.close()
    third = next_daemon(make_daemon, *jobs)
    assert attempts(third) == [(START + timedelta(hours=1), 3)]
    assert third.ledger.progress([jobs[0].timed()])["a"].failures_in_row == 0
    third.end(third.launched[0], code=1)
    third.pass_time(5)
    assert attempts(third)[1:] == [(START + timedelta(hours=1), 4)]
    assert third.run(third.launched[1]).reason == "attempt 4 of 4"
    third.end(third.launched[1], code=1)
    third.pass_time(30)
    assert len(third.launched) == 2
    assert third.ledger.progress([jobs[0].timed()])["a"].auto_paused_at is not None


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"catch_up": "none"}, "late, and nothing is caught up"),
        ({"grace": 90.0}, "late by more than the grace of 1m30s"),
    ],
)
def test_it_is_given_up_where_the_job_may_not_start_so_late(make_daemon, policy, reason):
    jobs = (job("a", every=3600, retries=3, **policy),)
    stopped(make_daemon, *jobs, at=3600)
    second = next_daemon(make_daemon, *jobs, after=100)
    assert second.launched == []
    assert second.history("a") == [("interrupted", REASON), ("skipped", reason)]


def test_a_paused_or_removed_job_is_not_started_again(make_daemon):
    stopped(make_daemon, job("a", every=600))
    second = next_daemon(make_daemon, job("a", every=600, enabled=False), after=60)
    assert second.launched == []
    assert second.history("a")[-1] == ("skipped", "paused")
    second.ledger.close()
    third = next_daemon(make_daemon)
    assert third.launched == []


def test_the_next_slot_stands_for_it_unless_each_is_caught_up(make_daemon):
    jobs = (job("a", every=600), job("b", every=600, catch_up="all"))
    daemon = make_daemon()
    daemon.jobs(*jobs)
    daemon.pass_time(600, turns=600)
    daemon.scheduler.launching = False
    daemon.scheduler.stop_all(REASON)
    for launch in daemon.launched:
        daemon.end(launch, signal=15)
    daemon.ledger.close()
    second = next_daemon(make_daemon, *jobs, after=650)
    for _ in range(3):
        for launch in second.launched:
            second.end(launch)
    later = SLOT + timedelta(seconds=600)
    assert {(each.job_id, each.scheduled_for, each.attempt) for each in second.launched} == {
        ("a", later, 1),
        ("b", SLOT, 2),
        ("b", later, 1),
    }
    assert ("skipped", "superseded") in second.history("a")
    ran = [each.scheduled_for for each in second.launched if each.job_id == "b"]
    assert ran == [SLOT, later]


def test_what_was_cancelled_before_the_stop_or_meanwhile_stays_cancelled(make_daemon):
    jobs = (job("a", every=600, retries=3),)
    first = make_daemon()
    first.jobs(*jobs)
    first.pass_time(600, turns=600)
    first.scheduler.launching = False
    first.scheduler.stop_all(REASON)
    first.cancellations.ask(first.launched[0].run_id)
    first.end(first.launched[0], signal=15)
    first.ledger.close()
    assert next_daemon(make_daemon, *jobs).launched == []


def test_a_signal_from_outside_is_the_stop_where_the_daemon_is_stopping_and_a_wish_where_not(make_daemon):
    """A machine that goes down tells the daemon and its runs alike."""
    jobs = (job("a", every=600),)
    first = make_daemon()
    first.jobs(*jobs)
    first.pass_time(600, turns=600)
    first.scheduler.launching = False
    first.end(first.launched[0], code=143)
    first.ledger.close()
    second = next_daemon(make_daemon, *jobs)
    assert attempts(second) == [(SLOT, 2)]
    second.end(second.launched[0], code=143)
    second.ledger.close()
    assert next_daemon(make_daemon, *jobs).launched == []


def test_it_waits_for_no_time_that_the_clock_was_set_back_from(make_daemon):
    jobs = (job("a", every=600),)
    first = stopped(make_daemon, *jobs)
    first.clock.set_wall(-timedelta(hours=2))
    assert attempts(next_daemon(make_daemon, *jobs)) == [(SLOT, 2)]
