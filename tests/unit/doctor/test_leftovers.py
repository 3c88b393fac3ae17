"""What a killed run leaves, found over a real store: named, and gone after the next run."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipesched.doctor import leftovers
from pipesched.doctor.patient import Checks, Patient
from pipesched.files import KernelLock
from pipesched.options import PipelineOptions
from pipesched.pipeline.manifest import Manifest, manifest_path
from pipesched.pipeline.run import run
from pipesched.pipeline.stores import Probe, WritingNote, lock_path, open_store
from support.indexing import Model, hash_backends
from support.world import World


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    (tmp_path / "posts").mkdir()
    for name in ("one", "two"):
        (tmp_path / "posts" / f"{name}.md").write_text(f"# {name}\n\nText of {name}.")
    world = World(tmp_path)
    return Patient(
        paths=world.paths,
        now=world.now,
        environ={},
        job_file=world.store.load(),
        job_file_error=None,
        options=PipelineOptions(
            data_dir=str(tmp_path / "posts"), storage_path=str(tmp_path / "store"), collection_name="posts"
        ),
    )


def index(patient: Patient) -> None:
    patient.paths.state_dir.mkdir(mode=0o700, exist_ok=True)
    run(
        patient.options,
        index_dir=patient.paths.index_dir,
        now=lambda: datetime.now(UTC),
        backends=hash_backends(Model()),
    )


def statuses(found: Checks) -> dict[str, str]:
    return {name: check.status for name, check in found.items()}


def on_record(patient: Patient, change: Callable[[Manifest], object]) -> None:
    options = patient.options
    path = manifest_path(patient.paths.index_dir, options.storage_path, options.collection_name)
    with closing(Manifest.open(path)) as manifest:
        change(manifest)


def test_before_the_first_run_nothing_is_left_and_nothing_is_made(patient: Patient) -> None:
    assert statuses(leftovers.check(patient)) == {"leftovers": "pass"}
    assert not patient.paths.state_dir.exists()
    assert not Path(patient.options.storage_path).exists()


def test_a_writing_note_and_another_hand_are_found_and_mended_by_the_next_run(patient: Patient) -> None:
    index(patient)
    assert statuses(leftovers.check(patient)) == {"leftovers": "pass", "drift": "pass"}
    WritingNote(patient.options.storage_path).make()
    with closing(open_store(patient.options.storage_path)) as store:
        (page,) = store.pages("posts")
        store.delete("posts", [page[0].id])
    found = leftovers.check(patient)
    assert statuses(found) == {"leftovers": "warn", "drift": "warn"}
    assert "a run was ended while it wrote" in found["leftovers"].message
    assert "the next run finishes it" in found["leftovers"].hint
    assert "pipesched verify" in found["drift"].hint
    index(patient)
    assert statuses(leftovers.check(patient)) == {"leftovers": "pass", "drift": "pass"}


def test_what_the_record_was_about_to_do_is_said(patient: Patient) -> None:
    index(patient)
    on_record(patient, lambda manifest: manifest.intend(1, {"one.md": ["x"]}))
    check = leftovers.check(patient)["leftovers"]
    assert (check.status, "1 document of posts were being written" in check.message) == ("warn", True)
    on_record(patient, lambda manifest: manifest.put("swap", {"to": 2}))
    assert "was being swapped in" in leftovers.check(patient)["leftovers"].message
    on_record(patient, lambda manifest: manifest.put("swap", None))
    live = "UPDATE generations SET state = 'building'"
    on_record(patient, lambda manifest: manifest.database.execute(live))
    assert "is not complete" in leftovers.check(patient)["leftovers"].message


def test_a_damaged_record_is_a_warning_that_says_what_the_next_run_does(patient: Patient) -> None:
    index(patient)
    options = patient.options
    path = manifest_path(patient.paths.index_dir, options.storage_path, options.collection_name)
    path.write_bytes(b"this is no record, not in the least" * 500)
    check = leftovers.check(patient)["leftovers"]
    assert (check.status, "sets it aside" in check.hint) == ("warn", True)
    assert path.read_bytes().startswith(b"this is no record"), "doctor only looks"


def test_while_a_run_writes_nothing_is_a_leftover(patient: Patient) -> None:
    path = lock_path(patient.options.storage_path, patient.paths.index_dir)
    lock = KernelLock(path, what="run r1")
    assert lock.try_acquire()
    with lock:
        assert leftovers.check(patient) == {}


RECORDED = Probe(uuid="u", count=5, writes=9)


@pytest.mark.parametrize(
    ("present", "status", "words"),
    [
        (RECORDED, "pass", "nobody"),
        (replace(RECORDED, files="other"), "pass", "nobody"),
        (replace(RECORDED, writes=-1), "pass", "nobody"),  # a server does not say
        (replace(RECORDED, writes=10), "warn", "somebody else"),
        (replace(RECORDED, count=4, writes=-1), "warn", "somebody else"),
        (replace(RECORDED, uuid="v"), "warn", "somebody else"),
        (None, "warn", "is gone"),
    ],
)
def test_drift_is_told_by_the_counters(present: Probe | None, status: str, words: str) -> None:
    check = leftovers.check_drift("posts", RECORDED, present)
    assert (check.status, words in check.message) == (status, True)
