"""The job file's JSON to jobs and back: what people may write, and what is said about the rest."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from pipesched.errors import DataError, InvalidValue
from pipesched.jobs.dependencies import find_cycle
from pipesched.jobs.model import (
    EPOCH,
    SECRET_OPTIONS,
    CronTrigger,
    Defaults,
    IntervalTrigger,
    Job,
    JobFile,
    JobPolicy,
    OnceTrigger,
    Problem,
    Stamp,
)
from pipesched.options import PipelineConfig
from pipesched.settings import SCHEMA_VERSION

Json = dict[str, Any]
Tables = dict[str, dict[str, Any]]
TABLES: Final = ("meta", "defaults", "jobs")
_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "": Job,
    "cron": CronTrigger,
    "interval": IntervalTrigger,
    "once": OnceTrigger,
    "policy": JobPolicy,
    "config": PipelineConfig,
}
_WALL_TIMES: Final = ("timezone_aware", "datetime_parsing", "datetime_from_date_parsing")


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Job]:
    return TypeAdapter(Job)


# ---- JSON to tables


def parse(data: bytes, *, name: str) -> Tables:
    """The three tables in `data`, each `{"1": {...}, ...}`. Raises DataError when it is no job file."""
    try:
        raw = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_doubles)
    except UnicodeDecodeError as error:
        raise _damaged(name, f"it is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        where = "it is empty" if not data.strip(b" \t\r\n\0") else f"line {error.lineno}: {error.msg}"
        raise _damaged(name, where) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(name, str(error)) from error
    if not isinstance(raw, dict):
        raise _damaged(name, f"its top level is a {_json_type(raw)}, not an object")
    for key in raw:
        if key not in TABLES:
            near = difflib.get_close_matches(key, TABLES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the tables are {', '.join(TABLES)}"
            raise DataError(f"{name} cannot be used: there is no table {key!r}", hint=hint)
    return {table: _table(table, raw.get(table, {}), name=name) for table in TABLES}


def _table(table: str, raw: object, *, name: str) -> dict[str, Any]:
    """Documents by TinyDB's numbers. People also write one document without its number, or other words for numbers."""
    if isinstance(raw, list) and table == "jobs":
        raise DataError(
            f"{name} cannot be used: its jobs are a list, as in other schedulers' files",
            hint=f"move it away, then: pipesched import {name}",
        )
    if not isinstance(raw, dict):
        raise _damaged(name, f"{table} is a {_json_type(raw)}, not an object")
    if table != "jobs":
        flat = not all(key.isdigit() for key in raw)
        return {"1": raw} if flat else raw
    if all(key.isdecimal() and key.isascii() for key in raw):
        return raw
    numbers = [int(key) for key in raw if key.isdecimal() and key.isascii()]
    following = max(numbers, default=0)
    numbered: dict[str, Any] = {}
    for key, document in raw.items():
        if key.isdecimal() and key.isascii():
            numbered[key] = document
        else:
            following += 1
            numbered[str(following)] = {"id": key, **document} if isinstance(document, dict) else document
    return numbered


def _without_doubles(pairs: list[tuple[str, Any]]) -> Json:
    """An object; two jobs under one number (a block that was copied) are both kept, other doubles refused."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    following = max((int(key) for key in found if key.isdecimal() and key.isascii()), default=0)
    kept: Json = {}
    for key, value in pairs:
        if key not in seen:
            seen.add(key)
            kept[key] = value
        elif isinstance(value, dict) and "trigger" in value and key.isdecimal():
            following += 1
            kept[str(following)] = value
        else:
            raise ValueError(f"the key {key!r} is there twice in one object")
    return kept


def _json_type(value: object) -> str:
    return {list: "list", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def _damaged(name: str, reason: str) -> DataError:
    return DataError(
        f"{name} cannot be read as a job file: {reason}",
        hint=f"mend it or put a backup back ({name}.bak, if there is one); nothing was changed",
    )


def schema_version(tables: Tables, *, name: str) -> int:
    """The version in `meta`; a file written by hand may have none. Raises DataError when it is no number."""
    meta: Any = next(iter(tables["meta"].values()), {})
    version = meta.get("schema_version", SCHEMA_VERSION) if isinstance(meta, dict) else meta
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise _damaged(name, f"schema_version is {version!r}, not a number")
    return version


def serialise(tables: Tables) -> bytes:
    """Indented JSON, tables and keys in a fixed order, so that two versions of the file diff well."""
    import orjson

    ordered = {table: tables.get(table, {}) for table in TABLES}
    try:
        return orjson.dumps(ordered, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Something a person wrote that orjson refuses (a lone surrogate, an integer over 64 bits) is kept as it is.
        return (json.dumps(ordered, indent=2) + "\n").encode()


# ---- migration


def migrate(tables: Tables, *, version: int) -> Tables:
    """`tables` in today's schema."""
    for step in range(version, SCHEMA_VERSION):
        tables = _MIGRATIONS[step](tables)
    return {**tables, "meta": {"1": {"schema_version": SCHEMA_VERSION}}}


def _from_0(tables: Tables) -> Tables:
    """Version 0 had a trigger's fields in the job itself: `{"id", "type": "cron", "expression", ...}`."""
    return {**tables, "jobs": {number: _nested(document) for number, document in tables["jobs"].items()}}


_MIGRATIONS: Final[Mapping[int, Callable[[Tables], Tables]]] = {0: _from_0}


def _nested(document: Any) -> Any:
    """A trigger written flat, or with its type beside it, put where it belongs."""
    if not isinstance(document, dict):
        return document
    kept = dict(document)
    if "job_id" in kept and kept.get("id", kept["job_id"]) == kept["job_id"]:
        kept["id"] = kept.pop("job_id")
    trigger = dict(kept["trigger"]) if isinstance(kept.get("trigger"), dict) else {}
    if "trigger" in kept and not trigger:
        return kept
    for model in (CronTrigger, IntervalTrigger, OnceTrigger):
        for key in (*model.model_fields, "every"):
            if key in kept and key not in trigger:
                trigger[key] = kept.pop(key)
    if "type" not in trigger:
        kinds = {"expression": "cron", "every": "interval", "seconds": "interval", "at": "once"}
        kind = next((kinds[key] for key in kinds if key in trigger), None)
        if kind is not None:
            trigger = {"type": kind, **trigger}
    if trigger:
        kept["trigger"] = trigger
    return kept


# ---- tables to jobs


@dataclass(frozen=True, slots=True)
class Context:
    """What a job that says nothing about it gets: a zone, and the time when the file was last written."""

    timezone: Callable[[], str]
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Reading:
    """What the tables hold.

    `unsettled`: documents by number that say less than the job read from them (a person left out a time or a zone), so that
    the next save has to say it, because it moves the file's own time.
    """

    job_file: JobFile
    unsettled: Mapping[str, Job]


def read(tables: Tables, *, context: Context, stamp: Stamp | None, version: int) -> Reading:
    """The jobs in `tables`; those that cannot be used are in `problems`, and the others there all the same."""
    problems: list[Problem] = []
    unsettled: dict[str, Job] = {}
    defaults = _defaults(tables["defaults"], problems)
    if defaults.timezone is not None:
        zone = defaults.timezone
        context = replace(context, timezone=lambda: zone)
    jobs: dict[str, Job] = {}
    for number, document in tables["jobs"].items():
        try:
            job, settled = read_job(document, context=context)
        except InvalidValue as error:
            named = document.get("id") if isinstance(document, dict) else None
            job_id = named if isinstance(named, str) and named not in jobs else None
            problems.append(
                Problem(job_id, f"job {named or 'number ' + number}: {error.message}", error.hint)
            )
            continue
        if job.id in jobs:
            problems.append(
                Problem(
                    None,
                    f"the id {job.id!r} is there twice; the first is used",
                    "give one of them another id",
                )
            )
            continue
        jobs[job.id] = job
        if not settled:
            unsettled[number] = job
    problems.extend(_dependency_problems(jobs))
    job_file = JobFile(
        jobs=jobs,
        defaults=defaults,
        problems=tuple(problems),
        exists=True,
        stamp=stamp,
        schema_version=version,
    )
    return Reading(job_file, unsettled)


def read_job(document: Any, *, context: Context) -> tuple[Job, bool]:
    """One job of the file, and whether the document says all of it. Raises InvalidValue, with the key as in the file."""
    if not isinstance(document, dict):
        raise InvalidValue(f"is a {_json_type(document)}, not an object", hint="see docs/job-file.md")
    filled = _filled(document, context)
    settled = filled is document
    try:
        job = _adapter().validate_python(filled)
    except ValidationError:
        settled = False
        filled = _filled(_nested(document), context)
        try:
            job = _adapter().validate_python(_with_wall_times(filled))
        except ValidationError as error:
            raise explain(error) from error
    if job.since_schedule and job.since_schedule != job.schedule_key:
        # Somebody changed the schedule by hand: the slots of the new one count from then on.
        since = max(job.since, context.written_at)
        return job.model_copy(update={"since": since, "since_schedule": job.schedule_key}), False
    return job, settled


def _filled(document: Json, context: Context) -> Json:
    missing: Json = {}
    if document.get("timezone") is None:
        missing["timezone"] = context.timezone()
    if document.get("since") is None:
        missing["since"] = context.written_at
    if document.get("enabled") is False and document.get("paused_at") is None:
        missing["paused_at"] = context.written_at
    return {**document, **missing} if missing else document


def _with_wall_times(document: Json) -> Json:
    """Times that people wrote without an offset, read in the job's zone."""
    from pipesched.schedule.timetext import parse_time
    from pipesched.schedule.zones import load_zone

    try:
        zone = load_zone(str(document["timezone"]))
    except InvalidValue:
        return document  # the zone is what will be complained about
    result = dict(document)
    places = [(result, key) for key in ("created_at", "since", "paused_at")]
    for part, keys in (("trigger", ("at", "anchor")), ("policy", ("start", "end"))):
        if isinstance(result.get(part), dict):
            result[part] = dict(result[part])
            places += [(result[part], key) for key in keys]
    for place, key in places:
        value = place.get(key)
        if isinstance(value, str) and not value.startswith("+"):
            try:
                place[key] = with_offset(parse_time(value, zone=zone, now=EPOCH), zone)
            except InvalidValue as error:
                raise InvalidValue(f"{key}: {error.message}", hint=error.hint) from error
    return result


def with_offset(at: datetime, zone: tzinfo) -> datetime:
    """`at` with the offset that `zone` has then.

    Not with the zone itself: inside a fold Python says of such a time that it equals none in another zone.
    """
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None
    return at.astimezone(timezone(offset))


def _defaults(table: dict[str, Any], problems: list[Problem]) -> Defaults:
    """The one document of `defaults`: options under `config`, or beside the timezone."""
    document: Any = next(iter(table.values()), {})
    if not isinstance(document, dict):
        problems.append(Problem(None, f"defaults is a {_json_type(document)}, not an object"))
        return Defaults()
    nested = document.get("config", {})
    flat = {key: value for key, value in document.items() if key not in {"config", "timezone"}}
    if not isinstance(nested, dict):
        problems.append(Problem(None, f"defaults.config is a {_json_type(nested)}, not an object"))
        nested = {}
    values = {"timezone": document.get("timezone"), "config": {**nested, **flat}}
    try:
        return Defaults.model_validate(values)
    except ValidationError as error:
        bad = explain(error)
        problems.append(Problem(None, f"defaults: {bad.message}", bad.hint))
        return _usable_defaults(values, error)


def _usable_defaults(values: Json, error: ValidationError) -> Defaults:
    """The defaults without what is wrong in them."""
    bad = {str(part) for entry in error.errors() for part in entry["loc"]}
    config = {key: value for key, value in values["config"].items() if key not in bad}
    try:
        return Defaults(
            timezone=None if "timezone" in bad else values["timezone"],
            config=PipelineConfig.model_validate(config),
        )
    except ValidationError:
        return Defaults()


def _dependency_problems(jobs: Mapping[str, Job]) -> Iterable[Problem]:
    for job in jobs.values():
        if not job.policy.after:
            continue
        unknown = [other for other in job.policy.after if other not in jobs]
        fix = f"pipesched edit {job.id} --unset after"
        if unknown:
            yield Problem(job.id, f"job {job.id}: it runs after {unknown[0]!r}, which does not exist", fix)
        elif cycle := find_cycle(jobs, job.id):
            yield Problem(job.id, f"job {job.id}: {' waits for '.join(cycle)}", fix)


def usable(job: Job) -> Job:
    """`job`, with its schedule parsed. Raises DataError when the schedule in the file cannot be used."""
    try:
        job.schedule()
    except InvalidValue as error:
        raise DataError(f"job {job.id}: {error.message}", hint=error.hint) from error
    return job


def checked_schedules(job_file: JobFile) -> JobFile:
    """The file with the jobs whose schedule cannot be used moved to the problems."""
    good: dict[str, Job] = {}
    problems: list[Problem] = []
    for job in job_file.jobs.values():
        try:
            good[job.id] = usable(job)
        except DataError as error:
            problems.append(Problem(job.id, error.message, error.hint))
    if not problems:
        return job_file
    return replace(job_file, jobs=good, problems=(*job_file.problems, *problems))


# ---- jobs to documents


def write_job(job: Job) -> Json:
    """The job as the file keeps it: what was set, durations as text, keys in a fixed order."""
    from pipesched.schedule.timetext import format_duration

    trigger = job.trigger.model_dump(mode="json", exclude_none=True)
    if isinstance(job.trigger, IntervalTrigger):
        every = format_duration(job.trigger.seconds)
        trigger = {"type": "interval", "every": every, "anchor": trigger["anchor"]}
    policy = job.policy.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    for key in ("grace", "timeout", "retry_delay", "jitter"):
        if key in policy:
            policy[key] = format_duration(policy[key]) if policy[key] else "0s"
    document: Json = {
        "id": job.id,
        "name": job.name,
        "description": job.description,
        "tags": list(job.tags),
        "timezone": job.timezone,
        "trigger": trigger,
        "policy": policy,
        "config": job.config.set_values(),
        "enabled": job.enabled,
        **({} if job.created_at is None else {"created_at": job.created_at.isoformat()}),
        "since": job.since.isoformat(),
        "since_schedule": job.since_schedule or job.schedule_key,
    }
    if job.paused_at is not None:
        document["paused_at"] = job.paused_at.isoformat()
    return document


def write_defaults(defaults: Defaults) -> Tables:
    """The table `defaults`, with what is set in it."""
    zone = {} if defaults.timezone is None else {"timezone": defaults.timezone}
    return {"defaults": {"1": {**zone, "config": defaults.config.set_values()}}}


# ---- errors

_FLAGS: Final = {"tags": "--tag", "id": "JOB_ID"}


def explain(error: ValidationError, *, option: bool = False) -> InvalidValue:
    """One readable error of ours for pydantic's list; `option`: name the flag rather than the file's key.

    A secret's value is never repeated.
    """
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    parts = [part for part in location if part not in {"cron", "interval", "once"}]
    names = [part for part in parts if not part.isdecimal()]
    name = names[-1] if names else ""
    flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
    spelled = flag if option and name else ".".join(parts)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        group = location[1] if location[0] == "trigger" and len(location) > 2 else ".".join(names[:-1])
        known = _keys(_MODELS.get(group, Job))
        near = difflib.get_close_matches(name, known, n=1)
        return InvalidValue(
            f"{spelled}: there is no such setting",
            hint=f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}",
        )
    if first["type"] == "missing":
        return InvalidValue(f"{spelled} is missing", hint="see docs/job-file.md, or: pipesched show --help")
    if first["type"] == "string_pattern_mismatch" and name in {"id", "after"}:
        message = "a job id has 1 to 64 letters, digits, dots, dashes, underscores, a letter or digit first"
    elif first["type"] == "string_pattern_mismatch":
        message = "a tag has 1 to 64 characters without spaces and commas"
    secret = bool(SECRET_OPTIONS & set(names))
    given = first.get("input")
    shown = "" if secret or not names or isinstance(given, dict | BaseModel) else f" (got {given!r:.80})"
    return InvalidValue(
        f"{spelled + ': ' if spelled else ''}{message}{shown}", hint=_hint(first["type"], name)
    )


def _keys(model: type[BaseModel]) -> list[str]:
    return ["every" if key == "seconds" else key for key in model.model_fields]


def _hint(kind: str, name: str) -> str:
    if kind in _WALL_TIMES:
        return "write it as 2027-01-31T09:00:00+01:00, or without offset in the job's zone"
    if name in {"grace", "timeout", "retry_delay", "jitter", "every"}:
        return "durations are written 90s, 30m, 2h, 1d, 1h30m"
    return "see pipesched add-cron --help for what it may be"
