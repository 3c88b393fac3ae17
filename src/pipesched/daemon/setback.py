"""What a clock that was set back leaves in the ledger: slots that are decided far ahead, retries that wait for times gone by."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pipesched.schedule.delays import retry_after

if TYPE_CHECKING:
    from pipesched.runs.ledger import Ledger
    from pipesched.schedule.model import TimedJob

log = logging.getLogger(__name__)

AHEAD: Final = timedelta(days=7)
"""A clock that was further ahead was wrong: what it passed over is still to come."""


def settle_setback(ledger: Ledger, job: Callable[[str], TimedJob | None], now: datetime) -> None:
    """To be called when the clock was set back, and when a daemon starts, since nobody saw it before. Raises what the ledger raises."""
    for job_id, retry in ledger.pending_retries().items():
        timed = job(job_id)
        if timed is None:
            continue
        anew: datetime | None = now
        if not retry.owed:
            anew = retry_after(
                timed.policy,
                job_id=job_id,
                scheduled_for=retry.scheduled_for,
                attempt=retry.attempt - 1 - retry.stops,
                exit_code=None,
                status="lost",
                now=now,
            )
        if anew is not None and anew < retry.not_before:
            log.info("job %s: attempt %d is at %s", job_id, retry.attempt, anew, extra={"job_id": job_id})
            ledger.hasten_retry(job_id, anew)
    ahead = ledger.forget_future(now + AHEAD, now)
    if ahead:
        log.warning(
            "the clock was more than %d days ahead: the slots of %s that it passed over are still to come",
            AHEAD.days,
            ahead[0] if len(ahead) == 1 else f"{len(ahead)} jobs",
        )
