"""The scheduler and its jobs at a glance: `status --json` and GET /scheduler/status."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipesched.runs.model import CHUNKS, DRIFTED, WITHHELD
from pipesched.settings import NEXT_COUNT
from pipesched.views.indexes import documents_held, why_bad

if TYPE_CHECKING:
    from pipesched.runs.model import Run
    from pipesched.views.snapshot import JobView, Snapshot


def status_document(snapshot: Snapshot) -> dict[str, Any]:
    """The document, without `schema_version`; times are RFC 3339 with an offset, ages seconds."""
    facts, counters = snapshot.facts, snapshot.counters
    return {
        "scheduler_running": facts.running,
        "pid": facts.pid,
        "http": facts.http,
        "started_at": _text(facts.started_at),
        "last_tick": _text(facts.last_tick),
        "job_file_error": None if snapshot.job_file_error is None else snapshot.job_file_error.as_dict(),
        "active_jobs": sum(is_active(view) for view in snapshot.jobs.values()),
        "jobs_executed": counters.executed,
        "jobs_failed": counters.failed,
        "jobs_missed": counters.missed,
        "jobs_skipped": counters.skipped,
        "success_rate": counters.success_rate,
        "last_execution": _text(counters.last_execution),
        "last_error": counters.last_error,
        "running": [_running(run, snapshot.now) for run in snapshot.active],
        "next": [
            {"job_id": view.job.id, "at": local(view), "collapsed": view.next.collapsed}
            for view in next_fires(snapshot)
            if view.next is not None
        ],
        "jobs": [freshness(view, snapshot.now) for view in snapshot.jobs.values()],
        "collections": [each.as_json(snapshot.now) for each in snapshot.collections],
    }


def is_active(view: JobView) -> bool:
    """Whether it may still fire by itself: neither paused nor done."""
    if not view.job.enabled or view.progress.auto_paused_at is not None:
        return False
    return view.next is not None or view.timed.schedule.at_start


def next_fires(snapshot: Snapshot, count: int = NEXT_COUNT) -> list[JobView]:
    """The jobs that fire soonest, each once."""
    due = ((view.next.at, view.job.id, view) for view in snapshot.jobs.values() if view.next is not None)
    return [view for _at, _id, view in heapq.nsmallest(count, due, key=lambda item: item[:2])]


def local(view: JobView) -> str | None:
    """The next fire in the job's own zone."""
    from pipesched.schedule.zones import load_zone

    return None if view.next is None else view.next.at.astimezone(load_zone(view.job.timezone)).isoformat()


def freshness(view: JobView, now: datetime) -> dict[str, Any]:
    """How old a job's newest successful sync is, what it holds since, and how its runs went.

    `documents` and `chunks` are None until a sync has counted them; `age_seconds` is None where there was no sync.
    """
    last, sync = view.summary.last_run, view.summary.last_sync
    synced_at = None if sync is None else sync.finished_at
    counts = sync_counts(view)
    return {
        "job_id": view.job.id,
        "state": view.state,
        "next_run_time": local(view),
        "last_status": None if last is None else last.status,
        "last_success": _text(synced_at),
        "age_seconds": None if synced_at is None else round(max(0.0, (now - synced_at).total_seconds()), 3),
        "documents": counts[0],
        "chunks": counts[1],
        "failed_documents": view.summary.documents.get("failed", 0),
        "withheld_deletes": view.summary.documents.get(WITHHELD, 0),
        "drifted_chunks": view.summary.documents.get(DRIFTED, 0),
        "last_error": why_bad(last),
        "failures_in_row": view.summary.failures_in_row,
        "success_rate": view.summary.success_rate,
        "duration_p50_seconds": view.summary.duration_p50,
        "duration_p95_seconds": view.summary.duration_p95,
    }


def sync_counts(view: JobView) -> tuple[int | None, int | None]:
    """How many documents and chunks the collection held after the job's last sync, as far as that was counted."""
    counts = view.summary.documents
    return documents_held(counts), counts.get(CHUNKS)


def _running(run: Run, now: datetime) -> dict[str, Any]:
    since = run.started_at or run.queued_at
    return {
        "run_id": run.run_id,
        "job_id": run.job_id,
        "status": run.status,
        "trigger": run.trigger,
        "scheduled_for": _text(run.scheduled_for),
        "started_at": _text(run.started_at),
        "duration_seconds": None if since is None else round(max(0.0, (now - since).total_seconds()), 3),
    }


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()
