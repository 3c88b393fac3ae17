"""What runs that did not come to an end have left in the store and in the record; the next run finishes all of it."""

from __future__ import annotations

from contextlib import closing

from pipesched.doctor.patient import Checks, Patient
from pipesched.pipeline.database import Damaged, Database
from pipesched.pipeline.manifest import MIGRATIONS, Manifest, manifest_path
from pipesched.pipeline.stores import Probe, StoreLock, WritingNote, probe
from pipesched.views.ages import count
from pipesched.views.health import Check

_NEXT_RUN = "nothing has to be cleaned by hand: the next run finishes it; pipesched run does it now"


def check(patient: Patient) -> Checks:
    """No check while a run is under way: what it has open is no leftover. Raises what the store's lock raises."""
    options = patient.options
    if StoreLock(options.storage_path, patient.paths.index_dir).is_held():
        return {}
    path = manifest_path(patient.paths.index_dir, options.storage_path, options.collection_name)
    found = {"leftovers": check_note(options.storage_path)}
    try:
        with closing(Manifest(Database.open_to_read(path, MIGRATIONS))) as manifest:
            if found["leftovers"].status == "pass":
                found["leftovers"] = check_record(manifest, options.collection_name)
            name, recorded = options.collection_name, manifest.probe()
            if manifest.generation("live") is not None and recorded is not None:
                present = probe(options.storage_path)
                if present is not None:
                    found["drift"] = check_drift(name, recorded, present.get(name))
    except Damaged as damaged:
        found["leftovers"] = Check(
            "warn",
            f"the record {damaged.path} is damaged: {damaged.message}",
            "the next run sets it aside and makes it anew from the collection; pipesched run does it now",
        )
    return found


def check_note(storage_path: str) -> Check:
    if WritingNote(storage_path).is_left():
        return Check(
            "warn",
            f"a run was ended while it wrote to {storage_path}: the next one examines the store before it goes on",
            _NEXT_RUN,
        )
    return Check("pass", "no run was cut short")


def check_record(manifest: Manifest, collection: str) -> Check:
    said = []
    if manifest.get("swap") is not None:
        said.append(f"a new generation of {collection} was being swapped in")
    elif manifest.generation("building") is not None:
        said.append(f"a new generation of {collection} is not complete")
    intended = manifest.database.rows("SELECT count(*) FROM intents")[0][0]
    if intended:
        said.append(f"{count(intended, 'document')} of {collection} were being written")
    if said:
        return Check("warn", f"a run was cut short: {', and '.join(said)}", _NEXT_RUN)
    return Check("pass", "no run was cut short")


def check_drift(collection: str, recorded: Probe, present: Probe | None) -> Check:
    """By the counters alone, as a run looks first; rows are compared by `verify`."""
    if present is None:
        return Check(
            "warn",
            f"the collection {collection} is gone",
            "the next run puts it in again from the embedding cache; pipesched run does it now",
        )
    same = (recorded.uuid, recorded.count) == (present.uuid, present.count)
    if same and -1 not in (recorded.writes, present.writes):
        same = recorded.writes == present.writes
    if not same:
        return Check(
            "warn",
            f"somebody else has written to the collection {collection} since the last run",
            "what differs: pipesched verify; the next run mends it",
        )
    return Check("pass", f"nobody has written to {collection} since the last run")
