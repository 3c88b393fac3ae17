"""Who observes is told of each start and each end once, when it is recorded."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from pipesched.daemon.launch import Exit
from pipesched.daemon.observer import Ended
from support.scheduling import START, Daemon, job


class Notes:
    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.ended: list[Ended] = []

    def run_started(self, job_id: str, run_id: str) -> None:
        self.started.append((job_id, run_id))

    def run_ended(self, ended: Ended) -> None:
        self.ended.append(ended)

    def start(self) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def notes(daemon: Daemon) -> Notes:
    made = Notes()
    daemon.scheduler.recorder.observer = made
    return made


def run_once(daemon: Daemon, code: int, **policy: object) -> str:
    daemon.jobs(job("once", at=START + timedelta(seconds=1), **policy))
    daemon.pass_time(2)
    run_id = daemon.spawner.launched[-1].run_id
    daemon.scheduler.ended(Exit(run_id, code=code))
    return run_id


def test_a_start_and_an_end_are_told_once(daemon: Daemon, notes: Notes) -> None:
    run_id = run_once(daemon, 0)
    daemon.pass_time(5)
    assert notes.started == [("once", run_id)]
    assert notes.ended == [Ended(run_id, "once", "succeeded", 0, retrying=False)]


@pytest.mark.parametrize(("code", "retrying"), [(1, True), (2, False)])
def test_an_end_says_whether_another_attempt_follows(
    daemon: Daemon, notes: Notes, code: int, retrying: bool
) -> None:
    run_once(daemon, code, retries=1)
    assert [(each.status, each.exit_code, each.retrying) for each in notes.ended] == [
        ("failed", code, retrying)
    ]


def test_a_process_that_cannot_be_started_is_an_end(daemon: Daemon, notes: Notes) -> None:
    daemon.spawner.error = OSError(11, "Resource temporarily unavailable")
    daemon.jobs(job("once", at=START + timedelta(seconds=1)))
    daemon.pass_time(2)
    assert notes.started == []
    assert [each.status for each in notes.ended] == ["failed"]


def test_a_run_whose_store_is_busy_has_not_ended(daemon: Daemon, notes: Notes) -> None:
    run_once(daemon, 75)
    assert notes.ended == []


def test_a_run_that_an_earlier_daemon_started_is_told_when_it_ends(
    make_daemon: Callable[..., Daemon],
) -> None:
    first = make_daemon()
    first.jobs(job("once", at=START + timedelta(seconds=1)))
    first.pass_time(2)
    second = make_daemon()
    notes = Notes()
    second.scheduler.recorder.observer = notes
    second.jobs(job("once", at=START + timedelta(seconds=1)))
    second.recover()
    assert [each.status for each in notes.ended] == ["lost"]
