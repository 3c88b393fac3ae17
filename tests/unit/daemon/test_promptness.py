"""A run that can start at once does so in the turn that claims it."""

import selectors
import socket
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipesched.daemon.promptness import PromptSelector
from pipesched.daemon.scheduler import LEAD
from pipesched.runs.process import NEVER_SEEN
from support.scheduling import START, Daemon, job


def test_a_claim_that_may_start_is_started_in_the_same_turn_though_the_clock_goes_on_meanwhile(
    tmp_path: Path,
) -> None:
    """Claimed and marked as started together: one sync of the disk before the process, and not two."""
    daemon = Daemon(tmp_path)
    read = daemon.clock.now

    def now() -> datetime:
        daemon.clock.wall += timedelta(microseconds=7)
        return read()

    daemon.clock.now = now  # type: ignore[method-assign]
    daemon.jobs(job("a", every=60))
    daemon.clock.pass_time(60)
    daemon.scheduler.step()
    (launch,) = daemon.launched
    assert daemon.run(launch).status == "running"


@pytest.fixture
def ahead(tmp_path: Path) -> Daemon:
    """20 ms before a job is due, claimed already."""
    daemon = Daemon(tmp_path, lead=LEAD)
    daemon.jobs(job("a", every=60))
    assert daemon.scheduler.step() == 60 - LEAD.total_seconds()
    daemon.clock.pass_time(59.98)
    assert daemon.scheduler.step() == pytest.approx(0.02, abs=1e-6)
    return daemon


def test_what_is_due_in_a_moment_is_durable_before_its_time_and_starts_at_its_time(ahead: Daemon) -> None:
    assert ahead.launched == []
    assert ahead.scheduler.running == 1  # a drain waits for it, and its seat is taken
    (run,) = ahead.ledger.active()
    due = START + timedelta(seconds=60)
    assert (run.status, run.scheduled_for, run.started_at, run.pid) == ("running", due, due, None)
    ahead.clock.pass_time(0.02)
    ahead.scheduler.step()
    (launch,) = ahead.launched
    assert ahead.run(launch).started_at == due


def test_nothing_is_claimed_sooner_than_that(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, lead=LEAD)
    daemon.jobs(job("a", every=60))
    daemon.pass_time(59.9, turns=0.1)
    assert daemon.ledger.active() == []


def test_what_was_claimed_ahead_starts_although_a_stop_has_begun(ahead: Daemon) -> None:
    ahead.scheduler.launching = False
    ahead.clock.pass_time(0.02)
    ahead.scheduler.step()
    assert len(ahead.launched) == 1


def test_what_was_claimed_ahead_is_killed_with_the_rest(ahead: Daemon) -> None:
    ahead.scheduler.kill_all("stopped at once")
    (launch,) = ahead.launched
    assert ahead.spawner.killed == [launch.run_id]


def test_what_was_claimed_ahead_starts_in_its_moment_although_the_clock_goes_back(ahead: Daemon) -> None:
    ahead.clock.set_wall(-timedelta(hours=1))
    ahead.scheduler.clock_went_back(timedelta(hours=1))
    ahead.clock.pass_time(0.02)
    ahead.scheduler.step()
    assert len(ahead.launched) == 1


def test_a_daemon_that_dies_in_that_moment_leaves_a_run_that_perhaps_started(ahead: Daemon) -> None:
    """So that it is lost, and retried if the job retries, but not simply started a second time."""
    ahead.ledger.close()
    after = Daemon(ahead.folder, lead=LEAD)
    after.clock.pass_time(70)
    after.jobs(job("a", every=60))
    after.recover()
    after.pass_time(1)
    assert after.history("a") == [("lost", NEVER_SEEN)]
    assert after.launched == []


def test_two_jobs_of_one_store_due_at_once_do_not_both_start_ahead(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, lead=LEAD)
    daemon.stores = {"a": "s", "b": "s"}
    daemon.jobs(job("a", every=60), job("b", every=60))
    daemon.pass_time(61, turns=0.01)
    (launch,) = daemon.launched
    daemon.end(launch)
    assert [each.job_id for each in daemon.launched] == ["a", "b"]


@pytest.mark.parametrize("timeout", [0.0, 0.0004, 0.0123])
def test_the_selector_keeps_its_time(timeout: float) -> None:
    selector = PromptSelector()
    late = []
    for _ in range(20):
        begun = time.monotonic()
        assert selector.select(timeout) == []
        late.append(time.monotonic() - begun - timeout)
    selector.close()
    assert min(late) >= 0
    # At its best, since a busy machine may hold up any of them; epoll alone is late by 0.6 and 0.7 ms each time.
    assert min(late) < 0.0005


def test_the_selector_wakes_for_what_happens_meanwhile() -> None:
    selector = PromptSelector()
    ours, theirs = socket.socketpair()
    with ours, theirs, selector:
        selector.register(ours, selectors.EVENT_READ, "data")
        theirs.send(b"x")
        ((key, _),) = selector.select(5.0)
        assert key.data == "data"
