"""The tables of the job file to jobs and back: what people may write, and what is said about the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipesched.errors import DataError, InvalidValue
from pipesched.jobs.dependencies import find_cycle
from pipesched.jobs.encoding import Json, Tables, json_type, nested
from pipesched.jobs.model import Defaults, IntervalTrigger, Job, JobFile, JobPolicy, Problem, Stamp
from pipesched.jobs.refusal import explain
from pipesched.options import PipelineConfig
from pipesched.schedule.model import EPOCH


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Job]:
    return TypeAdapter(Job)


@dataclass(frozen=True, slots=True)
class Shared:
    """Thousands of jobs have few policies, and few sets of names that were set: a third of what they take."""

    policies: dict[str, JobPolicy] = field(default_factory=dict)
    names: dict[frozenset[str], set[str]] = field(default_factory=dict)

    def job(self, document: Json) -> Job:
        """The job of `document`. Raises pydantic's ValidationError."""
        policy = document.get("policy")
        said = repr(policy)
        known = self.policies.get(said) if isinstance(policy, dict) else None
        job = _adapter().validate_python(document if known is None else {**document, "policy": known})
        if known is None:
            self.policies[said] = job.policy
        for model in (job, job.trigger, job.config):
            names = model.model_fields_set
            # A model never changes its own: model_copy makes another.
            object.__setattr__(
                model, "__pydantic_fields_set__", self.names.setdefault(frozenset(names), names)
            )
        return job


@dataclass(frozen=True, slots=True)
class Context:
    """What a job that says nothing about it gets: a zone, and the time when the file was last written.

    `shared`: what jobs that were read so far have in common, of which each need not have its own.
    """

    timezone: Callable[[], str]
    written_at: datetime
    shared: Shared = field(default_factory=Shared)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the tables hold.

    `unsettled`: documents by number that say less than the job read from them (a person left out a time or a zone), so that
    the next save has to say it, because it moves the file's own time.
    """

    job_file: JobFile
    unsettled: Mapping[str, Job]


def read(
    tables: Tables, *, context: Context, stamp: Stamp | None, version: int, consume: bool = False
) -> Reading:
    """The jobs in `tables`; those that cannot be used are in `problems`, and the others there all the same.

    `consume`: empty the table meanwhile, so that documents and jobs of a large file are not all there at once.
    """
    problems: list[Problem] = []
    unsettled: dict[str, Job] = {}
    defaults = _defaults(tables["defaults"], problems)
    calendar = defaults.calendar
    if defaults.timezone is not None:
        zone = defaults.timezone
        context = replace(context, timezone=lambda: zone)
    jobs: dict[str, Job] = {}
    table = tables["jobs"]
    for number in list(table):
        document = table.pop(number) if consume else table[number]
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
        jobs[job.id] = job.with_calendar(calendar) if calendar else job
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
        raise InvalidValue(f"is a {json_type(document)}, not an object", hint="see docs/job-file.md")
    if "calendar" in document:
        raise InvalidValue(
            "calendar: there is no such setting",
            hint="under defaults it holds for all jobs; see docs/time.md",
        )
    filled = _filled(document, context)
    settled = filled is document
    try:
        job = context.shared.job(filled)
    except ValidationError:
        settled = False
        filled = _filled(nested(document), context)
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
        problems.append(
            Problem(None, f"defaults is a {json_type(document)}, not an object", in_defaults=True)
        )
        return Defaults()
    config = document.get("config", {})
    flat = {key: value for key, value in document.items() if key not in {"config", "timezone", "calendar"}}
    if not isinstance(config, dict):
        problems.append(
            Problem(None, f"defaults.config is a {json_type(config)}, not an object", in_defaults=True)
        )
        config = {}
    values = {"timezone": document.get("timezone"), "config": {**config, **flat}}
    if "calendar" in document:
        values["calendar"] = document["calendar"]
    try:
        return Defaults.model_validate(values)
    except ValidationError as error:
        bad = explain(error)
        problems.append(Problem(None, f"defaults: {bad.message}", bad.hint, in_defaults=True))
        return _usable_defaults(values, error)


def _usable_defaults(values: Json, error: ValidationError) -> Defaults:
    """The defaults without what is wrong in them."""
    bad = {entry["loc"][:2] for entry in error.errors()}
    dates = values.get("calendar")
    if not isinstance(dates, list):
        dates = []
    config = {key: value for key, value in values["config"].items() if ("config", key) not in bad}
    try:
        usable_config = PipelineConfig.model_validate(config)
    except ValidationError:  # each is good, and they do not go together
        usable_config = PipelineConfig()
    return Defaults(
        timezone=None if ("timezone",) in bad else values["timezone"],
        calendar=tuple(each for place, each in enumerate(dates) if ("calendar", place) not in bad),
        config=usable_config,
    )


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
            policy[key] = format_duration(policy[key])
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
    calendar = {"calendar": list(defaults.calendar)} if defaults.calendar else {}
    return {"defaults": {"1": {**zone, **calendar, "config": defaults.config.set_values()}}}
