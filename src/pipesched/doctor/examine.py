"""All checks, family by family; what a family cannot find out is a failed check, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pipesched.doctor import clocks, embedding, folders, leftovers, service, software, store, telling
from pipesched.doctor.patient import Checks, Patient, failed
from pipesched.errors import PipeschedError
from pipesched.options import PipelineOptions
from pipesched.views.ages import count
from pipesched.views.health import Check, Health

FAMILIES: Final[dict[str, Callable[[Patient], Checks]]] = {
    "software": software.check,
    "clock": clocks.check,
    "folders": folders.check,
    "data": folders.check_data,
    "store": store.check,
    "leftovers": leftovers.check,
    "embedder": embedding.check,
    "service": service.check,
    "notifications": telling.check,
}


DEPEND_ON: Final[dict[str, tuple[str, ...]]] = {
    "data": ("data_dir",),
    "store": ("data_dir", "storage_path", "collection_name", "embedding_model"),
    "leftovers": ("storage_path", "collection_name"),
    "embedder": ("embedding_model",),
}
"""The options that a family looks at: where jobs differ in them, it is asked once for each; the others are asked once."""
MOST_SETS: Final = 20
"""Of data folder, store, collection and model together."""


def examine(patient: Patient, families: Mapping[str, Callable[[Patient], Checks]] = FAMILIES) -> Health:
    """What is found; where jobs differ, `NAME:JOB_ID` with the first of the jobs that agree."""
    patients, left_out = _patients(patient)
    found: Checks = {}
    for name, check in families.items():
        groups = _groups(patients, DEPEND_ON.get(name, ()))
        for job_id, group in groups.items():
            suffix = f":{job_id}" if len(groups) > 1 else ""
            found.update({f"{key}{suffix}": each for key, each in _asked(name, check, group).items()})
    found.update({f"options:{job_id}": failed(error) for job_id, error in patient.unresolved.items()})
    if left_out:
        found["jobs"] = Check(
            "pass",
            f"what {count(left_out, 'more job')} use was not looked at: {MOST_SETS} sets of folder, store, collection and model were",
            "pipesched doctor --job JOB_ID",
        )
    return Health(found)


def _asked(name: str, check: Callable[[Patient], Checks], patient: Patient) -> Checks:
    try:
        return check(patient)
    except PipeschedError as error:
        return {name: failed(error)}
    except (OSError, ImportError) as error:  # the machine itself: a disk, a broken package
        return {name: Check("fail", f"{type(error).__name__}: {error}", "see the message")}


def _patients(patient: Patient) -> tuple[dict[str, Patient], int]:
    """One for each distinct set of what jobs use, by the first job that does; and how many jobs are left out."""
    if not patient.jobs:
        return {"": patient}, 0
    distinct: dict[tuple[str, ...], str] = {}
    left_out = 0
    for job_id, options in patient.jobs.items():
        key = _key(options, DEPEND_ON["store"])
        if key not in distinct and len(distinct) == MOST_SETS:
            left_out += 1
        else:
            distinct.setdefault(key, job_id)
    return {job_id: replace(patient, options=patient.jobs[job_id]) for job_id in distinct.values()}, left_out


def _groups(patients: Mapping[str, Patient], names: Sequence[str]) -> dict[str, Patient]:
    """The first of those that agree in the options `names`, with the options of all of them."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for job_id, patient in patients.items():
        groups.setdefault(_key(patient.options, names), []).append(job_id)
    return {
        ids[0]: replace(patients[ids[0]], alike=tuple(patients[each].options for each in ids))
        for ids in groups.values()
    }


def _key(options: PipelineOptions, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(getattr(options, name)) for name in names)
