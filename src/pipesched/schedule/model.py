"""The vocabulary of time: occurrences, schedules, a job's policy, and what is decided about an occurrence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from pipesched.schedule.blackout import Blackout

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TICK: Final = timedelta(microseconds=1)
"""The shortest time: `at - TICK` is just before `at`."""
CatchUp = Literal["latest", "all", "none"]
Overlap = Literal["skip", "queue", "replace"]
TriggerOn = Literal["success", "failure", "any"]
"""How the runs that a job waits for must have ended."""
TriggerKind = Literal["cron", "interval", "once"]
RunTrigger = Literal["schedule", "manual", "catch_up", "retry", "dependency"]
"""Why a run was started."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One instant at which a schedule is due.

    `at` is aware and in UTC. `collapsed`: how many wall-clock hits it stands for, more than 1 only where several of them
    fell into one gap. `note` says in words what a change of the clocks did to it, or is "".
    """

    at: datetime
    collapsed: int = 1
    note: str = ""


class Schedule(Protocol):
    """When a job is due. Pure: the same question has the same answer for ever."""

    @property
    def text(self) -> str:
        """The schedule as people write it: `0 2 * * *`, `every 1h30m`, `once at 2027-01-01T09:00:00+01:00`."""
        ...

    @property
    def at_start(self) -> bool:
        """Due whenever the daemon starts (`@reboot`), and at no time of the clock."""
        ...

    def next(self, after: datetime) -> Occurrence | None:
        """The first occurrence strictly after `after` (aware); None when there is none any more."""
        ...

    def between(self, after: datetime, until: datetime) -> Iterator[Occurrence]:
        """Every occurrence with after < at <= until, oldest first, made as it is asked for."""
        ...

    def count(self, after: datetime, until: datetime) -> int:
        """How many `between` would give; by arithmetic where the schedule allows it."""
        ...

    def latest(self, after: datetime, until: datetime) -> Occurrence | None:
        """The last that `between` would give."""
        ...

    def period(self, at: datetime) -> timedelta:
        """From the occurrence at or before `at` to the next one: the default grace. A day where there is no second one."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """How a job's occurrences are treated; durations are seconds, times aware UTC, None means no limit.

    `blackout`: nothing that is due inside it runs; None: there is none.
    """

    catch_up: CatchUp = "latest"
    grace: float | None = None
    overlap: Overlap = "skip"
    timeout: float | None = None
    retries: int = 0
    retry_delay: float = 60.0
    jitter: float = 0.0
    after: tuple[str, ...] = ()
    trigger_on: TriggerOn = "success"
    start: datetime | None = None
    end: datetime | None = None
    max_runs: int | None = None
    pause_after_failures: int | None = None
    blackout: Blackout | None = None


@dataclass(frozen=True, slots=True)
class TimedJob:
    """What the scheduler knows of a job.

    `since`: slots count strictly after it (the job's creation, its trigger's last edit, its last resume). `paused_at`: set
    while it is paused; slots up to it are still missed, later ones skipped. `created_at`: tells a job from an earlier one
    of the same id, whose counts and failures are not its own.
    """

    id: str
    schedule: Schedule
    policy: Policy
    since: datetime
    paused_at: datetime | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PendingRetry:
    """An attempt that is to be tried again. `attempt` is the number of the next one, from 2.

    `stops`: how many of the slot's attempts ended because their daemon stopped, which use up no retries. `owed`: the last
    one did.
    """

    scheduled_for: datetime
    attempt: int
    not_before: datetime
    stops: int = 0
    owed: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """What the ledger knows of a job.

    `handled`: the newest slot that was claimed, missed or skipped; None: none yet. `active`: ids of its runs that are
    queued or running. `claimed`: how many occurrences were claimed, for max_runs (retries and runs by hand left out).
    `auto_paused_at`: set after pause_after_failures. `waits_for`: those of policy.after that have not ended as
    policy.trigger_on says since this job's own last run.
    """

    handled: datetime | None = None
    active: tuple[str, ...] = ()
    queued: bool = False
    claimed: int = 0
    retry: PendingRetry | None = None
    failures_in_row: int = 0
    auto_paused_at: datetime | None = None
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fire:
    """Start a run for this occurrence, not before `start_at` (jitter, stagger). `replaces`: runs to be ended first."""

    job_id: str
    scheduled_for: datetime
    trigger: RunTrigger
    start_at: datetime
    attempt: int = 1
    collapsed: int = 1
    reason: str = ""
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """Consecutive occurrences that do not run, `first` to `last`, `count` of them, all for one reason."""

    job_id: str
    first: datetime
    last: datetime
    count: int
    status: Literal["missed", "skipped"]
    reason: str


Decision = Fire | Skip


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What to do about one job now, oldest first, and when to look again (None: never, unless something changes)."""

    decisions: tuple[Decision, ...] = ()
    wake_at: datetime | None = None
