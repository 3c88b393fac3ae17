"""PURE: from the options of a command to a job, or to a changed one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from pipesched.errors import InvalidValue
from pipesched.jobs.model import Job, JobPolicy
from pipesched.jobs.refusal import explain
from pipesched.jobs.triggers import AnyTrigger, TriggerOptions, build_trigger, option_time
from pipesched.options import PIPELINE_OPTIONS, PipelineConfig
from pipesched.schedule.model import Progress, Schedule
from pipesched.schedule.outlook import upcoming
from pipesched.schedule.parse import cron
from pipesched.schedule.timetext import format_duration
from pipesched.schedule.zones import load_zone
from pipesched.settings import JOB_ID_PATTERN

POLICY_OPTIONS: Final = tuple(JobPolicy.model_fields)
UNSETTABLE: Final = ("description", "tag", "timezone", *POLICY_OPTIONS, *PIPELINE_OPTIONS)
"""What `edit --unset` takes away, as options are spelled in Python."""
_Model = TypeVar("_Model", bound=BaseModel)


def build_policy(
    given: Mapping[str, Any], *, zone: tzinfo, now: datetime, over: Mapping[str, Any] | None = None
) -> JobPolicy:
    """The policy of the options in `given` over the values of another. Raises InvalidValue."""
    values = dict(over or {})
    for name in POLICY_OPTIONS:
        if name in given:
            values[name] = given[name]
    for name in ("start", "end"):
        if isinstance(values.get(name), str):
            values[name] = option_time(name, values[name], zone=zone, now=now)
    if "trigger_on" in values and not values.get("after"):
        raise InvalidValue(
            "--trigger-on goes with --after",
            hint="name the job to wait for with --after, or leave it out"
            if "trigger_on" in given
            else "take it away too: --unset trigger-on",
        )
    return _checked(JobPolicy, values)


def _checked(model: type[_Model], values: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise explain(error, option=True) from error


def build_job(
    job_id: str,
    trigger: AnyTrigger,
    given: Mapping[str, Any],
    config: PipelineConfig,
    *,
    zone: str,
    now: datetime,
    name: str = "",
    base_policy: Mapping[str, Any] | None = None,
    calendar: tuple[str, ...] = (),
) -> Job:
    """A new job of the job options in `given` (text as on the command line), in a file with `calendar`. Raises InvalidValue."""
    paused = bool(given.get("paused"))
    policy = build_policy(given, zone=load_zone(zone), now=now, over=base_policy)
    values = {
        "id": job_id,
        "name": name,
        "description": given.get("description", ""),
        "tags": given.get("tag", ()),
        "timezone": zone,
        "trigger": trigger,
        "policy": policy,
        "config": config,
        "enabled": not paused,
        "created_at": now,
        "since": now,
        "paused_at": now if paused else None,
        "calendar": calendar,
    }
    job = _checked(Job, values).rescheduled(now)
    check_timing(job, now)
    return job


def check_timing(job: Job, now: datetime) -> None:
    """Refuse options that do not fit the schedule: a job that would never run, a jitter beyond its period.

    Raises InvalidValue.
    """
    timed = job.timed()
    policy = job.policy
    if policy.catch_up == "none" and job.trigger.type == "once" and job.trigger.if_past == "run":
        raise InvalidValue("--if-past run and --catch-up none contradict each other", hint="leave one out")
    if timed.schedule.at_start:
        return
    if policy.jitter and policy.jitter > (period := _shortest_period(timed.schedule, now)):
        raise InvalidValue(
            f"--jitter ({format_duration(policy.jitter)}) must not be above the schedule's period"
            f" ({format_duration(period)})",
            hint="a jitter is a delay of at most this much",
        )
    after = now
    if job.trigger.type == "once" and job.trigger.at <= now:
        if job.trigger.if_past is None:
            return
        after = job.trigger.at - timedelta(seconds=1)
    unpaused = replace(timed, paused_at=None)
    if next(upcoming(unpaused, Progress(), after), None) is None:
        always_open = replace(unpaused, policy=replace(timed.policy, blackout=None))
        if next(upcoming(always_open, Progress(), after), None) is not None:
            closed = " and ".join(
                [f"--not-during {each}" for each in policy.not_during] + ["the calendar"] * bool(job.calendar)
            )
            raise InvalidValue(
                f"job {job.id} would never run: {timed.schedule.text} fires only inside {closed}",
                hint="leave it some time, or pause the job instead",
            )
        window = " between --start and --end" if policy.start is not None else " before --end"
        raise InvalidValue(
            f"job {job.id} would never run: {timed.schedule.text} has no fire{window}",
            hint="look at --start and --end, or pause the job instead",
        )


def _shortest_period(schedule: Schedule, now: datetime) -> float:
    """Seconds between the nearest two of the next fires."""
    times: list[datetime] = []
    at = now
    while len(times) < 8 and (found := schedule.next(at)) is not None:
        at = found.at
        times.append(at)
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    return min(gaps, default=schedule.period(now).total_seconds())


@dataclass(frozen=True, slots=True)
class Edit:
    """What `edit` was given. `given`: job options; `unset`: names as in UNSETTABLE."""

    given: Mapping[str, Any]
    config: PipelineConfig
    trigger: TriggerOptions
    unset: Collection[str] = ()

    @property
    def empty(self) -> bool:
        return not (self.given or self.config.set_values() or self.trigger.kinds() or self.unset)

    def only(self, options: Collection[str]) -> Edit:
        """The same, of these pipeline options alone."""
        config = {name: value for name, value in self.config.set_values().items() if name in options}
        unset = [name for name in self.unset if name in options]
        return Edit({}, PipelineConfig.checked(config), TriggerOptions(), unset)


def unset_names(words: Collection[str], *, given: Collection[str]) -> list[str]:
    """The options that `--unset` names, with or without dashes. Raises InvalidValue."""
    names = []
    for word in words:
        name = word.strip().removeprefix("--").replace("-", "_")
        name = {"tags": "tag", "no_paused": "paused"}.get(name, name)
        if name not in UNSETTABLE:
            near = difflib.get_close_matches(name, UNSETTABLE, n=1)
            hint = f"did you mean {near[0].replace('_', '-')}?" if near else "see pipesched edit --help"
            if name == "paused":
                hint = "pipesched resume lets it fire again"
            raise InvalidValue(f"--unset: there is no setting {word!r} to take away", hint=hint)
        if name in given:
            raise InvalidValue(
                f"--{name.replace('_', '-')} is given and unset at once", hint="leave one of them out"
            )
        names.append(name)
    return names


def edited(job: Job, edit: Edit, *, default_zone: str, now: datetime) -> Job:
    """`job` changed as `edit` says; where its schedule changes, slots count from `now`. Raises InvalidValue."""
    zone = job.timezone
    if "timezone" in edit.unset:
        zone = default_zone
    zone = edit.given.get("timezone", zone)
    trigger: AnyTrigger = job.trigger
    if edit.trigger.kinds():
        trigger = build_trigger(edit.trigger, job_id=job.id, zone=zone, now=now, old=job.trigger)
    elif trigger.type == "cron" and zone != job.timezone:
        cron(trigger.expression, zone=zone, job_id=job.id)
    policy_over = {
        name: value
        for name, value in job.policy.model_dump(exclude_unset=True).items()
        if name not in edit.unset
    }
    config = {
        name: value for name, value in job.config.set_values().items() if name not in edit.unset
    } | edit.config.set_values()
    values = {
        **{name: getattr(job, name) for name in Job.model_fields},
        "timezone": zone,
        "trigger": trigger,
        "policy": build_policy(edit.given, zone=load_zone(zone), now=now, over=policy_over),
        "config": PipelineConfig.checked(config),
    }
    if "description" in edit.unset or "description" in edit.given:
        values["description"] = edit.given.get("description", "")
    if "tag" in edit.unset or "tag" in edit.given:
        values["tags"] = edit.given.get("tag", ())
    changed = _checked(Job, values)
    if changed.schedule_key != job.schedule_key:
        changed = changed.rescheduled(now)
    if timing(changed) != timing(job):
        check_timing(changed, now)
    paused = edit.given.get("paused")
    if paused is True:
        changed = paused_job(changed, now)
    elif paused is False:
        changed = resumed_job(changed, now)
    return changed


def timing(job: Job) -> tuple[object, ...]:
    """All that decides when the job fires."""
    policy = job.policy
    zone = job.timezone if policy.not_during or job.calendar else ""
    return job.schedule_key, policy.start, policy.end, policy.jitter, policy.catch_up, policy.not_during, zone


def paused_job(job: Job, now: datetime) -> Job:
    """Paused from `now`; one that is paused already stays paused since then."""
    if not job.enabled:
        return job
    return job.model_copy(update={"enabled": False, "paused_at": now})


def resumed_job(job: Job, now: datetime) -> Job:
    """Firing again, with its slots counted from `now`."""
    update: dict[str, Any] = {"enabled": True, "paused_at": None}
    if not job.enabled:
        update["since"] = now
    return job.model_copy(update=update)


def checked_id(job_id: str) -> None:
    """Raises InvalidValue."""
    if not re.fullmatch(JOB_ID_PATTERN, job_id):
        raise InvalidValue(
            f"JOB_ID: {job_id!r:.100} cannot be used",
            hint="1 to 64 letters, digits, dots, dashes, underscores, a letter or digit first",
        )
