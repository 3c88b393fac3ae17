"""What became of occurrences that ended without a success: one-time jobs, runs that were cut off, slots that did not run. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pipesched.runs.model import FAILED, Run
from pipesched.views.ages import ago
from pipesched.views.checks import Check

if TYPE_CHECKING:
    from pipesched.views.health import JobFacts

ONCE_REMEMBERED: Final = timedelta(days=7)
"""A one-time job that did not succeed is told for so long after its time, unless it is removed or run by hand."""
WORDS: Final = {
    "failed": "failed",
    "timeout": "timed out",
    "lost": "was lost with its scheduler",
    "interrupted": "was cut off",
    "missed": "was missed",
    "skipped": "was skipped",
}
_DAEMON: Final = "the daemon "
"""How the reason of a run begins that the daemon's own stop cut off, and that is owed (see daemon.scheduler)."""
_CANCELLED: Final = "cancelled"
"""How the reason of a run begins that somebody ended on purpose."""


def check_once(job: JobFacts, now: datetime) -> Check | None:
    """A one-time job whose time is over, and that has not succeeded since."""
    if not job.unmet or now - job.unmet[0] > ONCE_REMEMBERED:
        return None
    due = ago(job.unmet[0], now)
    ended = job.slot
    said = f", and it {WORDS[ended.status]}{because(ended)}" if ended and ended.status in WORDS else ""
    return Check(
        "fail" if ended is not None and ended.status in FAILED else "warn",
        f"its only time was {due}{said or ', and it has not succeeded'}",
        f"pipesched run {job.job_id}, then pipesched remove {job.job_id}",
    )


def check_cut_off(job: JobFacts) -> Check | None:
    """Its last run was interrupted, not because somebody cancelled it, and nothing makes up for it yet."""
    last = job.last
    if last is None or last.status != "interrupted" or last.reason.startswith(_CANCELLED):
        return None
    if job.running_since is not None:
        return None
    owed = last.reason.startswith(_DAEMON)
    hint = (
        "the scheduler, once it runs, starts it again"
        if owed
        else f"pipesched run {job.job_id} to make up for it"
    )
    return Check("warn", f"its last run was cut off{because(last)}", hint)


def to_come(job: JobFacts, now: datetime) -> str:
    """Of a job that has not succeeded yet: when it is due, and what became of the last slot."""
    if job.slot is None or job.slot.status not in WORDS:
        return "not due yet"
    coming = "nothing to come" if job.next_at is None else f"next {ago(job.next_at, now)}"
    return f"{coming}, the last one {WORDS[job.slot.status]}{because(job.slot)}"


def because(run: Run) -> str:
    return f": {run.reason}" if run.reason else ""
