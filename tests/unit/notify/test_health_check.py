"""Health says when nobody can be told."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.jobs.model import JobPolicy
from pipesched.notify.delivery import Courier
from pipesched.notify.round import Rounds
from pipesched.notify.told import ToldFiles
from pipesched.options import PipelineConfig
from pipesched.runs.ledger import Ledger
from pipesched.views.health import Check, health
from pipesched.views.snapshot import take
from pipesched.views.vitals import health_facts
from support.world import World, WorldSource

NOTIFY = JobPolicy(notify=("json://host/",))


def check(world: World) -> Check | None:
    with Ledger.open(world.paths.ledger, create=False) as ledger:
        snapshot = take(
            now=world.now, paths=world.paths, job_file=world.store.load(), facts=world.facts, ledger=ledger
        )
        facts = health_facts(snapshot, ledger=ledger, environment=PipelineConfig(), no_scheduler=True)
    return health(facts).checks.get("notifications")


def test_it_is_asked_only_where_a_job_that_fires_notifies(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.job("plain")
    world.job("paused", policy=NOTIFY, enabled=False, paused_at=world.now)
    assert check(world) is None
    world.job("telling", policy=NOTIFY)
    assert check(world) == Check("pass", "1 job with somebody to tell")


def test_without_apprise_it_warns_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    world = World(tmp_path)
    world.job("telling", policy=NOTIFY)
    found = check(world)
    assert found is not None
    assert (found.status, "pip install 'pipesched[notify]'" in found.hint) == ("warn", True)


def go(world: World, **environ: str) -> None:
    told = ToldFiles(world.paths.notified_dir)
    Rounds(WorldSource(world), Courier(environ, deadline=20.0, tries=1), told).go()


def test_a_variable_that_the_daemon_does_not_have_is_told_before_there_is_anything_to_tell(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.job("nightly", policy=JobPolicy(notify=("env:ALERTS",)), since=world.now)
    go(world)
    found = check(world)
    assert found is not None
    assert (found.status, found.message) == (
        "warn",
        "targets take nothing: job nightly: env:ALERTS: the variable ALERTS is not set",
    )
    assert found.hint.endswith("pipesched notify-test nightly")
    go(world, ALERTS="json://host/")
    assert check(world) == Check("pass", "1 job with somebody to tell")


def test_a_target_that_took_nothing_is_told_without_its_secret_until_the_job_has_another(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.job("nightly", policy=JobPolicy(notify=("env:ALERTS",)), since=world.now - timedelta(hours=1))
    world.ran("nightly", world.now - timedelta(minutes=9), "failed", reason="no model")
    go(world, ALERTS="nosuchthing://hunter2/")
    found = check(world)
    assert found is not None
    assert (found.status, "env:ALERTS: Apprise does not know such a URL" in found.message) == ("warn", True)
    kept = (world.paths.notified_dir / ".refusals.json").read_text()
    assert "hunter2" not in kept + found.message
    world.store.remove(["nightly"])
    world.job("weekly", policy=NOTIFY, since=world.now)
    assert check(world) == Check("pass", "1 job with somebody to tell")
    go(world, ALERTS="")
    assert (world.paths.notified_dir / ".refusals.json").read_text() == "{}", "no job has it any more"


def test_a_damaged_file_of_refusals_holds_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.job("nightly", policy=NOTIFY)
    world.paths.notified_dir.mkdir(parents=True)
    for bad in (b"", b"[1]", b'{"a": 1}', b'{"a": {}}', b"\xff"):
        (world.paths.notified_dir / ".refusals.json").write_bytes(bad)
        assert check(world) == Check("pass", "1 job with somebody to tell")
