"""What is asked of the ledger, each question by an index, whatever its size."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipesched.runs.model import EXECUTED, FAILED, STATES, Counters, JobSummary, Run, RunState, Totals
from pipesched.runs.rows import ENDED, RUN_COLUMNS, micros, moment, run_of
from pipesched.schedule.model import PendingRetry, Progress, TimedJob

MANY = 500
"""Asked for more jobs than this, the whole table is read: SQLite takes few parameters."""

_STARTED = tuple(state for state in STATES if state not in {"queued", "missed", "skipped"})


def run(db: sqlite3.Connection, run_id: str) -> Run | None:
    row = db.execute(f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return run_of(row) if row else None


def history(
    db: sqlite3.Connection,
    job_id: str | None,
    statuses: Collection[RunState],
    since: datetime | None,
    limit: int | None,
) -> list[Run]:
    """Newest first. One question a state, merged: the index (job, state, time) answers each, however rare the state."""
    found: list[tuple[int, int, sqlite3.Row]] = []
    for status in statuses or STATES:
        where, values = "status = ?", [status]
        parameters: list[Any] = values
        if job_id is not None:
            where += " AND job_id = ?"
            parameters.append(job_id)
        if since is not None:
            where += " AND at >= ?"
            parameters.append(micros(since))
        parameters.append(-1 if limit is None else limit)
        rows = db.execute(
            f"SELECT {RUN_COLUMNS}, at, seq FROM runs WHERE {where} ORDER BY at DESC, seq DESC LIMIT ?",
            parameters,
        )
        found.extend((row["at"], row["seq"], row) for row in rows)
    found.sort(key=lambda each: each[:2], reverse=True)
    return [run_of(tuple(row)[:-2]) for _, _, row in found[:limit]]


def latest_seq(db: sqlite3.Connection, job_id: str) -> int | None:
    """Of the newest run that started."""
    newest: tuple[int, int] | None = None
    for status in _STARTED:
        row = db.execute(
            "SELECT at, seq FROM runs WHERE job_id = ? AND status = ? ORDER BY at DESC, seq DESC LIMIT 1",
            (job_id, status),
        ).fetchone()
        if row and (newest is None or tuple(row) > newest):
            newest = (row[0], row[1])
    return newest[1] if newest else None


def active(db: sqlite3.Connection) -> list[Run]:
    """Oldest first."""
    rows = db.execute(
        f"SELECT {RUN_COLUMNS} FROM runs WHERE status IN ('queued', 'running') ORDER BY seq"
    ).fetchall()
    return [run_of(row) for row in rows]


def of_other_boots(db: sqlite3.Connection, boot: str | None) -> set[str]:
    """Run ids of running rows whose process started before the machine did."""
    rows = db.execute("SELECT run_id FROM runs WHERE status = 'running' AND boot <> ?", (boot,))
    return {row[0] for row in rows}


def summaries(db: sqlite3.Connection, job_ids: Collection[str] | None) -> dict[str, JobSummary]:
    running = _active_by_job(db)
    rows = {row["job_id"]: row for row in _job_rows(db, job_ids)}
    wanted = [seq for row in rows.values() for seq in (row["last_run"], row["last_sync"]) if seq is not None]
    by_seq = _runs_by_seq(db, wanted)
    names = rows if job_ids is None else job_ids
    return {
        name: _summary(rows[name], by_seq, tuple(running.get(name, ())))
        if name in rows
        else JobSummary(active=tuple(running.get(name, ())))
        for name in names
        if name
    }


def _summary(row: sqlite3.Row, by_seq: dict[int, Run], running: tuple[Run, ...]) -> JobSummary:
    return JobSummary(
        last_run=by_seq.get(row["last_run"]),
        last_sync=by_seq.get(row["last_sync"]),
        active=running,
        failures_in_row=row["failures"],
        auto_paused_at=moment(row["auto_paused_at"]),
        totals={state: row[state] for state in ENDED if row[state]},
        claimed=row["claimed"],
        handled=moment(row["handled"]),
        success_rate=rate(row["recent"]),
        auto_pause_reason=row["auto_pause_reason"],
        documents=json.loads(row["documents"]),
    )


@dataclass(frozen=True, slots=True)
class Created:
    """A job whose creation the ledger has not noted. `successor`: an earlier job of this id was removed."""

    job_id: str
    at: int
    successor: bool


def progress(db: sqlite3.Connection, jobs: Sequence[TimedJob]) -> tuple[dict[str, Progress], list[Created]]:
    """What plan_job has to know, and what is to be noted; a job that the ledger never met has done nothing."""
    running = _active_by_job(db)
    names = {job.id for job in jobs}.union(*(job.policy.after for job in jobs))
    rows = {row["job_id"]: row for row in _job_rows(db, names)}
    created = [
        Created(job.id, micros(job.created_at), rows[job.id]["created_at"] is not None)
        for job in jobs
        if job.created_at and job.id in rows and rows[job.id]["created_at"] != micros(job.created_at)
    ]
    successors = {each.job_id for each in created if each.successor}
    answer = {
        job.id: _progress(job, rows, running.get(job.id, ()), successor=job.id in successors) for job in jobs
    }
    return answer, created


def _active_by_job(db: sqlite3.Connection) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for each in active(db):
        found.setdefault(each.job_id or "", []).append(each)
    return found


def _progress(
    job: TimedJob, rows: dict[str, sqlite3.Row], running: Sequence[Run], *, successor: bool
) -> Progress:
    row = rows.get(job.id)
    ran = row["ran_event"] if row else 0
    waits_for = tuple(
        name for name in job.policy.after if name not in rows or rows[name]["sync_event"] <= ran
    )
    active_ids = tuple(each.run_id for each in running)
    queued = any(each.status == "queued" for each in running)
    if row is None:
        return Progress(active=active_ids, queued=queued, waits_for=waits_for)
    handled = moment(row["handled"])
    if successor:
        return Progress(handled=handled, active=active_ids, queued=queued, waits_for=waits_for)
    retry = None
    if row["retry_slot"] is not None:
        retry = PendingRetry(moment(row["retry_slot"]), row["retry_attempt"], moment(row["retry_not_before"]))
    return Progress(
        handled=handled,
        active=active_ids,
        queued=queued,
        claimed=row["claimed"],
        retry=retry,
        failures_in_row=row["failures"],
        auto_paused_at=moment(row["auto_paused_at"]),
        waits_for=waits_for,
    )


def counters(db: sqlite3.Connection) -> Counters:
    row = db.execute("SELECT * FROM lifetime").fetchone()
    return Counters(
        executed=sum(row[state] for state in EXECUTED),
        failed=sum(row[state] for state in FAILED),
        missed=row["missed"],
        skipped=row["skipped"],
        success_rate=rate(row["recent"]),
        last_execution=moment(row["last_execution"]),
        last_error=row["last_error"],
    )


def totals(db: sqlite3.Connection) -> Totals:
    runs: dict[tuple[str, str], int] = {
        (row["job_id"], state): row[state]
        for row in db.execute(f"SELECT job_id, {', '.join(ENDED)} FROM jobs")
        for state in ENDED
        if row[state]
    }
    return Totals(
        runs=runs, documents=dict(tuple(row) for row in db.execute("SELECT outcome, count FROM documents"))
    )


def rate(recent: str) -> float | None:
    return recent.count("1") / len(recent) if recent else None


def _job_rows(db: sqlite3.Connection, job_ids: Collection[str] | None) -> Iterator[sqlite3.Row]:
    if job_ids is None or len(job_ids) > MANY:
        rows = db.execute("SELECT * FROM jobs")
        yield from rows if job_ids is None else (row for row in rows if row["job_id"] in job_ids)
    else:
        marks = ", ".join("?" * len(job_ids))
        yield from db.execute(f"SELECT * FROM jobs WHERE job_id IN ({marks})", list(job_ids))


def _runs_by_seq(db: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, Run]:
    found: dict[int, Run] = {}
    for start in range(0, len(seqs), MANY):
        part = seqs[start : start + MANY]
        rows = db.execute(
            f"SELECT {RUN_COLUMNS}, seq FROM runs WHERE seq IN ({', '.join('?' * len(part))})", part
        )
        found.update((row["seq"], run_of(tuple(row)[:-1])) for row in rows)
    return found


def expired(db: sqlite3.Connection, before: datetime, limit: int) -> list[Run]:
    """Oldest first, by the index on (state, time); what a job's summary points at stays."""
    kept = " UNION ".join(
        f"SELECT {column} FROM jobs WHERE {column} IS NOT NULL"
        for column in ("last_run", "last_sync", "slot_row")
    )
    found: list[Run] = []
    for status in ENDED:
        rows = db.execute(
            f"SELECT {RUN_COLUMNS} FROM runs WHERE status = ? AND at < ? AND seq NOT IN ({kept}) ORDER BY at LIMIT ?",
            (status, micros(before), limit),
        ).fetchall()
        found.extend(run_of(row) for row in rows)
    found.sort(key=lambda run: run.until or run.started_at or run.queued_at or before)
    return found[:limit]
