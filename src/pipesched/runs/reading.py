"""What is asked of the ledger, each question by an index, whatever its size."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipesched.runs.model import EXECUTED, FAILED, STATES, Counters, JobSummary, Run, RunState, Totals
from pipesched.runs.rows import ENDED, RUN_COLUMNS, micros, moment, run_of

if TYPE_CHECKING:
    from pipesched.schedule.model import PendingRetry, Progress, TimedJob, TriggerOn

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
    found: list[tuple[Any, ...]] = []
    for status in statuses or STATES:
        where = "status = ?"
        parameters: list[object] = [status]
        if job_id is not None:
            where += " AND job_id = ?"
            parameters.append(job_id)
        if since is not None:
            where += " AND at >= ?"
            parameters.append(micros(since))
        parameters.append(-1 if limit is None else limit)
        found.extend(
            _tuples(
                db,
                f"SELECT at, seq, {RUN_COLUMNS} FROM runs WHERE {where} ORDER BY at DESC, seq DESC LIMIT ?",
                parameters,
            )
        )
    found.sort(key=itemgetter(0, 1), reverse=True)
    return [run_of(row[2:]) for row in found[:limit]]


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
    sql = f"SELECT {RUN_COLUMNS} FROM runs WHERE status IN ('queued', 'running') ORDER BY seq"
    return [run_of(row) for row in _tuples(db, sql)]


def of_other_boots(db: sqlite3.Connection, boot: str) -> set[str]:
    """Run ids of running rows whose process started before the machine did."""
    rows = db.execute("SELECT run_id FROM runs WHERE status = 'running' AND boot <> ?", (boot,))
    return {row[0] for row in rows}


def summaries(db: sqlite3.Connection, job_ids: Collection[str] | None) -> dict[str, JobSummary]:
    running = _active_by_job(db, job_ids)
    rows = {row[0]: row for row in _job_rows(db, _SUMMARY_COLUMNS, job_ids)}
    runs = _shown_runs(db, rows if job_ids is not None and len(job_ids) <= MANY else None)
    return {
        name: _summary(rows[name], runs, tuple(running.get(name, ()))) if name in rows else JobSummary()
        for name in (rows if job_ids is None else job_ids)
        if name
    }


def _summary(row: Sequence[Any], runs: Mapping[int, Run], running: tuple[Run, ...]) -> JobSummary:
    (
        _, last_run, last_sync, failures, paused_at, paused_why, claimed, handled, recent, documents, p50, p95, *counts,
    ) = row  # fmt: skip
    return JobSummary(
        last_run=runs.get(last_run),
        last_sync=runs.get(last_sync),
        active=running,
        failures_in_row=failures,
        auto_paused_at=moment(paused_at),
        totals={state: count for state, count in zip(ENDED, counts, strict=True) if count},
        claimed=claimed,
        handled=moment(handled),
        success_rate=rate(recent),
        auto_pause_reason=paused_why,
        documents=json.loads(documents),
        duration_p50=_seconds(p50),
        duration_p95=_seconds(p95),
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _shown_runs(db: sqlite3.Connection, job_ids: Collection[str] | None) -> dict[int, Run]:
    """What the summaries of these jobs point at, by row; None: of all."""
    where, parameters = _named(job_ids)
    jobs = " UNION ".join(f"SELECT {column} FROM jobs{where}" for column in ("last_run", "last_sync"))
    rows = _tuples(db, f"SELECT seq, {RUN_COLUMNS} FROM runs WHERE seq IN ({jobs})", parameters * 2)
    return {row[0]: run_of(row[1:]) for row in rows}


@dataclass(frozen=True, slots=True)
class Created:
    """A job whose creation the ledger has not noted. `successor`: an earlier job of this id was removed."""

    job_id: str
    at: int
    successor: bool


def progress(db: sqlite3.Connection, jobs: Sequence[TimedJob]) -> tuple[dict[str, Progress], list[Created]]:
    """What plan_job has to know, and what is to be noted; a job that the ledger never met has done nothing."""
    running = _active_by_job(db, [job.id for job in jobs])
    names = {job.id for job in jobs}.union(*(job.policy.after for job in jobs))
    rows = {row[0]: _Row(*row) for row in _job_rows(db, _PROGRESS_COLUMNS, names)}
    created = [
        Created(job.id, micros(job.created_at), successor=rows[job.id].created_at is not None)
        for job in jobs
        if job.created_at and job.id in rows and rows[job.id].created_at != micros(job.created_at)
    ]
    successors = {each.job_id for each in created if each.successor}
    answer = {
        job.id: _progress(db, job, rows, running.get(job.id, ()), successor=job.id in successors)
        for job in jobs
    }
    return answer, created


def _active_by_job(db: sqlite3.Connection, job_ids: Collection[str] | None) -> dict[str, list[Run]]:
    """Of few jobs by their own index, so that a thousand queued ones cost nothing."""
    named = ""
    parameters: list[str] = []
    if job_ids is not None and len(job_ids) <= MANY:
        named, parameters = f" AND job_id IN ({', '.join('?' * len(job_ids))})", list(job_ids)
    sql = f"SELECT {RUN_COLUMNS} FROM runs WHERE status IN ('queued', 'running'){named} ORDER BY seq"
    found: dict[str, list[Run]] = {}
    for row in _tuples(db, sql, parameters):
        run = run_of(row)
        found.setdefault(run.job_id or "", []).append(run)
    return found


class _Row(NamedTuple):
    """_PROGRESS_COLUMNS of a job."""

    job_id: str
    created_at: int | None
    handled: int | None
    claimed: int
    failures: int
    auto_paused_at: int | None
    retry_slot: int | None
    retry_attempt: int | None
    retry_not_before: int | None
    ran_event: int
    sync_event: int
    failure_event: int
    end_event: int

    def ended(self, how: TriggerOn) -> int:
        """When it last ended so, as a number of the ledger's events."""
        return {"success": self.sync_event, "failure": self.failure_event, "any": self.end_event}[how]


_PROGRESS_COLUMNS: Final = ", ".join(_Row._fields)
_SUMMARY_COLUMNS: Final = (
    "job_id, last_run, last_sync, failures, auto_paused_at, auto_pause_reason, claimed, handled, recent, documents,"
    " duration_p50, duration_p95, " + ", ".join(ENDED)
)


def _progress(
    db: sqlite3.Connection,
    job: TimedJob,
    rows: Mapping[str, _Row],
    running: Sequence[Run],
    *,
    successor: bool,
) -> Progress:
    from pipesched.schedule.model import Progress

    row = rows.get(job.id)
    ran = row.ran_event if row else 0
    how = job.policy.trigger_on
    waits_for = tuple(name for name in job.policy.after if name not in rows or rows[name].ended(how) <= ran)
    # A dry run by hand writes nothing, and is in nobody's way.
    running = [each for each in running if not (each.dry_run and each.trigger == "manual")]
    active_ids = tuple(each.run_id for each in running)
    queued = any(each.status == "queued" for each in running)
    if row is None or successor:
        handled = moment(row.handled) if row else None
        return Progress(handled=handled, active=active_ids, queued=queued, waits_for=waits_for)
    retry = None
    if row.retry_slot is not None and row.retry_attempt is not None and row.retry_not_before is not None:
        retry = _retry(db, job.id, row.retry_slot, row.retry_attempt, row.retry_not_before)
    return Progress(
        handled=moment(row.handled),
        active=active_ids,
        queued=queued,
        claimed=row.claimed,
        retry=retry,
        failures_in_row=row.failures,
        auto_paused_at=moment(row.auto_paused_at),
        waits_for=waits_for,
    )


def pending_retries(db: sqlite3.Connection) -> dict[str, PendingRetry]:
    sql = "SELECT job_id, retry_slot, retry_attempt, retry_not_before FROM jobs WHERE retry_slot IS NOT NULL"
    rows = list(_tuples(db, sql))
    return {
        job_id: _retry(db, job_id, slot, attempt, not_before) for job_id, slot, attempt, not_before in rows
    }


def _retry(db: sqlite3.Connection, job_id: str, slot: int, attempt: int, not_before: int) -> PendingRetry:
    from pipesched.schedule.model import PendingRetry

    stopped = stops(db, job_id, slot, attempt)
    return PendingRetry(
        moment(slot), attempt, moment(not_before), stops=len(stopped), owed=attempt - 1 in stopped
    )


def stops(db: sqlite3.Connection, job_id: str, slot: int, before: int) -> set[int]:
    """The slot's attempts below `before` that their daemon's stop cut off: of all that is interrupted, only that is followed by another."""
    sql = (
        "SELECT attempt FROM runs WHERE job_id = ? AND scheduled_for = ? AND attempt < ? AND claimed = 1"
        " AND status = 'interrupted'"
    )
    return {row[0] for row in _tuples(db, sql, (job_id, slot, before))}


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
    runs: dict[tuple[str, str], int] = {}
    for job_id, *counts in _tuples(db, f"SELECT job_id, {', '.join(ENDED)} FROM jobs"):
        runs.update(((job_id, state), count) for state, count in zip(ENDED, counts, strict=True) if count)
    return Totals(runs=runs, documents=dict(_tuples(db, "SELECT outcome, count FROM documents")))


def rate(recent: str) -> float | None:
    return recent.count("1") / len(recent) if recent else None


def _job_rows(
    db: sqlite3.Connection, columns: str, job_ids: Collection[str] | None
) -> Iterator[tuple[Any, ...]]:
    """The job's id comes first in `columns`."""
    if job_ids is None or len(job_ids) <= MANY:
        where, parameters = _named(job_ids)
        return _tuples(db, f"SELECT {columns} FROM jobs{where}", parameters)
    wanted = frozenset(job_ids)
    return (row for row in _tuples(db, f"SELECT {columns} FROM jobs") if row[0] in wanted)


def _named(job_ids: Collection[str] | None) -> tuple[str, list[str]]:
    if job_ids is None:
        return "", []
    return f" WHERE job_id IN ({', '.join('?' * len(job_ids))})", list(job_ids)


def _tuples(db: sqlite3.Connection, sql: str, parameters: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
    """Rows without names, which cost much where there are many."""
    cursor = db.cursor()
    cursor.row_factory = None
    return cursor.execute(sql, parameters)


def expired(db: sqlite3.Connection, before: datetime) -> list[Run]:
    """Oldest first, by the index on (state, time); what a job's summary points at stays."""
    kept = " UNION ".join(
        f"SELECT {column} FROM jobs WHERE {column} IS NOT NULL"
        for column in ("last_run", "last_sync", "slot_row")
    )
    found: list[Run] = []
    for status in ENDED:
        rows = _tuples(
            db,
            f"SELECT {RUN_COLUMNS} FROM runs WHERE status = ? AND at < ? AND seq NOT IN ({kept})",
            (status, micros(before)),
        )
        found.extend(map(run_of, rows))
    return sorted(found, key=lambda run: run.until or run.started_at or run.queued_at or before)


def surplus(db: sqlite3.Connection, keep: int) -> list[Run]:
    """Of each job with more ended rows than `keep`, those beyond the newest; oldest first. What a summary points at stays."""
    jobs = [
        row[0]
        for row in db.execute(
            "SELECT job_id FROM runs GROUP BY job_id HAVING count(*) > ?", (keep,)
        ).fetchall()
    ]
    ended = ", ".join("?" * len(ENDED))
    found: list[Run] = []
    for job_id in jobs:
        rows = db.execute(
            f"SELECT {RUN_COLUMNS}, seq IN (SELECT last_run FROM jobs UNION SELECT last_sync FROM jobs"
            f" UNION SELECT slot_row FROM jobs) FROM runs WHERE job_id = ? AND status IN ({ended})"
            " ORDER BY at DESC, seq DESC LIMIT -1 OFFSET ?",
            (job_id, *ENDED, keep),
        ).fetchall()
        found.extend(run_of(tuple(row)[:-1]) for row in reversed(rows) if not row[-1])
    return found
