"""When a job of the scheduler that this one replaces is due: from its keys, or from what its exports hold of the trigger."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pipesched.errors import InvalidValue
from pipesched.jobs.encoding import json_type
from pipesched.jobs.formats import apscheduler
from pipesched.jobs.triggers import TriggerOptions
from pipesched.schedule.timetext import parse_time
from pipesched.schedule.zones import load_zone

_SECONDS: Final = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
UNITS: Final = tuple(_SECONDS)
CRON: Final = ("hour", "minute", "day_of_week", "day", "month", "week", "year", "second")
_KINDS: Final = {
    "cron": "cron", "interval": "interval", "date": "once", "onetime": "once", "one_time": "once", "once": "once",
}  # fmt: skip
_GROUPS: Final = {"cron": (*CRON, "cron_expression"), "interval": UNITS, "once": ("run_date",)}
_LOST: Final = {"IntervalTrigger": "interval", "DateTrigger": "date"}
_UTC: Final = frozenset({"utc", "gmt", "z", "utc+00:00"})
_OFFSET = re.compile(r"(?:UTC)?([+-])(\d\d):?(\d\d)")


@dataclass
class ForeignJob:
    """One job under way: what it says, and what has to be said about it."""

    id: str
    document: Mapping[str, Any]
    zone: str
    now: datetime
    warnings: list[str] = field(default_factory=list)


def schedule(job: ForeignJob) -> TriggerOptions:
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
    if isinstance(kind, str) and kind in _LOST:
        raise InvalidValue(
            f"its schedule is lost: the file does not hold the fields of a {kind}",
            hint=f"add it by hand: pipesched {'add-once' if kind == 'DateTrigger' else 'add-interval'} --help",
        )
    raise InvalidValue(
        f"its trigger type {kind!r:.40} is not known",
        hint="CronTrigger, IntervalTrigger and DateTrigger are",
    )


def _from_text(job: ForeignJob, text: str) -> TriggerOptions:
    match apscheduler.read_text(text):
        case apscheduler.Cron(expression):
            _check_kind(job, "cron")
            _compare_zones(job)
            return TriggerOptions(expression=_with_weekday(job, expression))
        case apscheduler.Interval(seconds):
            _check_kind(job, "interval")
            _compare_units(job, seconds)
            return TriggerOptions(seconds=seconds, anchor=_next_run(job))
        case apscheduler.Date(wall, zone):
            _check_kind(job, "once")
            return _at(job, _instant(job, wall, zone))


def _check_kind(job: ForeignJob, kind: str) -> None:
    """The type beside a trigger's text may be left out, but not be another one."""
    said = job.document.get("type")
    if isinstance(said, str) and _KINDS.get(said.lower(), kind) != kind:
        raise InvalidValue(
            f"its type is {said!r:.20}, its trigger {job.document['trigger']!r:.60}",
            hint="take one of the two out",
        )


def _compare_units(job: ForeignJob, seconds: float) -> None:
    units = _units(job)
    if units and sum(units[unit] * _SECONDS[unit] for unit in units) != seconds:
        said = ", ".join(f"{unit} {value:g}" for unit, value in units.items())
        job.warnings.append(f"{said} beside its trigger were left out: the trigger holds")


def _with_weekday(job: ForeignJob, expression: str) -> str:
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


def _next_run(job: ForeignJob) -> str | None:
    """The grid of an interval goes through the next run, where the file has it."""
    value = job.document.get("next_run_time")
    if not isinstance(value, str):
        return None
    at = parse_time(value, zone=load_zone(job.zone), now=job.now)
    return at.replace(microsecond=0).isoformat()


def _compare_zones(job: ForeignJob) -> None:
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


def _instant(job: ForeignJob, wall: str, zone: str) -> str:
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


def _at(job: ForeignJob, text: str) -> TriggerOptions:
    at = parse_time(text, zone=load_zone(job.zone), now=job.now)
    if at <= job.now:
        raise InvalidValue(
            f"its time, {at.astimezone(load_zone(job.zone)).isoformat()}, has passed, so that it would never run",
            hint="leave it out, or give it a time to come",
        )
    return TriggerOptions(at=text)


def _from_keys(job: ForeignJob) -> TriggerOptions:
    kind = _kind(job.document)
    _warn_of_others(job, kind)
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
    found = [name for name, keys in _GROUPS.items() if any(document.get(key) is not None for key in keys)]
    if len(found) != 1:
        raise InvalidValue("it has no type", hint="cron, interval, date or onetime")
    return found[0]


def _warn_of_others(job: ForeignJob, kind: str) -> None:
    """`minute` of an interval, `hours` of a cron job: most likely something else was meant."""
    for name, keys in _GROUPS.items():
        for key in keys:
            if name != kind and job.document.get(key) is not None:
                near = difflib.get_close_matches(key, _GROUPS[kind], n=1)
                said = f"; did you mean {near[0]!r}?" if near else ""
                job.warnings.append(
                    f"{key} was left out: it is not for type {job.document.get('type')}{said}"
                )


def _cron(job: ForeignJob) -> TriggerOptions:
    given = {name: text for name in CRON if (text := _field(job, name)) is not None}
    expression = job.document.get("cron_expression")
    if expression is None:
        if not given:
            raise InvalidValue("it has no schedule", hint="cron_expression, or hour, minute and day_of_week")
        return TriggerOptions(expression=apscheduler.expression(given))
    if not isinstance(expression, str):
        raise InvalidValue(f"cron_expression is a {json_type(expression)}", hint='such as "0 2 * * *"')
    if given:
        were = "was" if len(given) == 1 else "were"
        job.warnings.append(f"{' and '.join(given)} {were} left out: its cron_expression holds")
    days = expression.split()[2::2]
    if len(days) == 2 and not any(day.startswith(("*", "?")) for day in days):
        job.warnings.append(
            f"its day of month {days[0]} and day of week {days[1]} both had to match there; here it runs when either does"
        )
    # An expression is cron's, whose Sunday is 0, whatever that system made of it.
    return TriggerOptions(expression=expression)


def _field(job: ForeignJob, name: str) -> str | None:
    value = job.document.get(name)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue(f"{name} {value!r:.40} cannot be used", hint="it is a number or a cron field")
    return str(value)


def _interval(job: ForeignJob) -> TriggerOptions:
    """The sum of its units; one that is left out counts as nothing."""
    values = _units(job)
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


def _units(job: ForeignJob) -> dict[str, float]:
    """What it says of an interval."""
    values: dict[str, float] = {}
    for unit in UNITS:
        value = job.document.get(unit)
        if value is None:
            continue
        try:
            values[unit] = float("no" if isinstance(value, bool) else value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidValue(f"{unit} {value!r:.40} is no number", hint="such as 1 or 0.5") from error
    return values
