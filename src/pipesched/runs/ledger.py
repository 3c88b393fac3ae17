"""The run ledger: what was claimed, what ran and how it ended, what did not run and why."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from pipesched.errors import DataError, InputOutputError, InvalidValue, NotFound, NotPermitted
from pipesched.runs import process, reading
from pipesched.runs.database import Stamp, open_empty, open_readable, open_writable, stamp, translated
from pipesched.runs.ids import check_run_id, new_run_id
from pipesched.runs.model import ACTIVE, EXECUTED, FAILED, Counters, JobSummary, Run, RunState, Totals
from pipesched.runs.rows import RECENT, micros
from pipesched.schedule.model import Progress, RunTrigger, Skip, TimedJob
from pipesched.settings import HISTORY_LIMIT

__all__ = ["Ledger", "new_run_id"]

REASON_LENGTH: Final = 2000
Answer = TypeVar("Answer")


class Ledger:
    """One connection to the ledger; any thread may use it. Each change is durable when its method returns.

    Times given must be aware. Raises what `database.translated` raises: DataError, InputOutputError, Busy, NotPermitted.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, *, writable: bool, seen: Stamp | None) -> None:
        self.path = path
        self._db = db
        self._writable = writable
        self._seen = seen
        self._exact = seen is None or not seen.log
        self._lock = threading.RLock()
        self._in_batch = False

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Self:
        """Open the ledger at `path`. `create`: to write, made if missing; else to read: nothing is made, a missing one is empty.

        Raises ConfigurationError for a ledger of a newer version, and CannotCreate.
        """
        if create:
            return cls(path, open_writable(path), writable=True, seen=None)
        ledger = cls(path, open_empty(), writable=False, seen=None)
        ledger._reopen()
        return ledger

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All changes inside are one: durable, together, when it ends; an error undoes them all. One sync of the disk for 1,000 claims."""
        with self._write():
            yield

    # What happens to a run

    def begin_manual(
        self,
        run_id: str,
        job_id: str | None,
        *,
        now: datetime,
        pid: int,
        dry_run: bool,
        pid_started: int | None = None,
        scheduled_for: datetime | None = None,
        attempt: int = 1,
    ) -> None:
        """A run that was not claimed starts in process `pid`. Raises InvalidValue when the ledger has a run of that id."""
        check_run_id(run_id)
        with self._write() as db:
            if db.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone():
                raise InvalidValue(
                    f"there is a run {run_id} already", hint=f"see it: pipesched history; report {run_id}"
                )
            db.execute(
                "INSERT INTO runs (run_id, job_id, status, cause, scheduled_for, attempt, at, queued_at, started_at, pid,"
                " pid_started, boot, dry_run) VALUES (?, ?, 'running', 'manual', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run_id, job_id or "", micros(scheduled_for), attempt, micros(now), micros(now), micros(now), pid,
                    process.start_ticks(pid) if pid_started is None else pid_started, process.boot_id(), dry_run,
                ),
            )  # fmt: skip
            seq = db.execute("SELECT last_insert_rowid()").fetchone()[0]
            _ensure_job(db, job_id or "")
            db.execute("UPDATE jobs SET last_run = ? WHERE job_id = ?", (seq, job_id or ""))
            if not dry_run:
                _set_ran(db, job_id or "")

    def claim(
        self,
        run_id: str,
        job_id: str,
        *,
        scheduled_for: datetime,
        attempt: int,
        trigger: RunTrigger,
        count: int = 1,
        reason: str = "",
        not_before: datetime | None = None,
        now: datetime,
        dry_run: bool = False,
    ) -> bool:
        """Make this attempt ours, as a `queued` row, before anything is started. False: it was claimed or recorded before.

        A first attempt is refused at or before the newest slot that was handled, however far the clock went back. `count`: the
        occurrences that it stands for.
        """
        check_run_id(run_id)
        slot = micros(scheduled_for)
        with self._write() as db:
            _ensure_job(db, job_id)
            handled = db.execute("SELECT handled FROM jobs WHERE job_id = ?", (job_id,)).fetchone()[0]
            if attempt == 1 and handled is not None and slot <= handled:
                return False
            if db.execute(
                "SELECT 1 FROM runs WHERE job_id = ? AND scheduled_for = ? AND attempt = ? AND claimed = 1",
                (job_id, slot, attempt),
            ).fetchone():
                return False
            db.execute(
                "INSERT INTO runs (run_id, job_id, status, cause, claimed, scheduled_for, attempt, at, queued_at, not_before,"
                " reason, count, dry_run) VALUES (?, ?, 'queued', ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run_id, job_id, trigger, slot, attempt, micros(now), micros(now), micros(not_before),
                    reason[:REASON_LENGTH], count, dry_run,
                ),
            )  # fmt: skip
            if attempt == 1:
                db.execute(
                    "UPDATE jobs SET handled = ?, claimed = claimed + 1, slot_row = NULL WHERE job_id = ?",
                    (slot, job_id),
                )
            else:
                _drop_retry(db, job_id, slot, attempt)
            _set_ran(db, job_id)
        return True

    def started(self, run_id: str, *, pid: int | None, pid_started: int | None, now: datetime) -> None:
        """The run is `running`.

        Call it without a pid just before the process starts, and again with it: so a `queued` row whose scheduler died never
        started and may be started now, while a `running` one without a pid perhaps did start (see `find_lost`).
        """
        with self._write() as db:
            row = _row(db, run_id)
            if row["status"] == "running":
                db.execute(
                    "UPDATE runs SET pid = ?, pid_started = ? WHERE seq = ?", (pid, pid_started, row["seq"])
                )
                return
            db.execute(
                "UPDATE runs SET status = 'running', started_at = ?, at = ?, pid = ?, pid_started = ?, boot = ?"
                " WHERE seq = ? AND status = 'queued'",
                (micros(now), micros(now), pid, pid_started, process.boot_id(), row["seq"]),
            )
            db.execute("UPDATE jobs SET last_run = ? WHERE job_id = ?", (row["seq"], row["job_id"]))

    def requeue(self, run_id: str, *, not_before: datetime, reason: str) -> None:
        """The run could not begin its work (a busy store) and waits again."""
        with self._write() as db:
            row = _row(db, run_id)
            db.execute(
                "UPDATE runs SET status = 'queued', at = queued_at, started_at = NULL, pid = NULL, pid_started = NULL,"
                " boot = NULL, not_before = ?, reason = ? WHERE seq = ? AND status IN ('queued', 'running')",
                (micros(not_before), reason[:REASON_LENGTH], row["seq"]),
            )
            last = reading.latest_seq(db, row["job_id"])
            db.execute("UPDATE jobs SET last_run = ? WHERE job_id = ?", (last, row["job_id"]))

    def finish(
        self,
        run_id: str,
        *,
        status: RunState,
        exit_code: int | None = None,
        reason: str = "",
        now: datetime,
        documents: Mapping[str, int] | None = None,
        retry_at: datetime | None = None,
    ) -> bool:
        """The run ended; False: it had ended before, and nothing changes. `documents`: counts by outcome.

        `retry_at`: the next attempt is due then, planned in the same transaction (see `plan_retry`).
        """
        with self._write() as db:
            row = _row(db, run_id)
            if row["status"] not in ACTIVE:
                return False
            db.execute(
                "UPDATE runs SET status = ?, finished_at = ?, exit_code = ?, reason = ? WHERE seq = ?",
                (status, micros(now), exit_code, reason[:REASON_LENGTH], row["seq"]),
            )
            _count(db, row["job_id"], status, 1)
            _record_outcome(db, row, status, exit_code, reason, now)
            if status in EXECUTED and not row["dry_run"]:
                _record_sync(db, row, documents or {})
            if retry_at is not None:
                _plan_retry(db, row, retry_at)
        return True

    def plan_retry(self, run_id: str, not_before: datetime) -> None:
        """The claimed run's next attempt is due at `not_before`: `progress().retry` until it is claimed or superseded."""
        with self._write() as db:
            _plan_retry(db, _row(db, run_id), not_before)

    # What does not run

    def record_slots(self, skip: Skip, now: datetime) -> None:
        """Occurrences that do not run. They join the job's last row of this kind when nothing was claimed in between.

        Those at or before the newest handled slot are known already, but for a pending retry, which is dropped so.
        """
        first, last = micros(skip.first), micros(skip.last)
        with self._write() as db:
            _ensure_job(db, skip.job_id)
            job = db.execute("SELECT * FROM jobs WHERE job_id = ?", (skip.job_id,)).fetchone()
            superseded = job["retry_slot"] is not None and job["retry_slot"] == first == last
            known = job["handled"] is not None and last <= job["handled"]
            if known and not superseded:
                return
            reason = skip.reason[:REASON_LENGTH]
            attempt = job["retry_attempt"] if superseded else 1
            joined = 0
            if not superseded:
                joined = db.execute(
                    "UPDATE runs SET count = count + ?, until = ?, at = ? WHERE seq = ? AND status = ? AND reason = ?",
                    (skip.count, last, last, job["slot_row"], skip.status, reason),
                ).rowcount
            if not joined:
                db.execute(
                    "INSERT INTO runs (run_id, job_id, status, cause, scheduled_for, attempt, at, queued_at, reason, count,"
                    " until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        new_run_id(skip.job_id, now), skip.job_id, skip.status, "retry" if superseded else "schedule",
                        first, attempt, micros(now) if superseded else last, micros(now), reason, skip.count, last,
                    ),
                )  # fmt: skip
                if not superseded:
                    db.execute(
                        "UPDATE jobs SET slot_row = last_insert_rowid() WHERE job_id = ?", (skip.job_id,)
                    )
            if superseded:
                _drop_retry(db, skip.job_id, first, attempt)
            if not known:
                db.execute("UPDATE jobs SET handled = ? WHERE job_id = ?", (last, skip.job_id))
            _count(db, skip.job_id, skip.status, skip.count)

    def auto_pause(self, job_id: str, now: datetime, reason: str) -> None:
        """Stop the job from firing until `reset_failures`."""
        with self._write() as db:
            _ensure_job(db, job_id)
            db.execute(
                "UPDATE jobs SET auto_paused_at = ?, auto_pause_reason = ? WHERE job_id = ?",
                (micros(now), reason[:REASON_LENGTH], job_id),
            )

    def reset_failures(self, job_id: str, now: datetime) -> None:  # noqa: ARG002  as its siblings
        """Forget the failures in a row, and the pause that they led to."""
        with self._write() as db:
            db.execute(
                "UPDATE jobs SET failures = 0, auto_paused_at = NULL, auto_pause_reason = '' WHERE job_id = ?",
                (job_id,),
            )

    def expired(self, before: datetime, *, limit: int = 1000) -> list[Run]:
        """Ended rows older than `before`, oldest first, that no job's summary shows: what retention may delete."""
        return self._read(lambda db: reading.expired(db, before, limit))

    def forget(self, run_ids: Iterable[str]) -> None:
        """Delete these ended rows (after their logs and reports); every count stays."""
        with self._write() as db:
            db.executemany(
                "DELETE FROM runs WHERE run_id = ? AND status NOT IN ('queued', 'running')",
                ((each,) for each in run_ids),
            )

    # Questions

    def progress(self, jobs: Iterable[TimedJob]) -> dict[str, Progress]:
        """By job id. Opened to write, it also notes which job an id means now, so that a successor starts afresh."""
        jobs = list(jobs)
        if self._writable:
            self._note_creation(jobs)
        return self._read(lambda db: reading.progress(db, jobs))

    def summaries(self, job_ids: Iterable[str] | None = None) -> dict[str, JobSummary]:
        """By job id; None: all that the ledger knows. A job without a run has an empty one."""
        names = None if job_ids is None else set(job_ids)
        return self._read(lambda db: reading.summaries(db, names))

    def counters(self) -> Counters:
        return self._read(reading.counters)

    def totals(self) -> Totals:
        return self._read(reading.totals)

    def history(
        self,
        job_id: str | None = None,
        statuses: Collection[RunState] | None = None,
        since: datetime | None = None,
        limit: int | None = HISTORY_LIMIT,
    ) -> list[Run]:
        """Newest first, by start (of what waits, by claim; of slots, by the last). `statuses` None or empty: all. `limit` None: all."""
        return self._read(lambda db: reading.history(db, job_id, statuses or (), since, limit))

    def run(self, run_id: str) -> Run | None:
        return self._read(lambda db: reading.run(db, run_id))

    def latest(self, job_id: str) -> Run | None:
        """The job's newest run that started."""
        return self.summaries([job_id])[job_id].last_run

    def active(self) -> list[Run]:
        """Queued and running, oldest first."""
        return self._read(reading.active)

    def find_lost(self, alive: Callable[[int, int | None], bool], now: datetime) -> list[Run]:  # noqa: ARG002
        """Running rows whose process is gone, or was never named (see `started`). `alive`: process.alive, given pid and start.

        It changes nothing: `finish(status="lost")` does.
        """

        def question(db: sqlite3.Connection) -> list[Run]:
            boot = process.boot_id()
            before_boot = reading.of_other_boots(db, boot) if boot else set()
            return [
                run
                for run in reading.active(db)
                if run.status == "running"
                and (run.run_id in before_boot or run.pid is None or not alive(run.pid, run.pid_started))
            ]

        return self._read(question)

    # How it is done

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        assert self._writable, "opened to read only"
        with self._lock:
            if self._in_batch:
                yield self._db
                return
            with translated(self.path):
                self._db.execute("BEGIN IMMEDIATE")
                self._in_batch = True
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
                finally:
                    self._in_batch = False

    def _read(self, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Ask within one snapshot; a reader whose file changed under it asks again."""
        with self._lock:
            if self._in_batch:
                return question(self._db)
            for _ in range(10):
                try:
                    answer = self._snapshot(question)
                except DataError:
                    if self._is_current():
                        raise
                else:
                    if self._is_current():
                        return answer
                self._reopen()
            return self._snapshot(question)

    def _snapshot(self, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
        with translated(self.path):
            self._db.execute("BEGIN")
            try:
                return question(self._db)
            finally:
                self._db.execute("COMMIT")

    def _is_current(self) -> bool:
        if self._writable:
            return True
        now = stamp(self.path)
        if self._exact or now is None or self._seen is None:
            return now == self._seen
        return now.inode == self._seen.inode

    def _reopen(self) -> None:
        """For a reader. What nobody has open is read as it lies, so that no trace is left; also where none may be left."""
        self._db.close()
        self._seen = stamp(self.path)
        self._exact = self._seen is None or not self._seen.log
        if self._seen is None:
            self._db = open_empty()
            return
        try:
            self._db = open_readable(self.path, quiescent=self._exact)
        except (NotPermitted, InputOutputError):
            if self._exact:
                raise
            self._exact = True
            self._db = open_readable(self.path, quiescent=True)

    def _note_creation(self, jobs: list[TimedJob]) -> None:
        rows = self._read(lambda db: reading.job_rows(db, jobs))
        changed = [
            (micros(job.created_at), job.id, reading.is_successor(rows[job.id], job))
            for job in jobs
            if job.created_at and job.id in rows and rows[job.id]["created_at"] != micros(job.created_at)
        ]
        if not changed:
            return
        with self._write() as db:
            for created_at, job_id, successor in changed:
                db.execute("UPDATE jobs SET created_at = ? WHERE job_id = ?", (created_at, job_id))
                if successor:
                    db.execute(
                        "UPDATE jobs SET claimed = 0, failures = 0, auto_paused_at = NULL, auto_pause_reason = '',"
                        " retry_slot = NULL, retry_attempt = NULL, retry_not_before = NULL, slot_row = NULL WHERE job_id = ?",
                        (job_id,),
                    )


def _row(db: sqlite3.Connection, run_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise NotFound(f"the ledger has no run {run_id}", hint="pipesched history", code="run_not_found")
    return row


def _ensure_job(db: sqlite3.Connection, job_id: str) -> None:
    db.execute("INSERT INTO jobs (job_id) VALUES (?) ON CONFLICT DO NOTHING", (job_id,))


def _event(db: sqlite3.Connection) -> int:
    db.execute("UPDATE lifetime SET events = events + 1")
    return int(db.execute("SELECT events FROM lifetime").fetchone()[0])


def _set_ran(db: sqlite3.Connection, job_id: str) -> None:
    db.execute("UPDATE jobs SET ran_event = ? WHERE job_id = ?", (_event(db), job_id))


def _count(db: sqlite3.Connection, job_id: str, status: RunState, number: int) -> None:
    db.execute(f"UPDATE jobs SET {status} = {status} + ? WHERE job_id = ?", (number, job_id))
    db.execute(f"UPDATE lifetime SET {status} = {status} + ?", (number,))


def _record_outcome(
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
        db.execute("UPDATE lifetime SET last_error = ?", (what[:REASON_LENGTH],))
    if row["cause"] == "manual" and row["dry_run"]:
        return  # somebody looked; the job itself neither failed nor recovered
    change = "0" if status in EXECUTED else "failures + 1"
    db.execute(f"UPDATE jobs SET failures = {change} WHERE job_id = ?", (row["job_id"],))


def _record_sync(db: sqlite3.Connection, row: sqlite3.Row, documents: Mapping[str, Any]) -> None:
    counts = {str(outcome): int(number) for outcome, number in documents.items()}
    db.execute(
        "UPDATE jobs SET last_sync = ?, sync_event = ?, documents = ? WHERE job_id = ?",
        (row["seq"], _event(db), json.dumps(counts), row["job_id"]),
    )
    db.executemany(
        "INSERT INTO documents (outcome, count) VALUES (?, ?) ON CONFLICT (outcome) DO UPDATE SET count = count + excluded.count",
        counts.items(),
    )


def _plan_retry(db: sqlite3.Connection, row: sqlite3.Row, not_before: datetime) -> None:
    assert row["claimed"], "only what was claimed for an occurrence is tried again"
    db.execute(
        "UPDATE jobs SET retry_slot = ?, retry_attempt = ?, retry_not_before = ? WHERE job_id = ?",
        (row["scheduled_for"], row["attempt"] + 1, micros(not_before), row["job_id"]),
    )


def _drop_retry(db: sqlite3.Connection, job_id: str, slot: int, attempt: int) -> None:
    db.execute(
        "UPDATE jobs SET retry_slot = NULL, retry_attempt = NULL, retry_not_before = NULL"
        " WHERE job_id = ? AND retry_slot = ? AND retry_attempt = ?",
        (job_id, slot, attempt),
    )
