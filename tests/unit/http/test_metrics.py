"""The metrics that alerts stand on: collections, checks, the embedder, disks; bounded, and whole after a restart."""

import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.errors import PipeschedError, ServiceUnavailable
from pipesched.http.documents import Documents
from pipesched.http.metrics import MOST_MODELS
from pipesched.options import PipelineConfig
from pipesched.views.scheduler import SchedulerFacts
from support.machine import program
from support.world import NOW, World, WorldSource

RUNNING = SchedulerFacts(running=True, pid=42, started_at=NOW - timedelta(hours=3), last_tick=NOW)
ARCTIC = PipelineConfig(embedding_model="ollama:arctic", collection_name="arctic-posts")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, facts=RUNNING)


def down(_: object) -> dict[str, PipeschedError | None]:
    return {"ollama:arctic": ServiceUnavailable("no server", hint="ollama serve")}


def scrape(world: World) -> dict[str, float]:
    """As a daemon serves it that has just been started."""
    text = Documents(WorldSource(world), reach=down).metrics().body.decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_a_collection_has_its_own_series_and_they_survive_a_restart(world: World) -> None:
    world.job("hourly", 3600.0)
    world.job("weekly", "0 3 * * 0")
    world.ran("weekly", NOW - timedelta(hours=5), documents={"unchanged": 9, "chunks": 30})
    world.ran(
        "hourly", NOW - timedelta(hours=1), "partial",
        documents={"unchanged": 10, "failed": 1, "chunks": 33, "withheld": 4, "drifted": 2},
    )  # fmt: skip
    labels = f'{{collection="blog_documents",store="{world.home}/db/vector_store"}}'
    samples = scrape(world)
    mine = {name: value for name, value in samples.items() if name.startswith("pipesched_collection_")}
    assert mine == {
        f"pipesched_collection_last_success_timestamp_seconds{labels}": NOW.timestamp() - 3598,
        f"pipesched_collection_documents{labels}": 10,
        f"pipesched_collection_chunks{labels}": 33,
        f"pipesched_collection_failed_documents{labels}": 1,
        f"pipesched_collection_withheld_deletes{labels}": 4,
        f"pipesched_collection_drifted_chunks{labels}": 2,
    }
    assert scrape(world) == {
        name: pytest.approx(value, rel=1e-3) if "disk_free" in name else value
        for name, value in samples.items()
    }


def test_the_scheduler_the_checks_the_embedder_and_the_disks_are_told(world: World) -> None:
    world.job("nightly", "0 2 * * *", config=ARCTIC, since=NOW - timedelta(hours=9))
    world.job("off", enabled=False)
    world.ran("nightly", NOW - timedelta(hours=7, minutes=30), "failed", reason="no folder")
    samples = scrape(world)
    assert samples["pipesched_scheduler_start_timestamp_seconds"] == (NOW - timedelta(hours=3)).timestamp()
    assert samples["pipesched_scheduler_queue_length"] == 0
    assert samples['pipesched_embedder_up{model="ollama:arctic"}'] == 0
    assert samples["pipesched_health_status"] == 1
    checks = {name: value for name, value in samples.items() if "health_check_status" in name}
    assert {re.findall(r'"(.+)"', name)[0]: value for name, value in checks.items()} == {
        "job_file": 0, "scheduler": 0, "loop": 0, "disk": 0, "embedder": 1, "deletes": 0, "drift": 0, "jobs": 1,
    }  # fmt: skip
    assert samples['pipesched_job_health_status{job_id="nightly"}'] == 1
    assert samples['pipesched_job_failures_in_row{job_id="nightly"}'] == 1
    assert samples['pipesched_job_unmet_occurrences{job_id="nightly"}'] == 1
    assert samples['pipesched_job_paused{job_id="off"}'] == 1
    assert samples['pipesched_job_last_start_delay_seconds{job_id="nightly"}'] == 0
    free = [value for name, value in samples.items() if name.startswith("pipesched_disk_free_bytes")]
    size = [value for name, value in samples.items() if name.startswith("pipesched_disk_size_bytes")]
    assert len(free) == len(size) >= 1
    assert size[0] >= free[0] > 0


def test_what_waits_is_the_queue(world: World) -> None:
    from pipesched.runs.ledger import Ledger

    world.job("nightly")
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        assert ledger.claim("r1", "nightly", scheduled_for=NOW, attempt=1, trigger="schedule", now=NOW)
    assert scrape(world)["pipesched_scheduler_queue_length"] == 1


def test_a_late_start_is_measured_from_when_it_was_due(world: World) -> None:
    from pipesched.runs.ledger import Ledger

    world.job("nightly")
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        due = NOW - timedelta(minutes=2)
        assert ledger.claim("r1", "nightly", scheduled_for=due, attempt=1, trigger="schedule", now=NOW)
        ledger.started("r1", pid=1, pid_started=1, now=NOW)
        ledger.finish("r1", status="succeeded", exit_code=0, now=NOW)
    assert scrape(world)['pipesched_job_last_start_delay_seconds{job_id="nightly"}'] == 120


def test_a_store_from_hell_is_still_one_label(world: World) -> None:
    hell = PipelineConfig(storage_path='db/"x\\\n}\udcff', collection_name="hell")
    world.job("nightly", config=hell)
    world.ran("nightly", NOW - timedelta(hours=7), documents={"unchanged": 3})
    (name,) = [name for name in scrape(world) if name.startswith("pipesched_collection_documents")]
    assert name.endswith(r'/db/\"x\\\n}\\udcff"}')
    checked = subprocess.run(
        [program("promtool", "prometheus"), "check", "metrics"],
        input=Documents(WorldSource(world), reach=down).metrics().body,
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_series_are_bounded_by_the_job_file_and_by_a_cap(world: World) -> None:
    for number in range(MOST_MODELS + 5):
        model = PipelineConfig(embedding_model=f"ollama:m{number}", collection_name=f"posts-{number}")
        world.job(f"job{number}", config=model)
    world.ran("removed-job", NOW - timedelta(hours=7), documents={"unchanged": 1})
    world.ran(None, NOW - timedelta(hours=6), documents={"unchanged": 1})
    samples = scrape(world)
    assert not [name for name in samples if "removed-job" in name or 'job_id=""' in name]
    assert sum(name.startswith("pipesched_embedder_up") for name in samples) == MOST_MODELS
