"""Our own JSON: the jobs as the job file keeps them, and the defaults; and the job file itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from pipesched.errors import DataError, InvalidValue
from pipesched.jobs import documents, encoding
from pipesched.jobs.formats.model import Context, Found, Reading, Refused
from pipesched.jobs.masking import MASK, masked_policy
from pipesched.jobs.model import SECRET_OPTIONS, Defaults, Job, JobFile
from pipesched.jobs.refusal import explain
from pipesched.settings import SCHEMA_VERSION

FORMAT: Final = "an export of pipesched"
JOB_FILE: Final = "a job file of pipesched"
_TOP_KEYS: Final = frozenset({"schema_version", "exported_at", "defaults", "jobs"})


def write(job_file: JobFile, *, now: datetime, secrets: bool) -> dict[str, Any]:
    """The whole file as one document; without `secrets` what `notify` and `ping` hold is masked."""
    defaults = documents.write_defaults(job_file.defaults)["defaults"]["1"]
    jobs = [documents.write_job(job) for job in job_file.jobs.values()]
    return {
        "schema_version": SCHEMA_VERSION,
        "exported_at": now.isoformat(),
        "defaults": defaults,
        "jobs": jobs if secrets else [{**job, "policy": masked_policy(job["policy"])} for job in jobs],
    }


def read(document: Mapping[str, Any], *, name: str, context: Context) -> Reading:
    """An export. Raises DataError for one that a newer version wrote."""
    _check_version(document["schema_version"], name)
    unknown = tuple(
        f"the key {key!r:.80} is not known and was left out" for key in document if key not in _TOP_KEYS
    )
    entries: list[Found | Refused] = []
    defaults = Defaults()
    try:
        defaults = Defaults.model_validate({} if document.get("defaults") is None else document["defaults"])
    except ValidationError as error:
        entries.append(Refused.because("defaults", explain(error)))
    zone = defaults.timezone or context.zone
    filled_by = documents.Context(timezone=lambda: zone, written_at=context.now)
    for number, job in enumerate(document["jobs"], start=1):
        label = job.get("id") if isinstance(job, dict) else None
        label = label if isinstance(label, str) else f"number {number}"
        try:
            shown, warnings = _without_masks(job)
            entries.append(_found(documents.read_job(shown, context=filled_by)[0], warnings))
        except InvalidValue as error:
            entries.append(Refused.because(label, error))
    return Reading(FORMAT, tuple(entries), unknown, defaults)


def _found(job: Job, warnings: tuple[str, ...]) -> Found:
    job.schedule()  # a schedule that cannot be used is refused here, with its reason
    return Found(job, warnings, own=True)


def _without_masks(job: Any) -> tuple[Any, tuple[str, ...]]:
    """What an export to the terminal has masked is no secret any more, and must not be taken for one."""
    policy = job.get("policy") if isinstance(job, dict) else None
    if not isinstance(policy, dict):
        return job, ()
    kept = dict(policy)
    lost = []
    for option in sorted(SECRET_OPTIONS & set(policy)):
        value = policy[option]
        if isinstance(value, str) and MASK in value:
            del kept[option]
            lost.append(option)
        elif isinstance(value, list) and any(isinstance(url, str) and MASK in url for url in value):
            kept[option] = [url for url in value if not (isinstance(url, str) and MASK in url)]
            lost.append(option)
    if not lost:
        return job, ()
    flags = " and ".join(f"--{option}" for option in lost)
    return {**job, "policy": kept}, (
        f"{flags} are masked in the file and were left out; set them anew, or export to a file",
    )


def read_job_file(data: bytes, *, name: str, context: Context) -> Reading:
    """A job file. Raises DataError for one that is damaged, or that a newer version wrote."""
    tables = encoding.parse(data, name=name)
    version = encoding.schema_version(tables, name=name)
    _check_version(version, name)
    if version < SCHEMA_VERSION:
        tables = encoding.migrate(tables, version=version)
    filled_by = documents.Context(timezone=lambda: context.zone, written_at=context.now)
    job_file = documents.read(tables, context=filled_by, stamp=None, version=version).job_file
    entries: list[Found | Refused] = []
    for job in job_file.jobs.values():
        try:
            entries.append(_found(job, ()))
        except InvalidValue as error:
            entries.append(Refused.because(job.id, error))
    for problem in job_file.problems:
        if problem.job_id not in job_file.jobs:  # a dependency is judged where the job is going
            label = problem.job_id or "the file"
            entries.append(Refused(label, problem.message.removeprefix(f"job {label}: "), problem.hint))
    return Reading(JOB_FILE, tuple(entries), (), job_file.defaults)


def _check_version(version: object, name: str) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise DataError(
            f"{name}: schema_version is {version!r:.40}, not a number", hint="export the jobs again"
        )
    if version > SCHEMA_VERSION:
        raise DataError(
            f"{name} was written by a newer pipesched (schema {version}, this one knows {SCHEMA_VERSION})",
            hint="upgrade pipesched; nothing was changed",
            code="schema_newer",
        )
