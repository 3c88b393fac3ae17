"""`reports` and `report`: what runs did, from the files in the output folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from pipesched.cli.app import App
from pipesched.settings import HISTORY_LIMIT

SHOWN_DOCUMENTS: Final = 200
FIELDS: Final = ("finished", "job", "status", "took")
COUNTS: Final = {
    "documents": "total_documents",
    "new": "new_documents",
    "modified": "modified_documents",
    "renamed": "renamed_documents",
    "deleted": "deleted_sources",
    "failed": "failed_documents",
}


def reports(
    app: App,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="At most so many.")
    ] = HISTORY_LIMIT,
) -> None:
    """List the run reports, newest first; one of them: pipesched report NAME.

    Example: pipesched reports --limit 5
    """
    from pipesched.runs.reports import list_reports, names

    folder = app.paths.output_dir
    found = list_reports(folder, limit)
    if app.json:
        app.out.document({"reports": found})
        return
    narrow = app.out.terminal
    app.out.table(
        ("run", "status", "took", "documents", "changes") if narrow else (*FIELDS, *COUNTS, "report"),
        [_narrow_row(report) if narrow else _row(report) for report in found],
        empty=f"there are no reports in {folder} yet",
    )
    more = sum(name < found[-1]["filename"] for name in names(folder)) if found else 0
    if more:
        app.out.note(f"{more} more; see them with --limit {len(found) + more}")


def report(
    app: App,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A report's file name, or its run's id.")],
) -> None:
    """Show one run report: what changed, what failed, how long it took.

    Example: pipesched report report-20261124T020000.000Z-nightly-1f0c9a5e.json
    """
    from pipesched.runs.reports import read_report

    found = read_report(app.paths.output_dir, name)
    if app.json:
        app.out.document(found)
    else:
        print_report(app, found)


def print_report(app: App, found: Mapping[str, Any]) -> None:
    """A report for people."""
    out = app.out
    stats = found["stats"]
    out.line(f"run        {found['run_id']}" + (f", job {found['job_id']}" if found["job_id"] else ""))
    word = f"dry run: {found['status']}" if found["dry_run"] else found["status"]
    out.line(f"status     {word}: {found['message']}")
    out.line(f"started    {found['timestamp']}, took {_took(found)}")
    if found["scheduled_for"]:
        out.line(f"scheduled  {found['scheduled_for']}")
    out.line(f"mode       {found['mode']}: {found['mode_reason']}")
    out.line(f"documents  {_counts(stats, ('_documents', '_sources'))}")
    out.line(f"chunks     {_counts(stats, ('_chunks', 'chunks_'))}")
    documents = found["documents"]
    if documents:
        out.line()
        out.table(
            ("change", "document", "chunks", "reason"),
            [
                tuple(str(each.get(key, "")) for key in ("change", "source", "chunks", "reason"))
                for each in documents[:SHOWN_DOCUMENTS]
            ],
        )
        if len(documents) > SHOWN_DOCUMENTS:
            out.note(f"{len(documents) - SHOWN_DOCUMENTS} more; all of them with --json")
    for error in found["errors"]:
        where = f"{error.get('source')}: " if error.get("source") else ""
        out.line(f"error      {where}{error.get('message', '')}")


def _counts(stats: Mapping[str, Any], marks: tuple[str, ...]) -> str:
    """`3 total, 1 new, ...`: the counts whose names hold one of `marks`."""
    return ", ".join(
        f"{value} {key.replace(mark, '').replace('_', ' ')}"
        for key, value in stats.items()
        for mark in marks
        if mark in key
    )


def _row(report: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (str(report["stats"].get(key, "")) for key in COUNTS.values())
    return (
        report["finished_at"],
        report["job_id"] or "",
        _status(report),
        _took(report),
        *counts,
        report["filename"],
    )


def _narrow_row(report: Mapping[str, Any]) -> tuple[str, ...]:
    total, *counts = (report["stats"].get(key, 0) for key in COUNTS.values())
    changes = ", ".join(
        f"{count} {word}" for word, count in zip(list(COUNTS)[1:], counts, strict=True) if count
    )
    return (report["run_id"], _status(report), _took(report), str(total), changes or "none")


def _status(report: Mapping[str, Any]) -> str:
    return f"{report['status']}{', dry run' if report['dry_run'] else ''}"


def _took(report: Mapping[str, Any]) -> str:
    from pipesched.schedule.timetext import format_duration

    return format_duration(round(report["duration_seconds"], 1))
