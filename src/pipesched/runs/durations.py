"""How long a job's runs take: the median and the 95th percentile of its newest ones, kept up to date run by run."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pipesched.runs.rows import micros

WINDOW: Final = 100
"""Of so many runs; pruning their rows does not change it."""
_MILLISECOND: Final = 1000


def percentile(ordered: Sequence[int], share: float) -> int:
    """The nearest rank: the smallest of `ordered` (not empty, ascending) that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def note(db: sqlite3.Connection, row: sqlite3.Row, now: datetime) -> None:
    """The run of `row` has just done its work. A clock that was set back while it ran makes its duration worthless."""
    if row["started_at"] is None or micros(now) < row["started_at"]:
        return
    took = (micros(now) - row["started_at"]) // _MILLISECOND
    job_id = row["job_id"]
    known = db.execute("SELECT newest FROM durations WHERE job_id = ?", (job_id,)).fetchone()
    newest = [*(known[0].split() if known else ()), str(took)][-WINDOW:]
    db.execute(
        "INSERT INTO durations (job_id, newest) VALUES (?, ?) ON CONFLICT (job_id) DO UPDATE SET newest = excluded.newest",
        (job_id, " ".join(newest)),
    )
    ordered = sorted(map(int, newest))
    db.execute(
        "UPDATE jobs SET duration_p50 = ?, duration_p95 = ? WHERE job_id = ?",
        (percentile(ordered, 0.5), percentile(ordered, 0.95), job_id),
    )


def forget(db: sqlite3.Connection, job_id: str) -> None:
    db.execute("DELETE FROM durations WHERE job_id = ?", (job_id,))
    db.execute("UPDATE jobs SET duration_p50 = NULL, duration_p95 = NULL WHERE job_id = ?", (job_id,))
