"""When what is old is pruned, and that nobody waits for it."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipesched.daemon.housekeeping import AGAIN_SECONDS, LONGEST_SECONDS, Housekeeper
from support.scheduling import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Kept:
    def __init__(self, folder: Path, clock: FakeClock, script: str) -> None:
        self.folder, self.clock = folder, clock
        code = f"import os, time, sys; open({str(folder / 'ran')!r}, 'a').write('x'); {script}"
        self.keeper = Housekeeper(
            [sys.executable, "-c", code],
            folder / "pruned",
            clock=clock,
            environ={**os.environ, "PIPESCHED_HTTP_TOKEN": "CANARY"},
            first=600.0,
        )

    @property
    def ran(self) -> int:
        path = self.folder / "ran"
        return len(path.read_text()) if path.exists() else 0

    def look(self, *, until_ran: int | None = None) -> None:
        self.keeper.look()
        deadline = time.monotonic() + 10
        while until_ran is not None and self.ran < until_ran:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if self.keeper._child is not None and until_ran is not None:
            self.keeper._child.wait(10)
            self.keeper.look()

    def stamp(self) -> None:
        (self.folder / "pruned").touch()
        at = self.clock.now().timestamp()
        os.utime(self.folder / "pruned", (at, at))


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock) -> Iterator:
    made: list[Kept] = []

    def make(script: str = "pass") -> Kept:
        made.append(Kept(tmp_path, clock, script))
        return made[-1]

    yield make
    for kept in made:
        kept.keeper.stop()


def test_it_waits_after_the_start_then_once_a_day(make, clock) -> None:
    kept = make()
    kept.look()
    clock.pass_time(599)
    kept.look()
    assert kept.ran == 0
    clock.pass_time(2)
    kept.look(until_ran=1)
    kept.stamp()
    clock.pass_time(86_000)
    kept.look()
    assert kept.ran == 1
    clock.pass_time(401)
    kept.look(until_ran=2)


def test_a_pruning_by_hand_counts(make, clock) -> None:
    kept = make()
    clock.pass_time(601)
    kept.stamp()
    kept.look()
    assert kept.keeper._child is None


def test_a_stamp_from_the_future_does_not_stop_it_for_ever(make, clock) -> None:
    kept = make()
    clock.pass_time(1_000_000)
    kept.stamp()
    from datetime import timedelta

    clock.set_wall(-timedelta(days=3))
    kept.look(until_ran=1)


def test_one_that_fails_is_tried_again_in_an_hour(make, clock, caplog) -> None:
    kept = make("sys.exit(65)")
    clock.pass_time(601)
    kept.look(until_ran=1)
    assert "exit status 65" in caplog.text
    clock.pass_time(AGAIN_SECONDS - 10)
    kept.look()
    assert kept.keeper._child is None
    clock.pass_time(11)
    kept.look(until_ran=2)


def test_one_that_hangs_is_killed_and_nobody_waits_for_it(make, clock) -> None:
    kept = make("time.sleep(60)")
    clock.pass_time(601)
    began = time.monotonic()
    kept.look()
    kept.look()
    assert time.monotonic() - began < 1
    clock.pass_time(LONGEST_SECONDS + 1)
    kept.look()
    assert kept.keeper._child.wait(5) < 0


def test_it_ends_with_the_daemon(make, clock) -> None:
    kept = make("time.sleep(60)")
    clock.pass_time(601)
    kept.look()
    child = kept.keeper._child
    kept.keeper.stop()
    assert child.poll() is not None


def test_it_is_not_given_what_it_does_not_need(make, clock, tmp_path) -> None:
    kept = make(f"open({str(tmp_path / 'env')!r}, 'w').write(repr(dict(os.environ)))")
    clock.pass_time(601)
    kept.look(until_ran=1)
    assert "CANARY" not in (tmp_path / "env").read_text()


def test_a_program_that_is_not_there_is_said(tmp_path, clock, caplog) -> None:
    keeper = Housekeeper(["/nowhere/python"], tmp_path / "pruned", clock=clock, environ={}, first=0)
    keeper.look()
    assert "cannot be pruned" in caplog.text
