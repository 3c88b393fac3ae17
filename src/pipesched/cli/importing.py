"""`import`: jobs from a file of ours, of another scheduler, or from a crontab."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipesched.cli.app import App
from pipesched.cli.transfer import NAMED, STREAM, SkipInvalid, refusal, skipped
from pipesched.report import counted

if TYPE_CHECKING:
    from datetime import datetime
    from typing import BinaryIO

    from pipesched.errors import PipeschedError
    from pipesched.jobs.formats.model import Reading
    from pipesched.jobs.formats.plan import ImportPlan
    from pipesched.jobs.model import JobFile


MOST_BYTES: Final = 64 * 2**20
"""Ten thousand jobs are 5 MB."""


def import_jobs(
    app: App,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="An export, a job file, another scheduler's JSON, a crontab; - is stdin.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and write nothing.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put jobs in place of those of the same id.")
    ] = False,
    skip_invalid: SkipInvalid = False,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone", metavar="ZONE", help="Of jobs that name none [the machine's].", show_default=False
        ),
    ] = None,
) -> None:
    """Add the jobs of a file: all of them, or none and the reasons.

    What FILE is, its content tells. Nothing but FILE is read. Where jobs are replaced, the old job file is kept as
    schedules.json.bak. Exit: 2 for an id that exists without --replace and for a job that cannot be used, 65 for a file
    that cannot be read as jobs.

    Example: pipesched import old-scheduler.json --dry-run
    """
    from pipesched.cli.add import job_zone, sharing_check
    from pipesched.cli.resolution import note_problems
    from pipesched.jobs.formats import detect
    from pipesched.jobs.formats.model import Context
    from pipesched.jobs.formats.plan import plan_import
    from pipesched.jobs.store import JobStore

    now = app.this_second()
    store = JobStore(app.paths.job_file)
    job_file = store.load()
    data = _read(app, file)
    reading = detect.read(data, name=file, context=Context(zone=job_zone(timezone, job_file), now=now))
    plan = plan_import(reading, job_file, replace=replace, check=sharing_check(app), now=now)
    fails = bool(plan.refused) and not (skip_invalid and plan.changes)
    if dry_run:
        _show_plan(app, plan, reading, job_file)
    if fails:
        _fail(app, refusal(plan.refused, f"cannot be imported from {file}"), plan)
    if dry_run:
        _document(app, plan, job_file, dry_run=True)
        return
    note_problems(app, job_file)
    backup = store.merge(plan.jobs, replacing=plan.replaced, defaults=plan.defaults, check=sharing_check(app))
    _record_gaps(app, plan, now)
    _note(app, plan)
    after = store.load(schedules=False)
    if app.json:
        _document(app, plan, after, backup=None if backup is None else str(backup))
        return
    count = counted(len(plan.changes), "job")
    kept = f", {len(plan.replaced)} in place of old ones, kept in {backup}" if backup else ""
    app.out.line(f"imported {count} from {reading.format} into {app.paths.job_file}{kept}")
    _table(app, plan, after)


def _read(app: App, file: str) -> bytes:
    """The bytes of FILE. Raises UsageError (there is none), DataError (too large), NotPermitted, InputOutputError."""
    from pipesched.errors import DataError, InputOutputError, UsageError
    from pipesched.files import os_error

    def bounded(stream: BinaryIO) -> bytes:
        data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise DataError(
                f"{file} is larger than {MOST_BYTES >> 20} MiB, which no file of jobs is",
                hint="name a file of jobs",
            )
        return data

    if file == STREAM:
        if sys.stdin is None:
            raise UsageError("FILE: stdin is closed", hint="name a file of jobs")
        try:
            return bounded(sys.stdin.buffer)
        except OSError as error:
            raise InputOutputError(
                f"FILE: cannot read stdin: {error.strerror}", hint="name a file of jobs"
            ) from error
    if not file:
        raise UsageError("FILE is empty", hint="name a file of jobs, or - for stdin")
    path = app.cwd / file
    try:
        with path.open("rb") as stream:
            return bounded(stream)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as error:
        what = "a folder" if isinstance(error, IsADirectoryError) else "not there"
        raise UsageError(f"FILE: {file} is {what}", hint="name a file of jobs, or - for stdin") from error
    except OSError as error:
        raise os_error("read", path, error) from error


def _fail(app: App, error: PipeschedError, plan: ImportPlan) -> None:
    """Raise `error`; for programs with everything that was refused beside it."""
    if not app.json:
        for refused in plan.refused[NAMED:]:
            app.out.note(f"refused {refused.id}: {refused.reason}")
        raise error
    app.out.document({"error": error.as_dict(), "jobs": [], **_plan_remarks(plan)})
    raise typer.Exit(error.exit_code)


def _plan_remarks(plan: ImportPlan) -> dict[str, Any]:
    return {"skipped": [skipped(each) for each in plan.refused], "warnings": _warnings(plan)}


def _warnings(plan: ImportPlan) -> list[str]:
    of_jobs = [f"{change.job.id}: {text}" for change in plan.changes for text in change.warnings]
    return [*plan.warnings, *of_jobs]


def _note(app: App, plan: ImportPlan) -> None:
    for warning in _warnings(plan):
        app.out.note(f"warning: {warning}")
    for refused in plan.refused:
        app.out.note(f"skipped {refused.id}: {refused.reason}")
    if not plan.changes:
        app.out.note("warning: there are no jobs in it, so that nothing was added")


def _document(
    app: App, plan: ImportPlan, job_file: JobFile, *, dry_run: bool = False, backup: str | None = None
) -> None:
    """{"jobs": [JOB], "skipped": [{"id", "reason"}], "warnings": [...]}; nothing for people."""
    if app.json:
        app.out.document(
            {
                "jobs": _rows(app, plan, job_file),
                **_plan_remarks(plan),
                "replaced": sorted(plan.replaced),
                "backup": backup,
                "dry_run": dry_run,
            }
        )


def _show_plan(app: App, plan: ImportPlan, reading: Reading, job_file: JobFile) -> None:
    """What a dry run would do, for people."""
    if app.json:
        return
    app.out.line(f"{reading.format}; a dry run, so that nothing is written")
    _table(app, plan, job_file, refused=True)
    for warning in plan.warnings:
        app.out.note(f"warning: {warning}")


def _table(app: App, plan: ImportPlan, job_file: JobFile, *, refused: bool = False) -> None:
    from pipesched.cli.listing import next_run

    now = app.now()
    lines = [
        (
            row["id"],
            "replace" if row["id"] in plan.replaced else "add",
            row["trigger_text"],
            row["timezone"],
            next_run(row, now),
            *(["; ".join(change.warnings) or "-"] if refused else []),
        )
        for row, change in zip(_rows(app, plan, job_file), plan.changes, strict=True)
    ]
    lines += [(each.id, "refuse", "-", "-", "-", each.reason) for each in plan.refused if refused]
    columns = ("job", "what", "schedule", "zone", "next run", *(("warnings",) if refused else ()))
    app.out.table(columns, lines, empty="there are no jobs in it")


def _rows(app: App, plan: ImportPlan, job_file: JobFile) -> list[dict[str, Any]]:
    """The JOB documents of what comes in, as they are in the file that it makes."""
    from pipesched.cli.resolution import changed_documents

    after = job_file.with_jobs(plan.jobs)
    return changed_documents(app, after, [after.jobs[job.id] for job in plan.jobs])


def _record_gaps(app: App, plan: ImportPlan, now: datetime) -> None:
    """What a replaced job still owed by its old schedule."""
    from pipesched.cli.edit import record_done_gap

    changed = [
        change.before
        for change in plan.changes
        if change.before is not None and change.before.since != change.job.since
    ]
    if changed:
        record_done_gap(app, changed, now)
