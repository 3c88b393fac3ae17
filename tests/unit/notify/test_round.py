"""From the ledger to what is told, round by round."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.jobs.model import JobPolicy
from pipesched.notify.delivery import Delivered
from pipesched.notify.message import Message
from pipesched.notify.round import Rounds, base_command
from pipesched.notify.told import ToldFiles
from pipesched.runs.ledger import Ledger
from pipesched.runs.logs import log_path
from pipesched.settings import Paths
from pipesched.views.scheduler import SchedulerFacts
from support.world import World, WorldSource

HOUR = timedelta(hours=1)
TARGET = "json://one.example/"


@dataclass
class Letters:
    """A Courier that keeps what it is given; `down` are the targets that take nothing."""

    sent: list[tuple[str, Message]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    asked: int = 0

    unset: set[str] = field(default_factory=set)

    def unusable(self, target):
        return f"the variable {target.removeprefix('env:')} is not set" if target in self.unset else ""

    def send_all(self, letters):
        self.asked += len(letters)
        self.sent += [letter for letter in letters if letter[0] not in self.down]
        return [Delivered(target, "no connection" if target in self.down else "") for target, _ in letters]

    @property
    def titles(self) -> list[str]:
        return [message.title for _, message in self.sent]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Source(WorldSource):
    """The world's, whose job file is one object while it does not change, as the daemon's is."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.file = world.store.load()

    def job_file(self):
        return self.file


def rounds(world: World, letters: Letters) -> Rounds:
    return Rounds(Source(world), letters, ToldFiles(world.paths.notified_dir))  # type: ignore[arg-type]


def notifying(*targets: str, **policy) -> JobPolicy:
    return JobPolicy(notify=targets or (TARGET,), **policy)


def test_a_failure_is_told_once_even_by_another_daemon_and_recovery_once(world: World) -> None:
    world.job("nightly", 3600.0, policy=notifying(), since=world.now - HOUR / 2)
    world.ran("nightly", world.now - timedelta(minutes=9), "failed", reason="no model")
    letters = Letters()
    first = rounds(world, letters)
    first.go()
    first.go()
    rounds(world, letters).go()
    assert letters.titles == ["nightly failed"]
    assert "Last error: no model" in letters.sent[0][1].body
    world.ran("nightly", world.now - timedelta(minutes=2))
    rounds(world, letters).go()
    rounds(world, letters).go()
    assert letters.titles == ["nightly failed", "nightly recovered"]


@pytest.mark.parametrize(
    "said",
    [
        "hint: not this one\nerror: no model\nhint: ollama pull x\n",
        (
            '{"time": "2026", "level": "info", "logger": "pipesched", "message": "hint: not this one"}\n'
            '{"time": "2026", "level": "info", "logger": "pipesched", "message": "hint: ollama pull x", "run_id": "r"}\n'
        ),
    ],
)
def test_the_hint_is_the_last_one_that_the_run_printed(world: World, said: str) -> None:
    world.job("nightly", 3600.0, policy=notifying(), since=world.now - HOUR / 2)
    run_id = world.ran("nightly", world.now - timedelta(minutes=9), "failed", reason="no model")
    path = log_path(world.paths.logs_dir, run_id)
    path.parent.mkdir()
    path.write_text(said)
    letters = Letters()
    rounds(world, letters).go()
    assert "Hint: ollama pull x" in letters.sent[0][1].body


def test_a_failure_that_is_to_be_tried_again_waits_for_its_last_attempt(world: World) -> None:
    world.job("nightly", 3600.0, policy=notifying(retries=1), since=world.now - HOUR / 2)
    run_id = world.ran("nightly", world.now - timedelta(minutes=9), "failed")
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        ledger.plan_retry(run_id, world.now + HOUR)
    letters = Letters()
    rounds(world, letters).go()
    assert letters.titles == []


def test_a_job_without_a_success_for_two_periods_is_late(world: World) -> None:
    world.job("hourly", 3600.0, policy=notifying(), since=world.now - timedelta(hours=12))
    world.ran("hourly", world.now - timedelta(hours=3))
    letters = Letters()
    rounds(world, letters).go()
    rounds(world, letters).go()
    assert letters.titles == ["hourly is late"]


def test_a_late_job_that_has_just_been_started_or_whose_scheduler_has_is_given_time(world: World) -> None:
    world.job("hourly", 3600.0, policy=notifying(), since=world.now - timedelta(hours=12))
    world.ran("hourly", world.now - timedelta(hours=3))
    letters = Letters()
    world.facts = SchedulerFacts(running=True, started_at=world.now - timedelta(minutes=9))
    rounds(world, letters).go()
    world.facts = SchedulerFacts(running=True, started_at=world.now - timedelta(hours=9))
    running = world.ran("hourly", world.now - timedelta(minutes=1), "running")
    rounds(world, letters).go()
    assert letters.titles == []
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        ledger.finish(running, status="interrupted", now=world.now)
    rounds(world, letters).go()
    assert letters.titles == ["hourly is late"]


def test_missed_runs_are_told_with_their_reason(world: World) -> None:
    world.job("hourly", 3600.0, policy=notifying(), since=world.now - HOUR / 2)
    world.skipped("hourly", world.now - HOUR, world.now - HOUR / 4, 2, "missed", "no scheduler ran")
    letters = Letters()
    rounds(world, letters).go()
    assert letters.titles == ["hourly missed runs"]
    assert "missed 2 runs: no scheduler ran" in letters.sent[0][1].body


def test_a_job_that_paused_itself_is_told_with_how_to_resume_it(world: World) -> None:
    world.job("nightly", 3600.0, policy=notifying(pause_after_failures=1), since=world.now - HOUR / 2)
    world.ran("nightly", world.now - timedelta(minutes=9), "failed")
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        ledger.auto_pause("nightly", world.now, "paused after 1 failures in a row")
    letters = Letters()
    rounds(world, letters).go()
    assert letters.titles == ["nightly is paused after failures"]
    assert letters.sent[0][1].body.endswith("resume nightly")


def test_while_all_targets_are_down_it_is_asked_ever_less_often_and_told_when_one_is_back(
    world: World,
) -> None:
    world.job("nightly", 86400.0, policy=notifying(), since=world.now - HOUR / 2)
    world.ran("nightly", world.now - timedelta(minutes=9), "failed")
    letters = Letters(down={TARGET})
    telling = rounds(world, letters)
    for _ in range(600):
        telling.go()
        world.now += timedelta(seconds=30)
    assert 8 <= letters.asked <= 13  # 30 s, 1 min, 2 min ... 1 h, in five hours
    letters.down.clear()
    for _ in range(121):
        telling.go()
        world.now += timedelta(seconds=30)
    assert letters.titles[0] == "nightly failed"
    assert letters.titles.count("nightly failed") == 1


def test_one_target_that_works_is_enough(world: World) -> None:
    world.job("nightly", 3600.0, policy=notifying(TARGET, "json://dead.example/"), since=world.now - HOUR / 2)
    world.ran("nightly", world.now - timedelta(minutes=9), "failed")
    letters = Letters(down={"json://dead.example/"})
    telling = rounds(world, letters)
    telling.go()
    world.now += timedelta(minutes=2)
    telling.go()
    assert letters.titles == ["nightly failed"]


def test_a_hundred_failures_at_once_are_one_message(world: World) -> None:
    for number in range(20):
        world.job(f"job{number}", 3600.0, policy=notifying(), since=world.now - HOUR / 2)
        world.ran(f"job{number}", world.now - timedelta(minutes=9), "failed")
    letters = Letters()
    rounds(world, letters).go()
    rounds(world, letters).go()
    assert letters.titles == ["20 jobs are not well"]


def test_a_job_with_nobody_to_tell_is_not_even_looked_at(world: World) -> None:
    world.job("nightly", 3600.0)
    telling = rounds(world, Letters())
    assert telling.idle
    telling.go()


def test_the_command_line_works_from_any_folder(tmp_path: Path) -> None:
    paths = Paths.resolve(file="/srv/blog/schedules.json", environ={}, cwd=tmp_path)
    assert base_command(paths) == ("pipesched", "--file", "/srv/blog/schedules.json")
    elsewhere = replace(paths, state_dir=Path("/var/lib/pipesched"))
    assert base_command(elsewhere)[-2:] == ("--state-dir", "/var/lib/pipesched")
