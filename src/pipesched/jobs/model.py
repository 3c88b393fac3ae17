"""Jobs as people write them: a trigger, a policy, and the pipeline options set for it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from pipesched.errors import DataError, InvalidValue, NotFound
from pipesched.options import PipelineConfig
from pipesched.schedule.model import EPOCH, CatchUp, Overlap, Policy, TimedJob, TriggerKind, TriggerOn
from pipesched.settings import JOB_ID_PATTERN, SCHEMA_VERSION

if TYPE_CHECKING:
    from pipesched.schedule.blackout import Blackout
    from pipesched.schedule.model import Schedule

_T = TypeVar("_T")
Stamp = tuple[int, int, int]
"""A file's (mtime_ns, size, inode): another stamp, another content."""

DAY_SECONDS: Final = 86_400.0
_LONGEST_SECONDS: Final = 100 * 366 * DAY_SECONDS
_ENV_NAME: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_APPRISE_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\x00-\x1f]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_HTTP_URL: Final = re.compile(r"https?://[^\s/\x00-\x1f][^\s\x00-\x1f]*")


def _duration(value: object) -> object:
    """Text such as `1h30m`, or a number of seconds."""
    if isinstance(value, bool):
        raise ValueError("must be a duration such as 90s, 30m or 1h30m")  # noqa: TRY004  pydantic wants ValueError
    if not isinstance(value, str):
        return value
    from pipesched.schedule.timetext import parse_duration

    try:
        return parse_duration(value, allow_zero=True)
    except InvalidValue as error:
        raise ValueError(error.message) from error


@lru_cache(maxsize=1024)
def _zone(name: str) -> str:
    from pipesched.schedule.zones import load_zone

    _said(load_zone, name)
    return name


@lru_cache(maxsize=1024)
def _window(text: str) -> str:
    """As it is always written."""
    from pipesched.schedule.blackout import parse_window

    return _said(parse_window, text).text


@lru_cache(maxsize=1024)
def _dates(text: str) -> str:
    from pipesched.schedule.blackout import parse_dates

    return _said(parse_dates, text).text


def _said(parse: Callable[[str], _T], text: str) -> _T:
    try:
        return parse(text)
    except InvalidValue as error:
        raise ValueError(f"{error.message}. {error.hint}") from error


def _each_once(values: tuple[_T, ...]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    return value


def _secret_url(pattern: re.Pattern[str], what: str, value: str) -> str:
    # The value itself may be a secret, so that no message repeats it.
    if not (_ENV_NAME.fullmatch(value) if value.startswith("env:") else pattern.fullmatch(value)):
        raise ValueError(f"must be {what}, or env:NAME")
    return value


def _notify(value: str) -> str:
    return _secret_url(_APPRISE_URL, "an Apprise URL such as mailto://user:password@example.com", value)


def _ping(value: str) -> str:
    return _secret_url(_HTTP_URL, "an http or https URL", value)


JobId = Annotated[str, Field(pattern=rf"^{JOB_ID_PATTERN}\z")]
Zone = Annotated[str, AfterValidator(_zone)]
Tag = Annotated[str, Field(pattern=r"^[^\s,\x00-\x1f]{1,64}\z")]
Text = Annotated[str, Field(max_length=2000), AfterValidator(_printable)]
WindowText = Annotated[str, AfterValidator(_window)]
DatesText = Annotated[str, AfterValidator(_dates)]
Seconds = Annotated[float, BeforeValidator(_duration), Field(ge=0, le=_LONGEST_SECONDS, allow_inf_nan=False)]
PositiveSeconds = Annotated[
    float, BeforeValidator(_duration), Field(gt=0, le=_LONGEST_SECONDS, allow_inf_nan=False)
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class CronTrigger(_Frozen):
    """By a cron expression of five fields or a macro, read in the job's zone."""

    type: Literal["cron"] = "cron"
    expression: str

    @property
    def key(self) -> str:
        return self.expression

    def as_json(self) -> dict[str, Any]:
        return {"expression": self.expression}


class IntervalTrigger(_Frozen):
    """Every `seconds`, on a grid that goes through `anchor`. In the file `every` is text, such as `1h30m`."""

    type: Literal["interval"] = "interval"
    seconds: PositiveSeconds = Field(validation_alias=AliasChoices("every", "seconds"))
    anchor: AwareDatetime = EPOCH

    @property
    def key(self) -> str:
        return f"every {self.seconds:g}s from {self.anchor.astimezone(UTC).isoformat()}"

    def as_json(self) -> dict[str, Any]:
        seconds = int(self.seconds) if self.seconds.is_integer() else self.seconds
        return {"seconds": seconds, "anchor": self.anchor.isoformat()}


class OnceTrigger(_Frozen):
    """At one instant. `if_past="run"`: it had passed when the job was added, and is to run all the same."""

    type: Literal["once"] = "once"
    at: AwareDatetime
    if_past: Literal["run"] | None = None

    @property
    def key(self) -> str:
        return f"once at {self.at.astimezone(UTC).isoformat()}"

    def as_json(self) -> dict[str, Any]:
        return {"at": self.at.isoformat()}


Trigger = Annotated[CronTrigger | IntervalTrigger | OnceTrigger, Field(discriminator="type")]


class JobPolicy(_Frozen):
    """How a job's occurrences are treated, and who is told. Durations are seconds, times aware."""

    catch_up: CatchUp = "latest"
    grace: PositiveSeconds | None = None
    overlap: Overlap = "skip"
    timeout: PositiveSeconds | None = None
    retries: Annotated[int, Field(ge=0, le=1000)] = 0
    retry_delay: Seconds = 60.0
    jitter: Seconds = 0.0
    after: Annotated[tuple[JobId, ...], AfterValidator(_each_once)] = ()
    trigger_on: TriggerOn = "success"
    not_during: Annotated[tuple[WindowText, ...], AfterValidator(_each_once)] = ()
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    max_runs: Annotated[int, Field(ge=1)] | None = None
    pause_after_failures: Annotated[int, Field(ge=1)] | None = None
    notify: Annotated[tuple[Annotated[str, AfterValidator(_notify)], ...], AfterValidator(_each_once)] = (
        Field(default=(), repr=False)
    )
    ping: Annotated[str, AfterValidator(_ping)] | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _start_before_end(self) -> Self:
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"end ({self.end.isoformat()}) must be after start ({self.start.isoformat()})")
        return self

    def timed(self, *, zone: str, calendar: tuple[str, ...] = ()) -> Policy:
        """The part that decides about time: windows are those of the clock in `zone`, as are the dates of `calendar`."""
        return Policy(
            catch_up=self.catch_up,
            grace=self.grace,
            overlap=self.overlap,
            timeout=self.timeout,
            retries=self.retries,
            retry_delay=self.retry_delay,
            jitter=self.jitter,
            after=self.after,
            trigger_on=self.trigger_on,
            start=None if self.start is None else self.start.astimezone(UTC),
            end=None if self.end is None else self.end.astimezone(UTC),
            max_runs=self.max_runs,
            pause_after_failures=self.pause_after_failures,
            blackout=_blackout(self.not_during, calendar, zone) if self.not_during or calendar else None,
        )


def _blackout(windows: tuple[str, ...], calendar: tuple[str, ...], zone: str) -> Blackout | None:
    from pipesched.schedule.blackout import blackout

    return blackout(windows, calendar, zone)


_NO_POLICY: Final = JobPolicy()
_NO_CONFIG: Final = PipelineConfig()
SECRET_OPTIONS: Final = frozenset({"notify", "ping"})


class Job(_Frozen):
    """One job of the job file. Times are aware. `created_at`: None where a person wrote the job by hand.

    `since`: slots count strictly after it. `since_schedule`: the schedule that `since` was written for, so that one which
    somebody changes by hand counts from that change. `calendar`: the dates of the file's defaults; no part of the job's document.
    """

    id: JobId
    name: Text = ""
    description: Text = ""
    tags: Annotated[tuple[Tag, ...], AfterValidator(_each_once)] = ()
    timezone: Zone
    trigger: Trigger
    policy: JobPolicy = _NO_POLICY
    config: PipelineConfig = _NO_CONFIG
    enabled: bool = True
    created_at: AwareDatetime | None = None
    since: AwareDatetime
    since_schedule: str = ""
    paused_at: AwareDatetime | None = None
    calendar: tuple[str, ...] = Field(default=(), exclude=True, repr=False)

    @model_validator(mode="after")
    def _waits_for_nobody_at_start(self) -> Self:
        if self.policy.after and self.trigger.key.strip().lower() == "@reboot":
            raise ValueError(
                "@reboot is due when the daemon starts, and cannot wait for another job (--after)"
            )
        return self

    @property
    def kind(self) -> TriggerKind:
        return self.trigger.type

    @property
    def schedule_key(self) -> str:
        """What the slots depend on, as text."""
        return f"{self.trigger.key} {self.timezone}" if self.trigger.type == "cron" else self.trigger.key

    def schedule(self) -> Schedule:
        """When it is due; parsed once for all jobs that say the same. Raises InvalidValue."""
        hashed = self.trigger.type == "cron" and "h" in self.trigger.expression.lower()
        return _schedule(self.trigger, self.timezone, self.id if hashed else "")

    def timed(self) -> TimedJob:
        """The job as the scheduler sees it. Raises InvalidValue."""
        zone = self.timezone if self.policy.not_during or self.calendar else ""
        policy = _timed_policy(self.policy, self.calendar, zone)
        if self.trigger.type == "once" and self.trigger.if_past == "run" and policy.grace is None:
            late = max(0.0, ((self.created_at or self.since) - self.trigger.at).total_seconds())
            policy = replace(policy, grace=late + DAY_SECONDS)
        return TimedJob(
            id=self.id,
            schedule=self.schedule(),
            policy=policy,
            since=self.since.astimezone(UTC),
            paused_at=None if self.enabled else (self.paused_at or self.since).astimezone(UTC),
            created_at=None if self.created_at is None else self.created_at.astimezone(UTC),
        )

    def with_calendar(self, calendar: tuple[str, ...]) -> Job:
        """The same job of a file with this calendar."""
        return self if self.calendar == calendar else self.model_copy(update={"calendar": calendar})

    def rescheduled(self, now: datetime) -> Job:
        """The same job with its slots counted from `now` on, or from just before a past time that is to run."""
        since = now
        if self.trigger.type == "once" and self.trigger.if_past == "run":
            since = min(now, self.trigger.at - timedelta(seconds=1))
        return self.model_copy(update={"since": since, "since_schedule": self.schedule_key})


@lru_cache(maxsize=4096)
def _timed_policy(policy: JobPolicy, calendar: tuple[str, ...], zone: str) -> Policy:
    """One for all jobs that say the same."""
    return policy.timed(zone=zone, calendar=calendar)


@lru_cache(maxsize=20_000)
def _schedule(trigger: CronTrigger | IntervalTrigger | OnceTrigger, timezone: str, job_id: str) -> Schedule:
    from pipesched.schedule.parse import cron, interval, once
    from pipesched.schedule.zones import load_zone

    match trigger:
        case CronTrigger():
            return cron(trigger.expression, zone=timezone, job_id=job_id)
        case IntervalTrigger():
            return interval(trigger.seconds, trigger.anchor)
        case OnceTrigger():
            return once(trigger.at.astimezone(load_zone(timezone)))


class Defaults(_Frozen):
    """What holds for every job that does not say otherwise."""

    timezone: Zone | None = None
    calendar: tuple[DatesText, ...] = ()
    config: PipelineConfig = _NO_CONFIG


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the job file that cannot be used. `job_id`: the job that is left out, None: the whole file.

    `in_defaults`: it is left out of what holds for all jobs.
    """

    job_id: str | None
    message: str
    hint: str = ""
    in_defaults: bool = False


@dataclass(frozen=True, slots=True)
class JobFile:
    """The job file as it was read at one moment: what can be used, and what cannot and why."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    defaults: Defaults = field(default_factory=Defaults)
    problems: tuple[Problem, ...] = ()
    exists: bool = False
    stamp: Stamp | None = None
    schema_version: int = SCHEMA_VERSION

    def job(self, job_id: str) -> Job:
        """The job `job_id`. Raises NotFound (job_not_found), DataError when it is there and cannot be used."""
        found = self.jobs.get(job_id)
        if found is not None:
            return found
        for problem in self.problems:
            if problem.job_id == job_id:
                raise DataError(problem.message, hint=problem.hint)
        raise unknown_job(job_id, self.jobs)

    def with_jobs(self, jobs: Iterable[Job]) -> JobFile:
        """The file with these jobs added, or in place of those of the same id; its calendar is theirs."""
        added = {job.id: job.with_calendar(self.defaults.calendar) for job in jobs}
        return replace(self, jobs={**self.jobs, **added})


def unknown_job(job_id: str, known: Iterable[str]) -> NotFound:
    near = difflib.get_close_matches(job_id, known, n=1)
    return NotFound(
        f"there is no job {job_id!r}",
        hint=f"did you mean {near[0]}?" if near else "see pipesched list",
        code="job_not_found",
    )
