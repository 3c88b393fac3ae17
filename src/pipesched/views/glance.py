"""The status in words: a few lines and a row a job, for a terminal or a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pipesched.runs.model import JobSummary
from pipesched.schedule.zones import load_zone
from pipesched.views.ages import ago, span, took
from pipesched.views.checks import put_back
from pipesched.views.indexes import stalest
from pipesched.views.snapshot import JobView, Snapshot
from pipesched.views.status import is_active, next_fires, sync_counts

COLUMNS: Final = ("job", "state", "next", "last run", "fresh", "documents", "chunks")
LEDGER_COLUMNS: Final = ("job", "last run", "fresh")
SHOWN_ROWS: Final = 40
"""On a terminal; a pipe gets all."""
_NEXT: Final = 3
_COLLECTIONS: Final = 5


def lines(snapshot: Snapshot) -> list[str]:
    """The scheduler, the counters, the last error, what runs, what is next."""
    facts, counters, now = snapshot.facts, snapshot.counters, snapshot.now
    if facts.running:
        said = [
            "running",
            f"pid {facts.pid}" if facts.pid is not None else "",
            f"up {span(now - facts.started_at)}" if facts.started_at is not None else "",
            facts.http or "",
        ]
        scheduler = ", ".join(part for part in said if part)
    else:
        seen = f" (last seen {ago(facts.last_tick, now)})" if facts.last_tick is not None else ""
        scheduler = f"not running{seen}; start it with pipesched daemon"
    active = sum(is_active(view) for view in snapshot.jobs.values())
    rate = (
        ""
        if counters.success_rate is None
        else f"; {counters.success_rate:.0%} of the last 20 runs succeeded"
    )
    ended = f"{counters.executed} done, {counters.failed} failed"
    never = f"{counters.missed} missed, {counters.skipped} skipped"
    found = [
        f"scheduler: {scheduler}",
        f"job file:  {unusable}"
        if (unusable := _unusable(snapshot))
        else f"jobs:      {active} active of {len(snapshot.jobs)}",
        f"runs:      {ended}, {never}{rate}",
    ]
    if counters.last_execution is not None:
        found.append(f"last run:  {ago(counters.last_execution, now)}")
    if counters.last_error:
        found.append(f"error:     {' '.join(counters.last_error.split())}")
    names = Counter(each.place.name for each in snapshot.collections)
    found += [
        f"index:     {each.words(now, placed=names[each.place.name] > 1)}"
        for each in stalest(snapshot.collections)[:_COLLECTIONS]
    ]
    for run in snapshot.active:
        since = run.started_at or run.queued_at
        lasting = "" if since is None else f" for {span(now - since)}"
        found.append(f"{run.status + ':':<10} {run.job_id or 'by hand'}{lasting} ({run.run_id})")
    found += [f"next:      {view.job.id} {_due(view, snapshot)}" for view in next_fires(snapshot, _NEXT)]
    found += [f"problem:   {problem.message}" for problem in snapshot.job_file.problems]
    return found


def _unusable(snapshot: Snapshot) -> str:
    """That the job file is, and what holds meanwhile; empty where it can be used."""
    error, facts = snapshot.job_file_error, snapshot.facts
    at = f": {facts.http}" if facts.http else ""
    goes_on = f"; the scheduler goes on with the last good jobs{at}" if facts.running else ""
    if error is not None:
        return f"{error.message}{goes_on}"
    path = str(snapshot.paths.job_file)
    return f"{path} is gone{goes_on}; {put_back(path)}" if snapshot.gone else ""


def _due(view: JobView, snapshot: Snapshot) -> str:
    if view.next is None:
        return ""
    local = view.next.at.astimezone(load_zone(view.job.timezone))
    days = (local.date() - snapshot.now.astimezone(local.tzinfo).date()).days
    shown = f"{local:%H:%M %Z}" if days == 0 else f"{local:%a %Y-%m-%d %H:%M %Z}"
    return f"{ago(view.next.at, snapshot.now)} ({shown})"


def job_rows(snapshot: Snapshot, *, full: bool) -> tuple[list[tuple[str, ...]], int]:
    """A row of COLUMNS for each job, soonest first, and how many were left out."""
    far = snapshot.now.max.replace(tzinfo=snapshot.now.tzinfo)
    ranked = sorted(
        snapshot.jobs.values(), key=lambda view: (far if view.next is None else view.next.at, view.job.id)
    )
    shown = ranked if full else ranked[:SHOWN_ROWS]
    return [_row(view, snapshot) for view in shown], len(ranked) - len(shown)


def ledger_rows(
    summaries: Mapping[str, JobSummary], now: datetime, *, full: bool
) -> tuple[list[tuple[str, ...]], int]:
    """A row of LEDGER_COLUMNS for each job that has run, whatever the job file says, and how many were left out."""
    ran = sorted(job_id for job_id, summary in summaries.items() if summary.last_run is not None)
    shown = ran if full else ran[:SHOWN_ROWS]
    return [(job_id, *_runs(summaries[job_id], now)) for job_id in shown], len(ran) - len(shown)


def _row(view: JobView, snapshot: Snapshot) -> tuple[str, ...]:
    documents, chunks = sync_counts(view)
    return (
        view.job.id,
        view.state,
        _due(view, snapshot) or "-",
        *_runs(view.summary, snapshot.now),
        "-" if documents is None else str(documents),
        "-" if chunks is None else str(chunks),
    )


def _runs(summary: JobSummary, now: datetime) -> tuple[str, str]:
    """The last run, and how old the last sync is."""
    last, sync = summary.last_run, summary.last_sync
    result = ""
    if last is not None:
        began = "" if last.started_at is None else f" {ago(last.started_at, now)}"
        duration = took(last.duration_seconds)
        result = f"{last.status}{began}" + (f", took {duration}" if duration else "")
    synced = None if sync is None else sync.finished_at
    return result or "-", "-" if synced is None else f"{span(now - synced)} old"
