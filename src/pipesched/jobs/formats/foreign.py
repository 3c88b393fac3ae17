"""The files of the scheduler that this one replaces: its configuration, and its two exports."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pipesched.errors import InvalidValue
from pipesched.jobs.build import build_job, checked_id
from pipesched.jobs.encoding import json_type
from pipesched.jobs.formats import apscheduler
from pipesched.jobs.formats.model import Context, Found, Reading, Refused
from pipesched.jobs.triggers import TriggerOptions, build_trigger
from pipesched.options import PIPELINE_OPTIONS, PipelineConfig
from pipesched.schedule.timetext import parse_time
from pipesched.schedule.zones import load_zone

FORMAT: Final = "another scheduler's jobs"
_UNITS: Final = ("weeks", "days", "hours", "minutes", "seconds")
_CRON: Final = ("hour", "minute", "day_of_week")
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
    *(*_CRON, "cron_expression", *_UNITS, "run_date", "args", "kwargs"),
)
_TOP_KEYS: Final = ("jobs", "exported_at", "scheduler_stats")
_KINDS: Final = {
    "cron": "cron", "interval": "interval", "date": "once", "onetime": "once", "one_time": "once", "once": "once",
}  # fmt: skip
_LOST: Final = {"IntervalTrigger": "interval", "DateTrigger": "date"}
_UTC: Final = frozenset({"utc", "gmt", "z", "utc+00:00"})
_OFFSET = re.compile(r"(?:UTC)?([+-])(\d\d):?(\d\d)")


@dataclass
class _Job:
    """One job under way: what it says, and what has to be said about it."""

    id: str
    document: Mapping[str, Any]
    zone: str
    now: datetime
    warnings: list[str] = field(default_factory=list)


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
    job = _Job(job_id, document, zone, context.now, list(_unknown(document, _JOB_KEYS)))
    config = _config(job)
    trigger = build_trigger(_schedule(job), job_id=job_id, zone=zone, now=context.now)
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


def _config(job: _Job) -> PipelineConfig:
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


def _argument(job: _Job) -> Any:
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


# ---- when


def _schedule(job: _Job) -> TriggerOptions:
    trigger = job.document.get("trigger")
    if isinstance(trigger, dict):
        return _from_object(trigger)
    if isinstance(trigger, str):
        return _from_text(job, trigger)
    if trigger is not None:
        raise InvalidValue(f"trigger is a {json_type(trigger)}", hint="it is a text or an object")
    return _from_keys(job)


def _from_object(trigger: Mapping[str, Any]) -> TriggerOptions:
    kind = trigger.get("type")
    if kind == "CronTrigger":
        return TriggerOptions(expression=apscheduler.read_fields(trigger.get("fields")).expression)
    if kind in _LOST:
        raise InvalidValue(
            f"its schedule is lost: the file does not hold the fields of a {kind}",
            hint=f"add it by hand: pipesched {'add-once' if kind == 'DateTrigger' else 'add-interval'} --help",
        )
    raise InvalidValue(
        f"its trigger type {kind!r:.40} is not known",
        hint="CronTrigger, IntervalTrigger and DateTrigger are",
    )


def _from_text(job: _Job, text: str) -> TriggerOptions:
    match apscheduler.read_text(text):
        case apscheduler.Cron(expression):
            _compare_zones(job)
            return TriggerOptions(expression=_with_weekday(job, expression))
        case apscheduler.Interval(seconds):
            return TriggerOptions(seconds=seconds, anchor=_next_run(job))
        case apscheduler.Date(wall, zone):
            return _at(job, _instant(job, wall, zone))


def _with_weekday(job: _Job, expression: str) -> str:
    """The file may say the weekday beside the trigger's text, which then does not; if both do, they have to agree."""
    beside = job.document.get("day_of_week")
    if beside is None:
        return expression
    weekday = apscheduler.weekdays(_field(job, "day_of_week") or "*")
    rest, _, in_text = expression.rpartition(" ")
    if in_text not in {"*", weekday}:
        raise InvalidValue(
            f"its trigger says day of week {in_text}, its day_of_week {beside!r:.20} is {weekday}",
            hint="take one of the two out",
        )
    return f"{rest} {weekday}"


def _next_run(job: _Job) -> str | None:
    """The grid of an interval goes through the next run, where the file has it."""
    value = job.document.get("next_run_time")
    if not isinstance(value, str):
        return None
    at = parse_time(value, zone=load_zone(job.zone), now=job.now)
    return at.replace(microsecond=0).isoformat()


def _compare_zones(job: _Job) -> None:
    """That system wrote no zone, but the next run with its offset, which tells when the zone here is another."""
    value = job.document.get("next_run_time")
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return
    if at is None or at.tzinfo is None:
        return
    zone = load_zone(job.zone)
    if at.astimezone(zone).utcoffset() != at.utcoffset():
        job.warnings.append(
            f"its next run there, {value}, is in another zone than {job.zone}; see --timezone"
        )


def _instant(job: _Job, wall: str, zone: str) -> str:
    """The text of a one-time trigger has no offset, but a zone's abbreviation, which several zones share."""
    for key in ("run_date", "next_run_time"):
        value = job.document.get(key)
        if isinstance(value, str):
            return value
    if not zone:
        return wall
    if zone.lower() in _UTC:
        return f"{wall}+00:00"
    if offset := _OFFSET.fullmatch(zone):
        return f"{wall}{offset[1]}{offset[2]}:{offset[3]}"
    try:
        at = parse_time(wall, zone=load_zone(zone), now=job.now)
    except InvalidValue as error:
        raise InvalidValue(
            f"{zone!r} in its trigger {wall} {zone} does not tell the zone: several have that abbreviation",
            hint="write run_date with its offset, as 2027-01-31T09:00:00+01:00",
        ) from error
    return at.isoformat()


def _at(job: _Job, text: str) -> TriggerOptions:
    at = parse_time(text, zone=load_zone(job.zone), now=job.now)
    if at <= job.now:
        raise InvalidValue(
            f"its time, {at.astimezone(load_zone(job.zone)).isoformat()}, has passed, so that it would never run",
            hint="leave it out, or give it a time to come",
        )
    return TriggerOptions(at=text)


def _from_keys(job: _Job) -> TriggerOptions:
    kind = _kind(job.document)
    if kind == "cron":
        return _cron(job)
    if kind == "interval":
        return _interval(job)
    run_date = job.document.get("run_date")
    if not isinstance(run_date, str):
        raise InvalidValue("it has no run_date", hint='such as "2027-01-31T09:00:00"')
    return _at(job, run_date)


def _kind(document: Mapping[str, Any]) -> str:
    kind = document.get("type")
    if isinstance(kind, str) and kind.lower() in _KINDS:
        return _KINDS[kind.lower()]
    if kind is not None:
        raise InvalidValue(f"its type {kind!r:.40} is not known", hint="cron, interval, date and onetime are")
    groups = {"cron": (*_CRON, "cron_expression"), "interval": _UNITS, "once": ("run_date",)}
    found = [name for name, keys in groups.items() if any(document.get(key) is not None for key in keys)]
    if len(found) != 1:
        raise InvalidValue("it has no type", hint="cron, interval, date or onetime")
    return found[0]


def _cron(job: _Job) -> TriggerOptions:
    given = {name: text for name in _CRON if (text := _field(job, name)) is not None}
    expression = job.document.get("cron_expression")
    if expression is None:
        if not given:
            raise InvalidValue("it has no schedule", hint="cron_expression, or hour, minute and day_of_week")
        return TriggerOptions(expression=apscheduler.expression(given))
    if not isinstance(expression, str):
        raise InvalidValue(f"cron_expression is a {json_type(expression)}", hint='such as "0 2 * * *"')
    if given:
        job.warnings.append(f"{' and '.join(given)} were left out: its cron_expression holds")
    # An expression is cron's, whose Sunday is 0, whatever that system made of it.
    return TriggerOptions(expression=expression)


def _field(job: _Job, name: str) -> str | None:
    value = job.document.get(name)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue(f"{name} {value!r:.40} cannot be used", hint="it is a number or a cron field")
    return str(value)


def _interval(job: _Job) -> TriggerOptions:
    """The sum of its units; one that is left out counts as nothing."""
    values: dict[str, float] = {}
    for unit in _UNITS:
        value = job.document.get(unit)
        if value is None:
            continue
        try:
            values[unit] = float(value) if not isinstance(value, bool) else float("nan")
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidValue(f"{unit} {value!r:.40} is no number", hint="such as 1 or 0.5") from error
    if not values:
        raise InvalidValue("it has no interval", hint="days, hours, minutes or seconds")
    weeks = values.pop("weeks", None)
    if weeks is not None:
        values["days"] = values.get("days", 0.0) + 7 * weeks
    return TriggerOptions(
        days=values.get("days"),
        hours=values.get("hours"),
        minutes=values.get("minutes"),
        seconds=values.get("seconds"),
        anchor=_next_run(job),
    )
