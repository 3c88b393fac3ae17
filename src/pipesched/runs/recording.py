"""What a change of the ledger does to its rows, summaries and counts; all inside the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pipesched.errors import NotFound
from pipesched.runs import durations
from pipesched.runs.model import EXECUTED, FAILED, NO_OUTCOMES, RunState
from pipesched.runs.reading import Created
from pipesched.runs.rows import RECENT, micros

REASON_LENGTH: Final = 2000


def storable(reason: str) -> str:
    """As SQLite takes it: a file name that is no UTF-8 puts lone surrogates into a message, which become escapes."""
    return reason[:REASON_LENGTH].encode("utf-8", "backslashreplace").decode("utf-8")


def row(db: sqlite3.Connection, run_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise NotFound(f"the ledger has no run {run_id}", hint="pipesched history", code="run_not_found")
    return row


def ensure_job(db: sqlite3.Connection, job_id: str) -> None:
    db.execute("INSERT INTO jobs (job_id) VALUES (?) ON CONFLICT DO NOTHING", (job_id,))


def note_start(db: sqlite3.Connection, job_id: str) -> None:
    """From now on a dependency has to have succeeded once more."""
    db.execute("UPDATE lifetime SET events = events + 1")
    db.execute("UPDATE jobs SET ran_event = (SELECT events FROM lifetime) WHERE job_id = ?", (job_id,))


def count(db: sqlite3.Connection, job_id: str, status: RunState, number: int) -> None:
    db.execute(f"UPDATE jobs SET {status} = {status} + ? WHERE job_id = ?", (number, job_id))
    db.execute(f"UPDATE lifetime SET {status} = {status} + ?", (number,))


def record_outcome(
    db: sqlite3.Connection,
    row: sqlite3.Row,
    status: RunState,
    exit_code: int | None,
    reason: str,
    now: datetime,
) -> None:
    """What success rates, failures in a row and the last error are made of."""
    if status not in EXECUTED | FAILED:
        return
    mark = "1" if status in EXECUTED else "0"
    db.execute(
        "UPDATE lifetime SET recent = substr(recent || ?, ?), last_execution = ?",
        (mark, -RECENT, micros(now)),
    )
    db.execute(
        "UPDATE jobs SET recent = substr(recent || ?, ?) WHERE job_id = ?", (mark, -RECENT, row["job_id"])
    )
    if status in FAILED:
        what = reason or (f"exit code {exit_code}" if exit_code is not None else status)
        db.execute("UPDATE lifetime SET last_error = ?", (storable(what),))
    if row["cause"] == "manual" and row["dry_run"]:
        return  # somebody looked; the job itself neither failed nor recovered
    change = "0" if status in EXECUTED else "failures + 1"
    db.execute(f"UPDATE jobs SET failures = {change} WHERE job_id = ?", (row["job_id"],))


def record_sync(db: sqlite3.Connection, row: sqlite3.Row, documents: Mapping[str, Any]) -> None:
    counts = {str(outcome): int(number) for outcome, number in documents.items()}
    db.execute("UPDATE lifetime SET events = events + 1")
    db.execute(
        "UPDATE jobs SET last_sync = ?, sync_event = (SELECT events FROM lifetime),"
        " end_event = (SELECT events FROM lifetime), documents = ? WHERE job_id = ?",
        (row["seq"], json.dumps(counts), row["job_id"]),
    )
    db.executemany(
        "INSERT INTO documents (outcome, count) VALUES (?, ?) ON CONFLICT (outcome) DO UPDATE SET count = count + excluded.count",
        ((outcome, number) for outcome, number in counts.items() if outcome not in NO_OUTCOMES),
    )


def note_end(db: sqlite3.Connection, job_id: str, *, failed: bool) -> None:
    """For who waits for a failure, or for any end; a success that counts is noted by `record_sync`."""
    db.execute("UPDATE lifetime SET events = events + 1")
    columns = ("end_event", "failure_event") if failed else ("end_event",)
    changes = ", ".join(f"{column} = (SELECT events FROM lifetime)" for column in columns)
    db.execute(f"UPDATE jobs SET {changes} WHERE job_id = ?", (job_id,))


def plan_retry(db: sqlite3.Connection, row: sqlite3.Row, not_before: datetime) -> None:
    assert row["claimed"], "only what was claimed for an occurrence is tried again"
    db.execute(
        "UPDATE jobs SET retry_slot = ?, retry_attempt = ?, retry_not_before = ? WHERE job_id = ?",
        (row["scheduled_for"], row["attempt"] + 1, micros(not_before), row["job_id"]),
    )


def drop_retry(db: sqlite3.Connection, job_id: str, slot: int, attempt: int) -> None:
    db.execute(
        "UPDATE jobs SET retry_slot = NULL, retry_attempt = NULL, retry_not_before = NULL"
        " WHERE job_id = ? AND retry_slot = ? AND retry_attempt = ?",
        (job_id, slot, attempt),
    )


def note_creation(db: sqlite3.Connection, created: Created) -> None:
    """A successor of a removed job starts afresh; what was handled stays handled, and history stays history."""
    db.execute("UPDATE jobs SET created_at = ? WHERE job_id = ?", (created.at, created.job_id))
    if created.successor:
        db.execute(
            "UPDATE jobs SET claimed = 0, failures = 0, recent = '', auto_paused_at = NULL, auto_pause_reason = '',"
            " retry_slot = NULL, retry_attempt = NULL, retry_not_before = NULL, slot_row = NULL WHERE job_id = ?",
            (created.job_id,),
        )
        durations.forget(db, created.job_id)
