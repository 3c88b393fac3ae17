"""PURE: from the trigger options of a command to a trigger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from pipesched.errors import InvalidValue
from pipesched.jobs.documents import with_offset
from pipesched.jobs.model import CronTrigger, IntervalTrigger, OnceTrigger
from pipesched.schedule.parse import cron, cron_from_parts, interval
from pipesched.schedule.timetext import parse_duration, parse_time
from pipesched.schedule.zones import load_zone

AnyTrigger = CronTrigger | IntervalTrigger | OnceTrigger
_UNITS: Final = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


@dataclass(frozen=True, slots=True)
class TriggerOptions:
    """The trigger options of all `add-*` commands as given, still text; None: not given."""

    expression: str | None = None
    hour: str | None = None
    minute: str | None = None
    day_of_week: str | None = None
    days: float | None = None
    hours: float | None = None
    minutes: float | None = None
    seconds: float | None = None
    every: str | None = None
    anchor: str | None = None
    at: str | None = None
    if_past: str | None = None

    def kinds(self) -> list[str]:
        """The kinds of trigger that what was given belongs to."""
        groups = {
            "cron": (self.expression, self.hour, self.minute, self.day_of_week),
            "interval": (self.days, self.hours, self.minutes, self.seconds, self.every, self.anchor),
            "once": (self.at, self.if_past),
        }
        return [kind for kind, values in groups.items() if any(value is not None for value in values)]


def build_trigger(
    options: TriggerOptions, *, job_id: str, zone: str, now: datetime, old: AnyTrigger | None = None
) -> AnyTrigger:
    """The trigger that `options` give, over `old` where they say only a part of an interval. Raises InvalidValue."""
    kinds = options.kinds()
    if len(kinds) != 1:
        raise InvalidValue(
            f"options of {' and '.join(kinds)} schedules cannot go together"
            if kinds
            else "no schedule is given",
            hint="give one of: an expression or --hour/--minute/--day-of-week; --every or its parts; --at",
        )
    match kinds[0]:
        case "cron":
            return _cron(options, job_id=job_id, zone=zone)
        case "interval":
            return _interval(options, zone=load_zone(zone), now=now, old=old)
        case _:
            return _once(options, zone=load_zone(zone), now=now)


def _cron(options: TriggerOptions, *, job_id: str, zone: str) -> CronTrigger:
    parts = (options.hour, options.minute, options.day_of_week)
    if options.expression is None:
        expression = cron_from_parts(*parts)
    elif any(part is not None for part in parts):
        raise InvalidValue(
            "an expression cannot go together with --hour, --minute or --day-of-week", hint="give one of them"
        )
    else:
        expression = options.expression
    return CronTrigger(expression=cron(expression, zone=zone, job_id=job_id).text)


def _interval(
    options: TriggerOptions, *, zone: tzinfo, now: datetime, old: AnyTrigger | None
) -> IntervalTrigger:
    given = {unit: value for unit in _UNITS if (value := getattr(options, unit)) is not None}
    kept = old if isinstance(old, IntervalTrigger) else None
    if options.every is not None and given:
        raise InvalidValue(
            f"--every cannot go together with --{next(iter(given))}", hint="give the one or the other"
        )
    for unit, value in given.items():
        if not math.isfinite(value) or value < 0:
            raise InvalidValue(f"--{unit}: {value:g} cannot be used", hint="it must be 0 or more")
    if options.every is not None:
        try:
            seconds = parse_duration(options.every)
        except InvalidValue as error:
            raise InvalidValue(f"--every: {error.message}", hint=error.hint) from error
    elif given:
        seconds = math.fsum(_UNITS[unit] * value for unit, value in given.items())
    elif kept is not None:
        seconds = kept.seconds
    else:
        raise InvalidValue(
            "no interval is given", hint="give --every 90m, or --days, --hours, --minutes, --seconds"
        )
    if seconds <= 0:
        raise InvalidValue("the interval must be over 0", hint="for example --every 30m")
    if options.anchor is not None:
        anchor = option_time("anchor", options.anchor, zone=zone, now=now)
    else:
        anchor = kept.anchor if kept is not None else now
    interval(seconds, anchor)
    return IntervalTrigger(seconds=seconds, anchor=anchor)


def _once(options: TriggerOptions, *, zone: tzinfo, now: datetime) -> OnceTrigger:
    if options.if_past not in {None, "run", "refuse"}:
        raise InvalidValue(f"--if-past: {options.if_past!r} cannot be used", hint="run or refuse")
    if options.at is None:
        raise InvalidValue("--if-past goes with --at", hint='for example --at "2027-01-31 09:00"')
    at = option_time("at", options.at, zone=zone, now=now)
    if at > now:
        return OnceTrigger(at=at)
    if options.if_past != "run":
        raise InvalidValue(
            f"--at: {at.isoformat()} has passed", hint="give a time to come, or --if-past run to run it now"
        )
    return OnceTrigger(at=at, if_past="run")


def option_time(option: str, text: str, *, zone: tzinfo, now: datetime) -> datetime:
    """In the job's zone, which is how people read it in the file."""
    try:
        return with_offset(parse_time(text, zone=zone, now=now), zone)
    except InvalidValue as error:
        raise InvalidValue(f"--{option}: {error.message}", hint=error.hint) from error
