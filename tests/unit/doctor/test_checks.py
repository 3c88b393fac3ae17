"""Each check on a machine that has it right, and on one that has it wrong."""

import os
import re
import socket
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipesched.doctor import clocks, embedding, folders, service, software, store, telling
from pipesched.doctor.examine import FAMILIES, examine
from pipesched.doctor.patient import Patient
from pipesched.errors import DataError, InvalidValue
from pipesched.files import KernelLock
from pipesched.jobs.model import JobPolicy
from pipesched.options import PipelineOptions
from pipesched.pipeline.stores import lock_path
from pipesched.pipeline.stores.inspection import Inspected
from pipesched.pipeline.stores.mark import Mark
from pipesched.views.health import Check
from pipesched.views.scheduler import SchedulerFacts
from support.ollama_server import OllamaServer
from support.world import World

ROOT = Path(__file__).parents[3]


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "posts").mkdir()
    (tmp_path / "posts" / "one.md").write_text("# One")
    return World(tmp_path, now=datetime.now(UTC))


def patient(world: World, **changes) -> Patient:
    options = PipelineOptions(
        data_dir=str(world.home / "posts"), storage_path=str(world.home / "db" / "vector_store")
    )
    return replace(
        Patient(
            paths=world.paths,
            now=world.now,
            environ={},
            job_file=world.store.load(),
            job_file_error=None,
            options=options,
        ),
        **changes,
    )


# software


def test_what_is_known_good_is_what_the_tests_run_with() -> None:
    pinned = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert {name: pinned.get(name) for name in software.KNOWN_GOOD} == software.KNOWN_GOOD
    assert software.required().keys() <= software.KNOWN_GOOD.keys()


@pytest.mark.parametrize(
    ("version", "bounds", "good"),
    [
        ("1.5.9", ">=1.5.9,<2", True), ("1.5.8", ">=1.5.9,<2", False), ("2.0", ">=1.5.9,<2", False), ("1.10", ">=1.9", True),
        ("7.0.0", ">=7,<8", True), ("1.0.0", "==1.0.0", True), ("1.0.1", "==1.0.0", False), ("3", "", True),
        ("2.0rc1", ">=2", True), ("1.0", "==1.0.0", True),
    ],
)  # fmt: skip
def test_versions_are_compared_number_by_number(version: str, bounds: str, good: bool) -> None:
    assert software.satisfies(version, bounds) is good


def test_this_environment_is_sound() -> None:
    assert {name: check.status for name, check in software.check(None).items()} == {  # type: ignore[arg-type]
        "python": "pass", "sqlite": "pass", "packages": "pass",
    }  # fmt: skip


def test_a_package_that_is_missing_or_too_old_fails_with_how_to_install_it() -> None:
    check = software.check_packages({"no-such-package": ">=2", "rich": ">=99", "typer": ""})
    assert check.status == "fail"
    assert "no-such-package is not installed; rich 15" in check.message
    assert check.hint.endswith("-m pip install 'no-such-package>=2' 'rich>=99'")


# clock and zones


def test_a_clock_that_cannot_be_right_fails(world: World) -> None:
    assert clocks.check_clock(patient(world)).status == "pass"
    for year in (1970, 2025, 2100):
        check = clocks.check_clock(patient(world, now=datetime(year, 1, 2, tzinfo=UTC)))
        assert (check.status, "timedatectl" in check.hint) == ("fail", True)


def test_files_of_our_own_from_the_future_say_that_the_clock_went_back(world: World) -> None:
    world.job("nightly")
    world.ran("nightly", world.now)
    later = time.time() + 7200
    os.utime(world.paths.ledger, (later, later))
    check = clocks.check_clock(patient(world))
    assert (check.status, "went back" in check.message) == ("warn", True)


def test_zone_data_is_there(world: World) -> None:
    world.job("nightly", timezone="Asia/Kathmandu")
    assert clocks.check_zones(patient(world)).status == "pass"


# folders


def statuses(world: World, **changes) -> dict[str, str]:
    there = patient(world, **changes)
    found = {**folders.check(there), **folders.check_data(there)}
    return {name: check.status for name, check in found.items()}


def test_a_sound_project_passes(world: World) -> None:
    world.job("nightly")
    assert set(statuses(world).values()) == {"pass"}
    assert not world.paths.state_dir.exists()  # nothing is made


def test_no_job_file_is_a_warning_and_a_damaged_one_a_failure(world: World) -> None:
    assert statuses(world)["job_file"] == "warn"
    error = DataError("it is damaged", hint="mend it")
    check = folders.check(patient(world, job_file_error=error))["job_file"]
    assert (check.status, check.hint) == ("fail", "mend it")


def test_a_data_folder_that_is_missing_or_empty_is_said(world: World) -> None:
    (world.home / "posts" / "one.md").unlink()
    assert statuses(world)["data_folder"] == "warn"
    (world.home / "posts").rmdir()
    assert statuses(world)["data_folder"] == "fail"
    (world.home / "posts").write_text("a file")
    assert statuses(world)["data_folder"] == "fail"


def test_a_state_folder_that_others_could_use_or_have_planted_is_said(world: World, tmp_path: Path) -> None:
    state = world.paths.state_dir
    state.mkdir(mode=0o700)
    assert statuses(world)["state_folder"] == "pass"
    state.chmod(0o755)
    check = folders.check(patient(world))["state_folder"]
    assert (check.status, check.hint) == ("warn", f"chmod 700 {state}")
    state.rmdir()
    state.symlink_to(tmp_path)
    assert statuses(world)["state_folder"] == "fail"


def test_a_folder_that_cannot_be_written_fails(world: World) -> None:
    world.paths.output_dir.write_text("a file")
    assert statuses(world)["output_folder"] == "fail"


def test_the_file_system_of_a_folder_is_known() -> None:
    assert folders.file_system(Path("/proc/self")) == "proc"


def test_a_mount_is_known_whatever_characters_its_name_has(tmp_path: Path) -> None:
    shared = tmp_path / "büro one\\two\u2028three"
    written = str(shared).replace("\\", "\\134").replace(" ", "\\040")
    (tmp_path / "mounts").write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {written} nfs4 rw 0 0\n")
    assert folders.file_system(shared / "state", tmp_path / "mounts") == "nfs4"
    assert folders.file_system(tmp_path / "state", tmp_path / "mounts") == "ext4"
    assert folders.file_system(shared, tmp_path / "nothing") == ""


def test_a_file_that_a_run_removed_while_doctor_looked_is_no_fault(tmp_path: Path) -> None:
    assert not folders.is_anothers(tmp_path / "ledger.sqlite3-wal")


def test_a_network_file_system_is_warned_of() -> None:
    assert folders.check_file_system("ext4").status == "pass"
    check = folders.check_file_system("nfs4")
    assert (check.status, "--state-dir" in check.hint) == ("warn", True)


# store


def test_a_store_that_is_not_there_yet_is_fine(world: World) -> None:
    found = store.check(patient(world))
    assert {name: check.status for name, check in found.items()} == {
        "store": "pass", "store_version": "pass", "store_lock": "pass",
    }  # fmt: skip
    assert found["store_lock"].message.startswith("free")
    assert not (world.home / "db").exists()


def test_a_store_that_cannot_be_made_fails(world: World) -> None:
    (world.home / "db").write_text("a file, which can be run")
    (world.home / "db").chmod(0o755)
    check = store.check(patient(world))["store"]
    assert (check.status, "cannot be made in" in check.message) == ("fail", True)


def test_a_damaged_store_fails_with_the_way_back(world: World) -> None:
    folder = Path(patient(world).options.storage_path)
    folder.mkdir(parents=True)
    (folder / "chroma.sqlite3").write_bytes(b"garbage" * 1000)
    check = store.check(patient(world))["store"]
    assert (check.status, "rebuild" in check.hint) == ("fail", True)


def test_a_damaged_index_fails_with_the_way_back(world: World) -> None:
    found = Inspected(rows=1300, mark=None, slots=None, trouble="the index of its 1300 rows is gone")
    check = store.check_collection(patient(world).options, found)
    assert (check.status, "1300 rows is gone" in check.message) == ("fail", True)
    assert "pipesched run" in check.hint


def test_a_store_that_somebody_is_writing_to_is_not_called_damaged(world: World) -> None:
    folder = Path(patient(world).options.storage_path)
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "chroma.sqlite3", isolation_level=None)) as writer:
        writer.execute("CREATE TABLE collections (id TEXT)")
        writer.execute("BEGIN EXCLUSIVE")
        check = store.check_store(patient(world).options)
    assert (check.status, "is being written" in check.message) == ("warn", True)


def test_a_server_that_does_not_answer_fails(world: World) -> None:
    there = patient(world)
    there = replace(there, options=replace(there.options, storage_path="http://127.0.0.1:1"))
    check = store.check(there)["store"]
    assert (check.status, "chroma run" in check.hint) == ("fail", True)


def test_who_writes_to_the_store_is_named(world: World) -> None:
    there = patient(world)
    Path(there.options.storage_path).parent.mkdir(parents=True)
    lock = KernelLock(lock_path(there.options.storage_path, world.paths.index_dir), what="run r1")
    assert lock.try_acquire()
    with lock:
        check = store.check(there)["store_lock"]
    assert check.message.startswith(f"pid {os.getpid()} (run r1)")


MARK = Mark(1, "s", "onnx:all-MiniLM-L6-v2", "f", 384, 254, "", "", "*.md")


@pytest.mark.parametrize(
    ("found", "status", "hint"),
    [
        (Inspected(1000, MARK, 1200), "pass", ""),
        (Inspected(1000, MARK, None), "pass", ""),
        (Inspected(10, MARK, 1200), "pass", ""),  # few enough not to matter
        (Inspected(1000, MARK, 12_000), "warn", "pipesched rebuild"),
        (Inspected(1000, None, 1000), "fail", "--adopt"),
        (Inspected(1000, replace(MARK, data_dir="/elsewhere"), 1000), "fail", "--force-recreate"),
        (Inspected(1000, replace(MARK, model="ollama:other"), 1000), "warn", "pipesched run"),
    ],
)
def test_whose_a_collection_is_and_how_full(world: World, found: Inspected, status: str, hint: str) -> None:
    check = store.check_collection(patient(world).options, found)
    assert (check.status, hint in check.hint) == (status, True)


# embedder


def with_model(world: World, model: str) -> Patient:
    there = patient(world)
    return replace(there, options=replace(there.options, embedding_model=model))


def test_the_embedded_model_works_and_its_speed_is_measured(world: World) -> None:
    check = embedding.check(patient(world))["embedder"]
    assert check.status in {"pass", "warn"}
    assert re.search(r"384 dimensions, \d+ texts a second", check.message)


def test_a_server_that_is_down_and_a_model_that_is_not_pulled_say_what_to_do(
    world: World, monkeypatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    check = embedding.check(with_model(world, "ollama:some-model"))["embedder"]
    assert (check.status, "ollama serve" in check.hint) == ("fail", True)
    with OllamaServer() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        check = embedding.check(with_model(world, "ollama:never-pulled"))["embedder"]
        assert (check.status, check.hint) == ("fail", "ollama pull never-pulled:latest")


# service


def test_a_port_that_another_program_has_is_said(world: World) -> None:
    down = SchedulerFacts(running=False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        assert service.check_port(down, taken).status == "warn"
    assert service.check_port(down, taken).status == "pass"


def test_a_port_that_our_daemon_has_is_fine() -> None:
    facts = SchedulerFacts(running=True, http="http://127.0.0.1:8765")
    assert service.check_port(facts, "127.0.0.1:8765").status == "pass"


def test_jobs_without_a_scheduler_are_a_warning(world: World) -> None:
    assert service.check_scheduler(patient(world), SchedulerFacts(running=False)).status == "pass"
    world.job("nightly")
    check = service.check_scheduler(patient(world), SchedulerFacts(running=False))
    assert (check.status, "pipesched daemon" in check.hint) == ("warn", True)


# notifications


def told(world: World, **environ: str) -> tuple[str, str]:
    check = telling.check(patient(world, environ=environ))["notifications"]
    return check.status, check.message


def test_variables_that_are_not_set_and_refused_targets_are_said(world: World) -> None:
    assert told(world)[0] == "pass"
    world.job("nightly", policy=JobPolicy(notify=("env:ALERTS",), ping="env:BEAT"))
    assert told(world) == ("warn", "not set here: ALERTS, BEAT")
    assert told(world, ALERTS="json://x:CANARY@host/", BEAT="http://host/CANARY")[0] == "pass"
    status, message = told(world, ALERTS="json://host/", BEAT="http://169.254.169.254/CANARY")
    assert status == "warn"
    assert "CANARY" not in message


def test_apprise_is_missed_where_jobs_notify(world: World, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert told(world)[0] == "pass"
    world.job("nightly", policy=JobPolicy(notify=("json://host/",)))
    check = telling.check(patient(world))["notifications"]
    assert (check.status, check.hint) == ("warn", "pip install 'pipesched[notify]'")


# together


def test_a_family_that_cannot_look_is_a_failed_check_and_the_others_go_on(world: World) -> None:
    def breaks(_: Patient):
        raise OSError(5, "Input/output error")

    found = examine(patient(world), {**FAMILIES, "store": breaks, "embedder": lambda _: {}})
    assert found.status == "fail"
    assert "Input/output error" in found.checks["store"].message
    assert found.checks["notifications"].status == "pass"


LOOKS = {
    "clock": lambda there: {"clock": Check("pass", there.options.data_dir)},
    "data": folders.check_data,
    "store": lambda there: {"store": Check("pass", there.options.collection_name)},
    "embedder": lambda there: {
        "embedder": Check("pass", " ".join(each.collection_name for each in there.all_options))
    },
}


def jobs_using(world: World, *sets: tuple[str, str]) -> dict[str, PipelineOptions]:
    options = patient(world).options
    return {
        f"job{number}": replace(options, data_dir=str(world.home / folder), collection_name=collection)
        for number, (folder, collection) in enumerate(sets, 1)
    }


def test_what_jobs_use_is_looked_at_once_for_each_that_differs(world: World) -> None:
    jobs = jobs_using(world, ("posts", "one"), ("nowhere", "two"), ("posts", "one"), ("posts", "three"))
    found = examine(patient(world, jobs=jobs), LOOKS)
    assert {name: check.status for name, check in found.checks.items()} == {
        "clock": "pass",
        "data_folder:job1": "pass", "data_folder:job2": "fail",
        "store:job1": "pass", "store:job2": "pass", "store:job4": "pass",
        "embedder": "pass",
    }  # fmt: skip
    assert found.checks["store:job4"].message == "three"
    assert found.checks["embedder"].message == "one two three"


def test_where_all_jobs_use_the_same_the_names_are_plain_and_no_default_is_looked_at(world: World) -> None:
    jobs = jobs_using(world, ("posts", "one"), ("posts", "one"))
    there = replace(patient(world, jobs=jobs), options=PipelineOptions(data_dir="/nowhere"))
    found = examine(there, LOOKS)
    assert found.checks.keys() == {"clock", "data_folder", "store", "embedder"}
    assert found.checks["data_folder"].status == "pass"


def test_twenty_sets_are_looked_at_and_the_others_counted(world: World) -> None:
    jobs = jobs_using(world, *[("posts", f"c{number}") for number in range(23)], ("posts", "c5"))
    found = examine(patient(world, jobs=jobs), LOOKS)
    assert sum(name.startswith("store:") for name in found.checks) == 20
    assert found.checks["jobs"].message.startswith("what 3 more jobs use was not looked at")


def test_a_job_whose_options_do_not_fit_together_is_named(world: World) -> None:
    found = examine(patient(world, unresolved={"odd": InvalidValue("too much", hint="less")}), LOOKS)
    assert (found.checks["options:odd"].status, found.checks["options:odd"].hint) == ("fail", "less")


def test_the_disks_of_all_stores_are_asked(world: World, monkeypatch) -> None:
    asked = []
    statvfs = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: asked.append(path) or statvfs(path))
    stores = [world.home / name / "store" for name in ("a", "b")]
    for each in stores:
        each.mkdir(parents=True)
    alike = [replace(patient(world).options, storage_path=str(each)) for each in stores]
    assert folders.check_disks(patient(world, alike=alike)).status in {"pass", "warn"}
    assert set(stores) <= set(asked)
