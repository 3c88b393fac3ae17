"""The files of the scheduler that this one replaces: its configuration, and its two exports."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipesched.errors import InvalidValue
from pipesched.jobs.build import build_job, checked_id
from pipesched.jobs.encoding import json_type
from pipesched.jobs.formats.foreign_triggers import CRON, UNITS, ForeignJob, schedule
from pipesched.jobs.formats.model import Context, Found, Reading, Refused
from pipesched.jobs.triggers import build_trigger
from pipesched.options import PIPELINE_OPTIONS, PipelineConfig
from pipesched.schedule.zones import load_zone

FORMAT: Final = "another scheduler's jobs"
_JOB_KEYS: Final = (
    *(
        "id",
        "job_id",
        "name",
        "description",
        "type",
        "timezone",
        "enabled",
        "config",
        "trigger",
        "next_run_time",
    ),
    *(*CRON, "cron_expression", *UNITS, "run_date", "args", "kwargs"),
)
_TOP_KEYS: Final = ("jobs", "exported_at", "scheduler_stats")


def read(document: Mapping[str, Any], *, context: Context) -> Reading:
    """The jobs of `{"jobs": [...]}`, in any of the three shapes, each by itself."""
    jobs = document["jobs"]
    return Reading(FORMAT, tuple(_entries(jobs, context)), tuple(_unknown(document, _TOP_KEYS)))


def _entries(jobs: Sequence[Any], context: Context) -> list[Found | Refused]:
    entries: list[Found | Refused] = []
    for number, document in enumerate(jobs, start=1):
        label = f"number {number}"
        if not isinstance(document, dict):
            entries.append(Refused(label, f"it is a {json_type(document)}, not an object", "a job is {...}"))
            continue
        label = _label(document, label)
        try:
            entries.append(_read_job(document, context))
        except InvalidValue as error:
            entries.append(Refused.because(label, error))
    return entries


def _label(document: Mapping[str, Any], otherwise: str) -> str:
    value = document.get("id", document.get("job_id"))
    return value if isinstance(value, str) and value else otherwise


def _read_job(document: Mapping[str, Any], context: Context) -> Found:
    job_id = _id(document)
    zone = document.get("timezone")
    if zone is None:
        zone = context.zone
    elif not isinstance(zone, str):
        raise InvalidValue(f"timezone is a {json_type(zone)}", hint="it is a name, such as Europe/Berlin")
    load_zone(zone)
    job = ForeignJob(job_id, document, zone, context.now, list(_unknown(document, _JOB_KEYS)))
    config = _config(job)
    trigger = build_trigger(schedule(job), job_id=job_id, zone=zone, now=context.now)
    enabled = document.get("enabled", True)
    if not isinstance(enabled, bool):
        raise InvalidValue(f"enabled is {enabled!r:.40}", hint="it is true or false")
    given: dict[str, Any] = {"description": _text(document, "description"), "paused": not enabled}
    built = build_job(
        job_id, trigger, given, config, zone=zone, now=context.now, name=_text(document, "name")
    )
    return Found(built, tuple(job.warnings))


def _id(document: Mapping[str, Any]) -> str:
    values = [document[key] for key in ("id", "job_id") if document.get(key) is not None]
    if not values:
        raise InvalidValue("it has no id", hint="give it one: job_id")
    job_id = values[0]
    if not isinstance(job_id, str) or values[-1] != job_id:
        raise InvalidValue(f"its id {values!r:.80} cannot be used", hint="it is one text")
    checked_id(job_id)
    return job_id


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidValue(f"{key} is a {json_type(value)}, not a text", hint="put it in quotes")
    return value


def _unknown(document: Mapping[str, Any], known: Sequence[str], where: str = "") -> list[str]:
    """A warning for each key that nothing is known of, with the nearest one that is."""
    warnings = []
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            said = f"; did you mean {near[0]!r}?" if near else ""
            warnings.append(f"the key {where}{key!r:.80} is not known and was left out{said}")
    return warnings


# ---- the pipeline's options


def _config(job: ForeignJob) -> PipelineConfig:
    raw = job.document.get("config")
    if raw is None:
        raw = _argument(job)
    if raw is None:
        if isinstance(job.document.get("trigger"), str | dict):
            job.warnings.append("the file does not hold its config; it gets the defaults")
        return PipelineConfig()
    if not isinstance(raw, dict):
        raise InvalidValue(
            f"config is a {json_type(raw)}, not an object", hint='such as {"data_dir": "data/"}'
        )
    own_name = {"job_id"}  # that system writes the job's id in there too
    job.warnings += _unknown({key: 0 for key in raw if key not in own_name}, PIPELINE_OPTIONS, "config ")
    return PipelineConfig.checked({name: raw[name] for name in PIPELINE_OPTIONS if raw.get(name) is not None})


def _argument(job: ForeignJob) -> Any:
    """The config among the arguments of an exported job: the first of `args`, or one of `kwargs` by name."""
    args, kwargs = job.document.get("args"), job.document.get("kwargs")
    if args is not None and not isinstance(args, list):
        raise InvalidValue(f"args is a {json_type(args)}, not a list", hint="its first is the config")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise InvalidValue(f"kwargs is a {json_type(kwargs)}, not an object", hint="leave it out")
    found = args[0] if args else None
    if args and len(args) > 1:
        job.warnings.append(
            f"{len(args) - 1} of its args were left out: only the first, its config, is known"
        )
    for key, value in (kwargs or {}).items():
        if found is None and key in {"config", "pipeline_config"}:
            found = value
        else:
            job.warnings.append(f"the key kwargs {key!r:.80} is not known and was left out")
    return found
