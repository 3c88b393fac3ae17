"""`doctor`, `prune`, `notify-test` as programs meet them."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.files import KernelLock
from pipesched.options import PipelineConfig
from support.command import pipesched
from support.webhook import Webhook
from support.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, now=datetime.now(UTC))
    made.job("nightly", "0 2 * * *")
    for days in (200, 100, 1):
        made.ran("nightly", made.now - timedelta(days=days), report=True)
    return made


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


# prune


def test_prune_says_what_would_go_and_changes_nothing(world: World) -> None:
    before = everything(world.home)
    done = pipesched("prune", "--dry-run", "--json", cwd=world.home)
    assert done.code == 0, done.err
    assert done.json["dry_run"] is True
    assert done.json["keep"] == {"days": 90, "runs": 10_000}
    assert done.json["pruned"] == {
        "runs": 2, "logs": 0, "reports": 2, "statistics": 0, "embeddings": 0, "manifests": 0,
    }  # fmt: skip
    assert [run["job_id"] for run in done.json["runs"]] == ["nightly", "nightly"]
    assert everything(world.home) == before


def test_prune_deletes_what_it_said_it_would_and_is_done_then(world: World) -> None:
    said = pipesched("prune", "--dry-run", "--keep-days", "150", "--json", cwd=world.home).json["pruned"]
    done = pipesched("prune", "--keep-days", "150", "--json", cwd=world.home).json
    assert done["pruned"] == said
    assert said["runs"] == 1
    assert len(list(world.paths.output_dir.iterdir())) == 2
    assert pipesched("prune", "--keep-days", "150", "--json", cwd=world.home).json["pruned"]["runs"] == 0
    plain = pipesched("prune", "--keep-runs", "1", cwd=world.home)
    assert plain.out.splitlines()[0].split() == ["what", "gone", "size", "because"]
    assert len(pipesched("history", "--json", cwd=world.home).json["runs"]) == 1


def test_prune_gives_the_disk_back_what_rows_have_left(world: World) -> None:
    path = world.paths.ledger
    with sqlite3.connect(path) as db:  # what a ledger of many runs has become when they have gone
        db.execute("CREATE TABLE filler (text)")
        db.executemany("INSERT INTO filler VALUES (?)", (("x" * 1000,) for _ in range(2500)))
        db.execute("DROP TABLE filler")
    db.close()
    large = path.stat().st_size
    said = pipesched("prune", "--dry-run", "--json", cwd=world.home).json["given_back_bytes"]
    done = pipesched("prune", "--json", cwd=world.home).json["given_back_bytes"]
    assert done >= said > 2_000_000
    assert path.stat().st_size < large / 5
    assert pipesched("prune", "--json", cwd=world.home).json["given_back_bytes"] == 0


def test_prune_without_a_state_folder_makes_none(tmp_path: Path) -> None:
    for arguments in (("--dry-run",), ()):
        assert pipesched("prune", *arguments, "--json", cwd=tmp_path).json["pruned"]["runs"] == 0
    assert list(tmp_path.iterdir()) == []


def test_one_prunes_at_a_time(world: World) -> None:
    with KernelLock(world.paths.state_dir / "prune.lock") as lock:
        assert lock.try_acquire()
        done = pipesched("prune", "--json", cwd=world.home)
    assert (done.code, done.json["error"]["code"]) == (75, "busy")


def test_a_damaged_job_file_stops_a_prune_before_it_deletes(world: World) -> None:
    world.paths.job_file.write_text("{")
    assert pipesched("prune", "--json", cwd=world.home).code == 65
    assert len(list(world.paths.output_dir.iterdir())) == 3


@pytest.mark.parametrize("arguments", [("--keep-days", "-1"), ("--keep-runs", "0"), ("--keep-days", "x")])
def test_what_cannot_be_kept_is_refused(world: World, arguments: tuple[str, str]) -> None:
    assert pipesched("prune", *arguments, "--json", cwd=world.home).code == 2


# doctor


def test_doctor_is_a_document_of_checks_and_writes_nothing(world: World) -> None:
    (world.home / "data").mkdir()
    (world.home / "data" / "one.md").write_text("# One")
    before = everything(world.home)
    done = pipesched("doctor", "--json", cwd=world.home)
    assert done.code == 0, done.out
    assert done.json["status"] == "warn"  # no scheduler
    assert done.json["checks"].keys() >= {
        "python", "packages", "clock", "zones", "job_file", "state_folder", "output_folder", "data_folder", "disk", "store",
        "embedder", "scheduler", "systemd", "port", "notifications",
    }  # fmt: skip
    assert all(check.keys() == {"status", "message", "hint"} for check in done.json["checks"].values())
    bad = {name: check for name, check in done.json["checks"].items() if check["status"] != "pass"}
    assert all(check["hint"] for check in bad.values()), bad
    assert everything(world.home) == before


def test_doctor_fails_where_something_does(world: World) -> None:
    done = pipesched("doctor", "--data-dir", "nowhere", cwd=world.home)
    assert done.code == 1
    assert "fail  data_folder: the data folder" in done.out
    assert done.out.splitlines()[-1] == "doctor: fail"


def test_doctor_takes_a_jobs_options_and_knows_no_other_job(world: World) -> None:
    pipesched("edit", "nightly", "--data-dir", "elsewhere", cwd=world.home)
    found = pipesched("doctor", "--job", "nightly", "--json", cwd=world.home)
    assert "elsewhere" in found.json["checks"]["data_folder"]["message"]
    assert pipesched("doctor", "--job", "nightl", "--json", cwd=world.home).code == 4


def test_doctor_looks_at_what_the_enabled_jobs_use(tmp_path: Path) -> None:
    world = World(tmp_path, now=datetime.now(UTC))
    for name in ("blog", "notes"):
        (world.home / name).mkdir()
        (world.home / name / "one.md").write_text("# One\n\nText.\n")
        world.job(name, config=PipelineConfig(data_dir=name, storage_path="db/store", collection_name=name))
    world.job("off", enabled=False, config=PipelineConfig(data_dir="nowhere"))
    assert pipesched("run", "blog", "--json", cwd=world.home).code == 0
    done = pipesched("doctor", "--json", cwd=world.home)
    assert done.code == 0, done.out
    checks = done.json["checks"]
    assert {name for name in checks if name.startswith(("data_folder", "store:", "collection"))} == {
        "data_folder:blog", "data_folder:notes", "store:blog", "store:notes", "collection:blog",
    }  # fmt: skip
    assert checks["embedder"]["status"] == "pass"  # one model, tried once
    flagged = pipesched("doctor", "--data-dir", "nowhere", "--json", cwd=world.home)
    assert flagged.json["checks"]["data_folder"]["status"] == "fail"


def test_doctor_finds_a_damaged_job_file_and_goes_on(world: World) -> None:
    world.paths.job_file.write_text("{")
    done = pipesched("doctor", "--json", cwd=world.home)
    assert done.code == 1
    assert done.json["checks"]["job_file"]["status"] == "fail"
    assert done.json["checks"]["embedder"]["status"] == "pass"


# notify-test


def test_notify_test_reaches_a_jobs_targets_and_a_url(world: World) -> None:
    with Webhook() as hook:
        url = f"json://x:CANARY@{hook.address}/CANARY"
        pipesched("edit", "nightly", "--notify", "env:ALERTS", cwd=world.home)
        done = pipesched("notify-test", "nightly", "--json", cwd=world.home, env={"ALERTS": url})
        assert (done.code, done.json["targets"]) == (0, [{"target": "env:ALERTS", "ok": True, "message": ""}])
        done = pipesched("notify-test", "--url", url, cwd=world.home)
        assert (done.code, len(hook.requests)) == (0, 2)
        assert "CANARY" not in done.out + done.err
        assert done.out == f"ok      json://***@{hook.address}/***\n"


def test_health_knows_what_notify_test_found_out(world: World) -> None:
    def notifications() -> str:
        health = pipesched("health", "--no-scheduler", "--json", cwd=world.home)
        assert "CANARY" not in health.out
        return health.json["checks"]["notifications"]["status"]

    with Webhook(status=403) as hook:
        pipesched("edit", "nightly", "--notify", "env:ALERTS", cwd=world.home)
        alerts = {"ALERTS": f"json://{hook.address}/CANARY"}
        assert notifications() == "pass"
        assert pipesched("notify-test", "nightly", cwd=world.home, env=alerts).code == 69
        assert notifications() == "warn"
    with Webhook() as hook:
        alerts = {"ALERTS": f"json://{hook.address}/CANARY"}
        assert pipesched("notify-test", "nightly", cwd=world.home, env=alerts).code == 0
        assert notifications() == "pass"


def test_notify_test_says_which_target_did_not_take_it(world: World) -> None:
    with Webhook(status=403) as hook:
        done = pipesched("notify-test", "--url", f"json://{hook.address}/CANARY", "--json", cwd=world.home)
    assert done.code == 69
    [target] = done.json["targets"]
    assert (target["ok"], target["message"]) == (False, "it answered 403")
    assert "CANARY" not in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nightly",), 2), ((), 2), (("nightly", "--url", "json://host/"), 2), (("nobody",), 4),
        (("--url", "no url"), 2), (("--url", "json://169.254.169.254/"), 2), (("--url", "xml://[fe80::1]/"), 2),
    ],
)  # fmt: skip
def test_what_notify_test_refuses(world: World, arguments: tuple[str, ...], code: int) -> None:
    done = pipesched("notify-test", *arguments, "--json", cwd=world.home)
    assert (done.code, "error" in done.json) == (code, True)


@pytest.mark.parametrize("option", ["--ping", "--notify"])
def test_a_job_cannot_be_given_a_metadata_service_as_a_target(world: World, option: str) -> None:
    url = "http://169.254.169.254/CANARY" if option == "--ping" else "json://169.254.169.254/CANARY"
    for command in (("add-cron", "other", "@daily"), ("edit", "nightly")):
        done = pipesched(*command, option, url, "--json", cwd=world.home)
        assert (done.code, done.json["error"]["code"]) == (2, "invalid_value")
        assert "CANARY" not in done.out + done.err
    allowed = {"PIPESCHED_ALLOW_LINK_LOCAL": "1"}
    assert pipesched("edit", "nightly", option, url, cwd=world.home, env=allowed).code == 0
