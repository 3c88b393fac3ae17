"""Health says when nobody can be told."""

import sys
from pathlib import Path

import pytest

from pipesched.jobs.model import JobPolicy
from pipesched.options import PipelineConfig
from pipesched.runs.ledger import Ledger
from pipesched.views.health import Check, health
from pipesched.views.snapshot import take
from pipesched.views.vitals import health_facts
from support.world import World

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
