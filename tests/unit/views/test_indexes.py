"""Collections over a real job file and ledger: whose, how fresh, what they hold."""

from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.errors import PipeschedError, ServiceUnavailable
from pipesched.options import PipelineConfig
from pipesched.runs.ledger import Ledger
from pipesched.views.glance import lines
from pipesched.views.indexes import places
from pipesched.views.snapshot import Memory
from pipesched.views.status import status_document
from pipesched.views.vitals import health_facts
from support.world import NOW, World

NOTHING = PipelineConfig()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_two_jobs_that_share_a_collection_are_as_fresh_as_the_newer_sync(world: World) -> None:
    world.job("hourly", 3600.0)
    world.job("weekly", "0 3 * * 0")
    world.job("notes", "0 4 * * *", config=PipelineConfig(collection_name="notes"))
    world.ran("weekly", NOW - timedelta(hours=5), documents={"unchanged": 9, "chunks": 30})
    world.ran(
        "hourly", NOW - timedelta(hours=2), "partial", reason="1 document failed",
        documents={"unchanged": 10, "new": 1, "failed": 1, "chunks": 33, "withheld": 4, "drifted": 2},
    )  # fmt: skip
    world.ran("hourly", NOW - timedelta(hours=1), "failed", reason="no server")
    shared, notes = status_document(world.snapshot())["collections"]
    assert shared == {
        "collection_name": "blog_documents",
        "storage_path": str(world.home / "db" / "vector_store"),
        "jobs": ["hourly", "weekly"],
        "last_success": (NOW - timedelta(hours=2) + timedelta(seconds=2)).isoformat(),
        "age_seconds": 7198.0,
        "documents": 11,
        "chunks": 33,
        "failed_documents": 1,
        "withheld_deletes": 4,
        "drifted_chunks": 2,
        "last_status": "failed",
        "last_error": "no server",
    }
    assert (notes["collection_name"], notes["jobs"]) == ("notes", ["notes"])
    assert (notes["last_success"], notes["age_seconds"], notes["documents"], notes["last_error"]) == (
        None,
    ) * 4


def test_people_are_told_of_each_collection_the_stalest_first(world: World) -> None:
    world.job("nightly")
    world.job("notes", config=PipelineConfig(collection_name="notes"))
    world.job("drafts", config=PipelineConfig(collection_name="drafts"))
    world.ran(
        "nightly", NOW - timedelta(hours=3), "partial",
        documents={"unchanged": 12, "failed": 1, "chunks": 40, "withheld": 3, "drifted": 1},
    )  # fmt: skip
    world.ran("notes", NOW - timedelta(hours=8), documents={"new": 1, "chunks": 1})
    told = [line for line in lines(world.snapshot()) if line.startswith("index:")]
    assert told[:2] == [
        "index:     drafts: no sync by its jobs yet",
        "index:     notes: 7 h 59 min old, 1 document, 1 chunk",
    ]
    held, _, wrong = told[2].partition("; ")
    assert held == "index:     blog_documents: 2 h 59 min old, 12 documents, 40 chunks"
    assert wrong == "1 document failed, deletes of 3 withheld, 1 chunk changed by others"


def test_a_collection_is_one_however_its_folder_is_written(world: World) -> None:
    (world.home / "db").mkdir()
    (world.home / "link").symlink_to(world.home / "db")
    for number, path in enumerate(("db/store", "link/store", "./db/../db/store", "http://host:8000")):
        world.job(f"j{number}", config=PipelineConfig(storage_path=path))
    found = places(world.store.load(), NOTHING, world.home)
    assert [(place.storage, place.job_ids, place.server) for place in found] == [
        (str(world.home / "db" / "store"), ("j0", "j1", "j2"), False),
        ("http://host:8000", ("j3",), True),
    ]


def test_dry_jobs_write_to_no_collection_and_the_environment_counts(world: World) -> None:
    world.job("check", config=PipelineConfig(dry_run=True))
    world.job("nightly")
    (place,) = places(world.store.load(), PipelineConfig(collection_name="from-environment"), world.home)
    assert (place.name, place.job_ids) == ("from-environment", ("nightly",))


def test_places_are_found_out_once_for_a_job_file(world: World) -> None:
    world.job("nightly")
    memory, job_file = Memory(), world.store.load()
    first = memory.places(job_file, NOTHING, world.home)
    assert memory.places(job_file, NOTHING, world.home) is first
    world.job("other", config=PipelineConfig(collection_name="other"))
    assert len(memory.places(world.store.load(), NOTHING, world.home)) == 2


def test_a_job_says_what_of_it_failed(world: World) -> None:
    world.job("nightly")
    world.ran(
        "nightly", NOW - timedelta(hours=7), "partial", reason="deletes of 3 withheld",
        documents={"unchanged": 5, "failed": 2, "withheld": 3, "chunks": 9},
    )  # fmt: skip
    (job,) = status_document(world.snapshot())["jobs"]
    assert (job["failed_documents"], job["withheld_deletes"], job["drifted_chunks"]) == (2, 3, 0)
    assert (job["documents"], job["last_error"]) == (5, "deletes of 3 withheld")


def test_withheld_deletes_and_drift_reach_health_and_end_with_the_next_sync(world: World) -> None:
    world.job("nightly")
    world.ran("nightly", NOW - timedelta(hours=9), "partial", documents={"withheld": 3, "drifted": 2})
    checks = world.health().checks
    assert (checks["deletes"].status, checks["drift"].status) == ("warn", "warn")
    world.ran("nightly", NOW - timedelta(hours=7), documents={"unchanged": 3})
    checks = world.health().checks
    assert (checks["deletes"].status, checks["drift"].status) == ("pass", "pass")


def test_what_is_no_outcome_is_not_counted_among_documents(world: World) -> None:
    world.ran("nightly", NOW, documents={"new": 1, "chunks": 4, "withheld": 3, "drifted": 2})
    with Ledger.open(world.paths.ledger, create=False) as ledger:
        assert ledger.totals().documents == {"new": 1}


def test_only_models_of_enabled_jobs_are_asked_for_and_each_once(world: World) -> None:
    asked: list[list[str]] = []

    def reach(models) -> dict[str, PipeschedError | None]:
        asked.append(list(models))
        return {"ollama:arctic": ServiceUnavailable("no server", hint="ollama serve")}

    arctic = PipelineConfig(embedding_model="ollama:arctic")
    world.job("one", config=arctic)
    world.job("two", config=replace_collection(arctic, "two-posts"))
    world.job(
        "paused",
        config=PipelineConfig(embedding_model="ollama:other", collection_name="other"),
        enabled=False,
    )
    world.job("mini", config=PipelineConfig(collection_name="mini-posts"))
    check = world.health(reach=reach).checks["embedder"]
    assert asked == [["ollama:arctic", "onnx:all-MiniLM-L6-v2"]]
    assert (check.status, check.hint) == ("warn", "ollama serve")
    assert world.health().checks["embedder"].status == "pass", "nobody asked, and no run failed"


def replace_collection(config: PipelineConfig, name: str) -> PipelineConfig:
    return config.model_copy(update={"collection_name": name})


def test_a_run_that_found_no_embedder_makes_health_say_so(world: World) -> None:
    world.job("nightly", config=PipelineConfig(embedding_model="ollama:arctic"))
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        at = NOW - timedelta(hours=7)
        ledger.begin_manual("r1", "nightly", now=at, pid=1, dry_run=False)
        ledger.finish("r1", status="failed", exit_code=69, reason="no Ollama server answers", now=at)
    check = world.health().checks["embedder"]
    assert (check.status, "no Ollama server answers" in check.message) == ("warn", True)
    assert check.hint == "pipesched doctor --job nightly"
    down: dict[str, PipeschedError | None] = {"ollama:arctic": ServiceUnavailable("refused", hint="serve")}
    assert world.health(reach=lambda _: down).checks["embedder"].status == "fail"
    assert world.health(reach=lambda _: {"ollama:arctic": None}).checks["embedder"].status == "pass"


def test_the_disks_of_the_stores_are_judged_too(world: World) -> None:
    world.job("nightly", config=PipelineConfig(storage_path="/dev/shm/pipesched-not-there"))
    message = world.health().checks["disk"].message
    with Ledger.open(world.paths.ledger, create=False) as ledger:
        disks = health_facts(world.snapshot(), ledger=ledger, environment=NOTHING).disks
    assert "state" in disks[0].what, message
    assert sum("the store" in disk.what for disk in disks) == 1


def test_a_snapshot_without_the_environment_knows_of_no_collections(world: World) -> None:
    world.job("nightly")
    shot = world.snapshot(environment=None)
    assert shot.collections == ()
    assert shot.jobs.keys() == {"nightly"}


def test_collections_of_one_name_are_told_apart_by_their_stores(world: World) -> None:
    for job_id, store in (("a", "one"), ("b", "two")):
        world.job(job_id, config=PipelineConfig(storage_path=store))
    world.job("c", config=PipelineConfig(storage_path="two", collection_name="other"))
    told = [line.split(": ", 1)[1].strip() for line in lines(world.snapshot()) if line.startswith("index:")]
    assert sorted(told) == [
        f"blog_documents in {world.home}/one: no sync by its jobs yet",
        f"blog_documents in {world.home}/two: no sync by its jobs yet",
        "other: no sync by its jobs yet",
    ]
