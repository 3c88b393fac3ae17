"""How long a start is put off, by jitter or before a retry: spread between jobs, and always the same for the same one."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

from pipesched.schedule.model import Policy

RETRY_CAP: Final = 3_600.0
RETRIED_EXITS: Final = frozenset({1, 69, 74})


def retry_after(
    policy: Policy,
    *,
    job_id: str,
    scheduled_for: datetime,
    attempt: int,
    exit_code: int | None,
    status: str,
    now: datetime,
) -> datetime | None:
    """When to try again after `attempt` (from 1) ended with `status`; None: not at all.

    Delays double from policy.retry_delay up to an hour (or the first delay, where that is longer), and are spread by a
    fifth either way, always the same for the same attempt. Retried are exits 1, 69 and 74, a death by a signal, a
    timeout, a lost process: what may go better next time.
    """
    if attempt > policy.retries or not _may_go_better(status, exit_code):
        return None
    cap = max(RETRY_CAP, policy.retry_delay)
    delay = min(policy.retry_delay * 2.0 ** min(attempt - 1, 40), cap)
    spread = 0.8 + 0.4 * _fraction(f"{job_id}\0{scheduled_for.isoformat()}\0{attempt}")
    return now + timedelta(seconds=round(min(delay * spread, cap), 3))


def _may_go_better(status: str, exit_code: int | None) -> bool:
    if status in {"timeout", "lost"}:
        return True
    return status == "failed" and (
        exit_code is None or exit_code < 0 or exit_code > 128 or exit_code in RETRIED_EXITS
    )


def jitter_offset(job_id: str, jitter: float, period: timedelta) -> timedelta:
    """The job's own delay: always the same, at most `jitter` seconds, below the period."""
    limit = min(jitter, period.total_seconds())
    # Cut, not rounded, so that it stays below.
    return timedelta(milliseconds=int(_fraction(f"{job_id}\0jitter") * limit * 1000))


def _fraction(text: str) -> float:
    """0 <= x < 1, always the same for the same text."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) / 2.0**53
