"""PURE: what there is to tell of a job, from what was told last and how it is now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from pipesched.runs.model import FAILED, Run

Kind = Literal["failure", "recovery", "late", "missed", "paused"]

NEWS: Final = timedelta(hours=1)
"""Of a job that nothing was ever told of: what was missed longer ago than this is history."""
MISSED_AGAIN: Final = timedelta(days=1)
"""Missed occurrences are told once until the job has succeeded again, or so long has passed."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was told last of a job, and holds until it is told otherwise.

    `failing_since`, `late_since`: it is known to fail, to be late. `paused_at`: that it paused itself then. `missed`: how many
    missed occurrences were told of or before, `missed_at` when. Times are aware.
    """

    failing_since: datetime | None = None
    late_since: datetime | None = None
    paused_at: datetime | None = None
    missed: int = 0
    missed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job is now.

    `last`: its newest finished run. `failing_since`: when the first of its `failures` in a row ended. `retrying`: another
    attempt is planned or runs. `synced_at`: the end of its newest success. `late`: in words, "" where it is not. `missed`:
    lifetime count of missed occurrences, `missed_at` when the newest were recorded, `missed_reason` why.
    """

    job_id: str
    last: Run | None = None
    failures: int = 0
    failing_since: datetime | None = None
    retrying: bool = False
    synced_at: datetime | None = None
    auto_paused_at: datetime | None = None
    late: str = ""
    missed: int = 0
    missed_at: datetime | None = None
    missed_reason: str = ""

    @property
    def is_failing(self) -> bool:
        """Its last attempts failed, and no further one is to come by itself."""
        return (
            self.failures > 0 and self.last is not None and self.last.status in FAILED and not self.retrying
        )


@dataclass(frozen=True, slots=True)
class News:
    """One thing to tell. `what` is a sentence's predicate: `failed 3 times in a row`; `since` when it began."""

    job_id: str
    kind: Kind
    what: str
    since: datetime | None = None
    run: Run | None = None


def decide(told: Told | None, now_is: Standing, now: datetime) -> tuple[tuple[News, ...], Told]:
    """What to tell, and what is told then. `told` None: nothing ever was."""
    if told is None:
        recent = now_is.missed_at is not None and now - now_is.missed_at <= NEWS
        told = Told(missed=0 if recent else now_is.missed)
    told, failure = _failures(told, now_is, now)
    told, lateness = _lateness(told, now_is, now)
    told, missed = _missed(told, now_is, now)
    return tuple(each for each in (failure, lateness, missed) if each is not None), told


def _failures(told: Told, now_is: Standing, now: datetime) -> tuple[Told, News | None]:
    job_id, last = now_is.job_id, now_is.last
    since = now_is.failing_since or now
    if now_is.auto_paused_at is None:
        told = replace(told, paused_at=None)
    elif now_is.auto_paused_at != told.paused_at:
        what = f"paused itself after {_failures_in_row(now_is.failures)}"
        told = replace(told, paused_at=now_is.auto_paused_at, failing_since=told.failing_since or since)
        return told, News(job_id, "paused", what, since, last)
    known = told.failing_since
    succeeded_since = known is not None and _succeeded_after(known, now_is)
    if now_is.is_failing and (known is None or succeeded_since):
        assert last is not None
        what = _STATUS[last.status] if now_is.failures == 1 else f"had {_failures_in_row(now_is.failures)}"
        told = replace(told, failing_since=since, late_since=None)
        return told, News(job_id, "failure", what, since, last)
    if succeeded_since and now_is.failures == 0:
        told = replace(told, failing_since=None, late_since=None)
        return told, News(job_id, "recovery", "succeeded again", known, last)
    return told, None


_STATUS: Final = {"failed": "failed", "timeout": "ran longer than its timeout", "lost": "was lost"}


def _failures_in_row(count: int) -> str:
    return "a failure" if count == 1 else f"{count} failures in a row"


def _lateness(told: Told, now_is: Standing, now: datetime) -> tuple[Told, News | None]:
    since = told.late_since
    if now_is.late:
        if since is not None or told.failing_since is not None or now_is.auto_paused_at is not None:
            return told, None
        news = News(now_is.job_id, "late", f"is {now_is.late}", now_is.synced_at, now_is.last)
        return replace(told, late_since=now), news
    told = replace(told, late_since=None)
    if since is not None and _succeeded_after(since, now_is) and now_is.failures == 0:
        return told, News(now_is.job_id, "recovery", "is in time again", since, now_is.last)
    return told, None


def _missed(told: Told, now_is: Standing, now: datetime) -> tuple[Told, News | None]:
    count = now_is.missed - told.missed
    if count <= 0:
        return replace(told, missed=now_is.missed), None
    at = told.missed_at
    if at is not None and now - at < MISSED_AGAIN and not _succeeded_after(at, now_is):
        return told, None
    why = f": {now_is.missed_reason}" if now_is.missed_reason else ""
    runs = "a run" if count == 1 else f"{count} runs"
    news = News(now_is.job_id, "missed", f"missed {runs}{why}", now_is.missed_at, now_is.last)
    return replace(told, missed=now_is.missed, missed_at=now), news


def _succeeded_after(time: datetime, now_is: Standing) -> bool:
    return now_is.synced_at is not None and now_is.synced_at > time
