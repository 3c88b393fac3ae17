"""Between SQLite's rows and Run, JobSummary, Progress."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, overload

from pipesched.runs.model import STATES, Run, RunState

RUN_COLUMNS: Final = (
    "run_id, job_id, status, cause, scheduled_for, queued_at, started_at, finished_at, exit_code, attempt, reason,"
    " count, until, pid, pid_started, not_before, dry_run"
)
ENDED: Final[tuple[RunState, ...]] = STATES[2:]
"""The states that are counted, each with a column in `jobs` and `lifetime`."""
RECENT: Final = 20
"""How many finished runs a success rate looks at."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@overload
def micros(time: datetime) -> int: ...
@overload
def micros(time: None) -> None: ...
def micros(time: datetime | None) -> int | None:
    """Exact, which a float of seconds is not."""
    return None if time is None else (time - _EPOCH) // _MICROSECOND


@overload
def moment(value: int) -> datetime: ...
@overload
def moment(value: int | None) -> datetime | None: ...
def moment(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(0, 0, value)  # by position: four times as fast


def run_of(row: Sequence[Any]) -> Run:
    """From the values of RUN_COLUMNS, in their order."""
    (
        run_id, job_id, status, cause, scheduled_for, queued_at, started_at, finished_at, exit_code, attempt, reason,
        count, until, pid, pid_started, not_before, dry_run,
    ) = row  # fmt: skip
    return Run(
        run_id=run_id,
        job_id=job_id or None,
        status=status,
        trigger=cause,
        scheduled_for=moment(scheduled_for),
        queued_at=moment(queued_at),
        started_at=moment(started_at),
        finished_at=moment(finished_at),
        exit_code=exit_code,
        attempt=attempt,
        reason=reason,
        count=count,
        until=moment(until),
        pid=pid,
        pid_started=pid_started,
        not_before=moment(not_before),
        dry_run=bool(dry_run),
    )
