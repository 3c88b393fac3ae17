"""The ledger's tables, version by version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

APPLICATION_ID: Final = 0x70697065
"""In the file's header, so that another program's database is never taken for ours."""
MIGRATIONS: Final = (
    """
    CREATE TABLE runs (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      run_id TEXT NOT NULL UNIQUE,
      job_id TEXT NOT NULL,              -- '' where no job started it
      status TEXT NOT NULL,
      cause TEXT NOT NULL,               -- schedule, manual, catch_up, retry, dependency
      claimed INTEGER NOT NULL DEFAULT 0,
      scheduled_for INTEGER,             -- this and all times: microseconds since 1970, UTC
      attempt INTEGER NOT NULL DEFAULT 1,
      at INTEGER NOT NULL,               -- when it last happened: start, else claim; of slots, the last
      queued_at INTEGER,
      not_before INTEGER,
      started_at INTEGER,
      finished_at INTEGER,
      exit_code INTEGER,
      reason TEXT NOT NULL DEFAULT '',
      count INTEGER NOT NULL DEFAULT 1,
      until INTEGER,
      pid INTEGER,
      pid_started INTEGER,
      boot TEXT,
      dry_run INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX runs_attempt ON runs (job_id, scheduled_for, attempt) WHERE claimed = 1;
    CREATE INDEX runs_by_status ON runs (status, at);
    CREATE INDEX runs_by_job ON runs (job_id, status, at);
    CREATE TABLE jobs (
      job_id TEXT PRIMARY KEY,
      created_at INTEGER,
      handled INTEGER,
      claimed INTEGER NOT NULL DEFAULT 0,
      failures INTEGER NOT NULL DEFAULT 0,
      auto_paused_at INTEGER,
      auto_pause_reason TEXT NOT NULL DEFAULT '',
      retry_slot INTEGER,
      retry_attempt INTEGER,
      retry_not_before INTEGER,
      slot_row INTEGER,                  -- the row that the next slot may join
      last_run INTEGER,
      last_sync INTEGER,
      ran_event INTEGER NOT NULL DEFAULT 0,
      sync_event INTEGER NOT NULL DEFAULT 0,
      recent TEXT NOT NULL DEFAULT '',   -- the last 20 outcomes, oldest first: 1 executed, 0 failed
      documents TEXT NOT NULL DEFAULT '{}',
      succeeded INTEGER NOT NULL DEFAULT 0,
      partial INTEGER NOT NULL DEFAULT 0,
      failed INTEGER NOT NULL DEFAULT 0,
      timeout INTEGER NOT NULL DEFAULT 0,
      interrupted INTEGER NOT NULL DEFAULT 0,
      lost INTEGER NOT NULL DEFAULT 0,
      missed INTEGER NOT NULL DEFAULT 0,
      skipped INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE lifetime (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      events INTEGER NOT NULL DEFAULT 0, -- an order of things that no clock can upset
      recent TEXT NOT NULL DEFAULT '',
      last_execution INTEGER,
      last_error TEXT,
      succeeded INTEGER NOT NULL DEFAULT 0,
      partial INTEGER NOT NULL DEFAULT 0,
      failed INTEGER NOT NULL DEFAULT 0,
      timeout INTEGER NOT NULL DEFAULT 0,
      interrupted INTEGER NOT NULL DEFAULT 0,
      lost INTEGER NOT NULL DEFAULT 0,
      missed INTEGER NOT NULL DEFAULT 0,
      skipped INTEGER NOT NULL DEFAULT 0
    );
    INSERT INTO lifetime (id) VALUES (1);
    CREATE TABLE documents (outcome TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE jobs ADD COLUMN failure_event INTEGER NOT NULL DEFAULT 0;  -- of a failure that no retry follows
    ALTER TABLE jobs ADD COLUMN end_event INTEGER NOT NULL DEFAULT 0;      -- of a run's end, however it was
    UPDATE jobs SET end_event = sync_event;
    """,
    """
    ALTER TABLE jobs ADD COLUMN duration_p50 INTEGER;  -- milliseconds
    ALTER TABLE jobs ADD COLUMN duration_p95 INTEGER;
    CREATE TABLE durations (         -- apart from jobs, which is read whole and often
      job_id TEXT PRIMARY KEY,
      newest TEXT NOT NULL           -- milliseconds, oldest first, with blanks between them
    ) WITHOUT ROWID;
    """,
)
VERSION: Final = len(MIGRATIONS)


def user_version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection) -> None:
    """All steps in one transaction: the file is of the old version, or of the new one."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for number in range(user_version(db), VERSION):
            for statement in _statements(MIGRATIONS[number]):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """One by one, because executescript commits the transaction that it finds open."""
    statement = ""
    for line in script.splitlines():
        statement += line.split("--")[0] + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
