"""A clock that was ahead, and is set right: what was decided and put off meanwhile."""

from datetime import timedelta

import pytest

from pipesched.runs.ledger import Ledger
from pipesched.schedule.outlook import undecided_after, upcoming
from support.scheduling import START, Daemon, job

YEAR = timedelta(days=365)


def set_clock(daemon: Daemon, by: timedelta) -> None:
    """As the loop sees it."""
    daemon.clock.set_wall(by)
    if by < timedelta(0):
        daemon.scheduler.clock_went_back(-by)
    daemon.planner.look_at_all(daemon.clock.now())


def ahead_for_a_moment(daemon: Daemon, by: timedelta) -> None:
    """One run is caught up with meanwhile, and succeeds."""
    daemon.scheduler.step()
    set_clock(daemon, by)
    daemon.pass_time(2)
    daemon.end(daemon.launched[-1])


def test_a_clock_that_was_a_year_ahead_costs_no_year_of_runs(daemon):
    daemon.jobs(job("a", every=600))
    ahead_for_a_moment(daemon, YEAR)
    set_clock(daemon, -YEAR)
    daemon.pass_time(600)

    assert [each.scheduled_for for each in daemon.launched[1:]] == [START + timedelta(seconds=600)]


def test_nor_does_it_when_it_is_set_right_while_no_daemon_runs(make_daemon):
    first = make_daemon()
    first.jobs(job("a", every=600))
    ahead_for_a_moment(first, YEAR)
    first.ledger.close()
    first.clock.set_wall(-YEAR)
    second = make_daemon()
    second.jobs(job("a", every=600))
    second.recover()
    second.pass_time(600)

    assert [each.scheduled_for for each in second.launched] == [START + timedelta(seconds=600)]


def test_what_was_claimed_ahead_of_its_time_is_not_started_again_and_what_follows_is(daemon):
    daemon.jobs(job("a", every=86_400, catch_up="none"))
    set_clock(daemon, timedelta(days=8))
    daemon.pass_time(2)
    daemon.end(daemon.launched[0])
    set_clock(daemon, timedelta(days=-8))
    for _ in range(9):
        daemon.pass_time(86_400, turns=21_600)
        for each in daemon.launched[1:]:
            daemon.end(each)

    days = [(each.scheduled_for - START).days for each in daemon.launched]
    assert days == [8, 1, 2, 3, 4, 5, 6, 7, 9]


@pytest.mark.parametrize("hours", [2, 26])
def test_what_a_clock_that_was_hours_ahead_passed_over_stays_decided_and_is_not_announced(daemon, hours):
    daemon.jobs(job("a", every=600))
    ahead_for_a_moment(daemon, timedelta(hours=hours))
    set_clock(daemon, timedelta(hours=-hours))
    daemon.pass_time(1200)
    timed = daemon.planner.job("a")
    progress = daemon.ledger.progress([timed])["a"]

    assert len(daemon.launched) == 1
    following = next(upcoming(timed, progress, undecided_after(timed, progress, daemon.clock.now())))
    assert following.at == START + timedelta(hours=hours, seconds=600)


def failed_once(daemon: Daemon) -> None:
    daemon.jobs(job("a", every=86_400, retries=2, retry_delay=60))
    daemon.pass_time(86_400, turns=86_400)
    daemon.end(daemon.launched[0], code=1)


def test_a_retry_waits_no_longer_than_its_delay_when_the_clock_is_set_back(daemon):
    failed_once(daemon)
    set_clock(daemon, timedelta(hours=-5))
    daemon.pass_time(45)
    assert len(daemon.launched) == 1
    daemon.pass_time(30)

    assert [each.attempt for each in daemon.launched] == [1, 2]


def test_nor_when_it_is_set_back_while_no_daemon_runs_however_often_one_starts(make_daemon):
    first = make_daemon()
    failed_once(first)
    first.ledger.close()
    first.clock.set_wall(timedelta(hours=-5))
    for _ in range(4):
        daemon = make_daemon()
        daemon.jobs(job("a", every=86_400, retries=2, retry_delay=60))
        daemon.recover()
        daemon.pass_time(20)
        daemon.ledger.close()

    assert [each.attempt for each in daemon.launched] == [2]


def test_a_retry_keeps_its_time_over_a_restart_with_a_clock_that_is_right(make_daemon):
    first = make_daemon()
    failed_once(first)
    (planned,) = first.ledger.pending_retries().values()
    first.ledger.close()
    first.clock.pass_time(30)
    second = make_daemon()
    second.jobs(job("a", every=86_400, retries=2, retry_delay=60))
    second.recover()

    assert second.ledger.pending_retries() == {"a": planned}


def test_a_retry_that_was_taken_away_is_not_made(daemon):
    failed_once(daemon)
    daemon.jobs(job("a", every=86_400, retries=0))
    daemon.pass_time(120)

    assert daemon.history("a") == [("failed", "exit status 1"), ("skipped", "its retries were taken away")]


def test_a_clock_that_goes_back_while_the_ledger_is_busy_does_not_end_the_daemon(daemon, caplog):
    daemon.jobs(job("a", every=600))
    daemon.scheduler.step()
    daemon.ledger._db.execute("PRAGMA busy_timeout = 0")
    other = Ledger.open(daemon.ledger.path, create=True)
    with other.batch():
        set_clock(daemon, timedelta(hours=-1))
    other.close()

    assert "what the clock left behind cannot be settled" in caplog.text
