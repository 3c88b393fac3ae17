"""The run ledger: what was claimed, what ran and how it ended, what did not run and why."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from pipesched.errors import InvalidValue
from pipesched.runs import durations, process, reading, recording
from pipesched.runs.connection import Connection
from pipesched.runs.ids import check_run_id, new_run_id
from pipesched.runs.model import ACTIVE, ENDS, EXECUTED, FAILED, Counters, JobSummary, Run, RunState, Totals
from pipesched.runs.rows import micros
from pipesched.runs.seen import Onlooker
from pipesched.settings import HISTORY_LIMIT

if TYPE_CHECKING:
    from pipesched.schedule.model import PendingRetry, Progress, RunTrigger, Skip, TimedJob

__all__ = ["Ledger", "new_run_id"]

_RUNNING: Final[frozenset[RunState]] = frozenset({"running"})


class Ledger(Connection):
    """One connection to the ledger; any thread may use it. Each change is durable when its method returns.

    Times given must be aware. Raises what `database.translated` raises: DataError, InputOutputError, Busy, NotPermitted.
    """

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
                    f"there is a run {run_id} already",
                    hint=f"choose another --run-id; this one: pipesched report {run_id}",
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
            recording.ensure_job(db, job_id or "")
            db.execute("UPDATE jobs SET last_run = ? WHERE job_id = ?", (seq, job_id or ""))
            if not dry_run:
                recording.note_start(db, job_id or "")

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
            recording.ensure_job(db, job_id)
            handled = db.execute("SELECT handled FROM jobs WHERE job_id = ?", (job_id,)).fetchone()[0]
            if attempt == 1 and handled is not None and slot <= handled:
                return False
            if db.execute(
                "SELECT 1 FROM runs WHERE job_id = ? AND scheduled_for = ? AND attempt = ? AND claimed = 1",
                (job_id, slot, attempt),
            ).fetchone():
                if attempt == 1:  # claimed while the clock was ahead (see `forget_future`)
                    db.execute("UPDATE jobs SET handled = ? WHERE job_id = ?", (slot, job_id))
                return False
            db.execute(
                "INSERT INTO runs (run_id, job_id, status, cause, claimed, scheduled_for, attempt, at, queued_at, not_before,"
                " reason, count, dry_run) VALUES (?, ?, 'queued', ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run_id, job_id, trigger, slot, attempt, micros(now), micros(now), micros(not_before),
                    recording.storable(reason), count, dry_run,
                ),
            )  # fmt: skip
            recording.note_start(db, job_id)
            if attempt == 1:
                db.execute(
                    "UPDATE jobs SET handled = ?, claimed = claimed + 1, slot_row = NULL WHERE job_id = ?",
                    (slot, job_id),
                )
            else:
                recording.drop_retry(db, job_id, slot, attempt)
        return True

    def started(self, run_id: str, *, pid: int | None, pid_started: int | None, now: datetime) -> None:
        """The run is `running`.

        Call it without a pid just before the process starts, and again with it: so a `queued` row whose scheduler died never
        started and may be started now, while a `running` one without a pid perhaps did start (see `find_lost`).
        """
        with self._write() as db:
            row = recording.row(db, run_id)
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
            row = recording.row(db, run_id)
            db.execute(
                "UPDATE runs SET status = 'queued', at = queued_at, started_at = NULL, pid = NULL, pid_started = NULL,"
                " boot = NULL, not_before = ?, reason = ? WHERE seq = ? AND status IN ('queued', 'running')",
                (micros(not_before), recording.storable(reason), row["seq"]),
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
            row = recording.row(db, run_id)
            if row["status"] not in ACTIVE:
                return False
            db.execute(
                "UPDATE runs SET status = ?, finished_at = ?, exit_code = ?, reason = ? WHERE seq = ?",
                (status, micros(now), exit_code, recording.storable(reason), row["seq"]),
            )
            recording.count(db, row["job_id"], status, 1)
            recording.record_outcome(db, row, status, exit_code, reason, now)
            if status in EXECUTED and not row["dry_run"]:
                recording.record_sync(db, row, documents or {})
                durations.note(db, row, now)
            if retry_at is not None:
                recording.plan_retry(db, row, retry_at)
            elif status in ENDS and not row["dry_run"]:
                recording.note_end(db, row["job_id"], failed=status in FAILED)
        return True

    def plan_retry(self, run_id: str, not_before: datetime) -> None:
        """The claimed run's next attempt is due at `not_before`: `progress().retry` until it is claimed or superseded."""
        with self._write() as db:
            recording.plan_retry(db, recording.row(db, run_id), not_before)

    def pending_retries(self) -> dict[str, PendingRetry]:
        """By job id."""
        return self._read(reading.pending_retries)

    def stops(self, job_id: str, scheduled_for: datetime, *, before: int) -> int:
        """How many of the slot's attempts below `before` were cut off by their daemon's stop."""
        slot = micros(scheduled_for)
        return len(self._read(lambda db: reading.stops(db, job_id, slot, before)))

    def hasten_retry(self, job_id: str, not_before: datetime) -> None:
        """The job's pending retry is due then instead."""
        with self._write() as db:
            db.execute(
                "UPDATE jobs SET retry_not_before = ? WHERE job_id = ? AND retry_slot IS NOT NULL",
                (micros(not_before), job_id),
            )

    def forget_future(self, beyond: datetime, now: datetime) -> list[str]:
        """The jobs whose slots were decided up to a time `beyond` this: from `now` on they are decided anew.

        What was claimed meanwhile stays claimed, and is not started again when its time comes.
        """
        with self._write() as db:
            rows = db.execute("SELECT job_id FROM jobs WHERE handled > ?", (micros(beyond),)).fetchall()
            db.execute(
                "UPDATE jobs SET handled = ?, slot_row = NULL WHERE handled > ?",
                (micros(now), micros(beyond)),
            )
        return [row[0] for row in rows]

    # What does not run

    def record_slots(self, skip: Skip, now: datetime) -> None:
        """Occurrences that do not run. They join the job's last row of this kind when nothing was claimed in between.

        Those at or before the newest handled slot are known already, but for a pending retry, which is dropped so.
        """
        first, last = micros(skip.first), micros(skip.last)
        with self._write() as db:
            recording.ensure_job(db, skip.job_id)
            job = db.execute("SELECT * FROM jobs WHERE job_id = ?", (skip.job_id,)).fetchone()
            superseded = job["retry_slot"] is not None and job["retry_slot"] == first == last
            known = job["handled"] is not None and last <= job["handled"]
            if known and not superseded:
                return
            reason = recording.storable(skip.reason)
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
                recording.drop_retry(db, skip.job_id, first, attempt)
                recording.note_end(db, skip.job_id, failed=True)  # the failure before it was the last word
            if not known:
                db.execute("UPDATE jobs SET handled = ? WHERE job_id = ?", (last, skip.job_id))
            recording.count(db, skip.job_id, skip.status, skip.count)

    def auto_pause(self, job_id: str, now: datetime, reason: str) -> None:
        """Stop the job from firing until `reset_failures`."""
        with self._write() as db:
            recording.ensure_job(db, job_id)
            db.execute(
                "UPDATE jobs SET auto_paused_at = ?, auto_pause_reason = ? WHERE job_id = ?",
                (micros(now), recording.storable(reason), job_id),
            )

    def reset_failures(self, job_id: str) -> None:
        """Forget the failures in a row, and the pause that they led to."""
        with self._write() as db:
            db.execute(
                "UPDATE jobs SET failures = 0, auto_paused_at = NULL, auto_pause_reason = '' WHERE job_id = ?",
                (job_id,),
            )

    def expired(self, before: datetime) -> list[Run]:
        """Ended rows older than `before`, oldest first, that no job's summary shows: what retention may delete."""
        return self._read(lambda db: reading.expired(db, before))

    def surplus(self, keep: int) -> list[Run]:
        """Ended rows beyond the newest `keep` of their job, oldest first, that no summary shows: retention may delete them too."""
        return self._read(lambda db: reading.surplus(db, keep))

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
        answer, created = self._read(lambda db: reading.progress(db, jobs))
        if created and self._writable:
            with self._write() as db:
                for each in created:
                    recording.note_creation(db, each)
        onlooker = self._onlooker()
        if onlooker is None or not any(each.active for each in answer.values()):
            return answer
        live = {run.run_id: run.status == "queued" for run in onlooker.active(self._active())}
        return {name: _only(live, each) for name, each in answer.items()}

    def _onlooker(self) -> Onlooker | None:
        """Who only reads is told what is, not what has been written so far: a run whose process is gone is lost."""
        return None if self._writable else Onlooker(self.path.parent)

    def summaries(self, job_ids: Iterable[str] | None = None) -> dict[str, JobSummary]:
        """By job id; None: all that the ledger knows. A job without a run has an empty one."""
        names = None if job_ids is None else set(job_ids)
        found = self._read(lambda db: reading.summaries(db, names))
        onlooker = self._onlooker()
        if onlooker is None:
            return found
        return {name: onlooker.summary(summary) for name, summary in found.items()}

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
        wanted = frozenset(statuses or ())
        onlooker = self._onlooker()
        if onlooker is None:
            return self._read(lambda db: reading.history(db, job_id, wanted, since, limit))
        # What is running in the ledger may be lost to the onlooker: enough rows for both.
        asked = wanted.union(_RUNNING) if "lost" in wanted else wanted
        more = None if limit is None or not wanted & {"lost", "running"} else limit + len(self._active())
        rows = self._read(
            lambda db: reading.history(db, job_id, asked, since, limit if more is None else more)
        )
        seen = onlooker.runs(rows)
        return [run for run in seen if not wanted or run.status in wanted][:limit]

    def run(self, run_id: str) -> Run | None:
        found = self._read(lambda db: reading.run(db, run_id))
        onlooker = self._onlooker()
        return found if found is None or onlooker is None else onlooker.run(found)

    def latest(self, job_id: str) -> Run | None:
        """The job's newest run that started."""
        return self.summaries([job_id])[job_id].last_run

    def active(self) -> list[Run]:
        """Queued and running, oldest first."""
        found = self._active()
        onlooker = self._onlooker()
        return found if onlooker is None else onlooker.active(found)

    def _active(self) -> list[Run]:
        return self._read(reading.active)

    def find_lost(self) -> list[Run]:
        """Running rows whose process is gone, or was never named (see `started`).

        It changes nothing: `finish(status="lost")` does.
        """

        def question(db: sqlite3.Connection) -> list[Run]:
            boot = process.boot_id()
            before_boot = reading.of_other_boots(db, boot) if boot else set()
            return [
                run
                for run in reading.active(db)
                if run.status == "running"
                and (
                    run.run_id in before_boot
                    or run.pid is None
                    or not process.alive(run.pid, run.pid_started)
                )
            ]

        return self._read(question)


def _only(live: Mapping[str, bool], progress: Progress) -> Progress:
    """`progress` with those of its active runs that are in `live`: run id -> whether it waits."""
    active = tuple(run_id for run_id in progress.active if run_id in live)
    return replace(progress, active=active, queued=any(live[run_id] for run_id in active))
