"""`history` and `logs`: what ran, what did not and why, and what it said."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipesched.cli.app import App
from pipesched.errors import InvalidValue, NotFound, PipeschedError, UsageError
from pipesched.settings import HISTORY_LIMIT

if TYPE_CHECKING:
    from datetime import datetime, tzinfo
    from pathlib import Path

    from pipesched.runs.ledger import Ledger
    from pipesched.runs.model import Run, RunState

FOLLOW_SECONDS: Final = 0.2
PLOT_LIMIT: Final = 1000
"""Runs in a plot of all jobs."""
WIDE: Final = 140
"""Columns of a terminal from which on a table has room for run ids."""
COLUMNS: Final = ("when", "job", "status", "took", "by", "reason", "run")
NARROW_COLUMNS: Final = ("when", "job", "status", "took", "reason")


def history(
    app: App,
    job_id: Annotated[str | None, typer.Argument(metavar="[JOB_ID]", help="Only this job's.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            metavar="N",
            help=f"At most so many [{HISTORY_LIMIT}; {PLOT_LIMIT} in a plot of all jobs].",
            show_default=False,
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status", metavar="STATUS", help="Only these: failed, missed, ...; several may be given."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME|DURATION", help="Only from then on: 2026-11-24, 12h."),
    ] = None,
    plot: Annotated[
        bool,
        typer.Option(
            "--plot", help="Draw how long they took and how they ended: a job's runs, or a row a job."
        ),
    ] = False,
) -> None:
    """Show past and present runs, newest first, with the occurrences that did not run and why.

    Example: pipesched history nightly --status failed --since 7d
    """
    from pipesched.runs.ledger import Ledger

    if plot and app.json:
        raise UsageError("--plot is for people, --json for programs", hint="give one of them")
    states = statuses(status or [])
    limit = limit or (PLOT_LIMIT if plot and job_id is None else HISTORY_LIMIT)
    after = _since(app, since, job_id) if since is not None else None
    with Ledger.open(app.paths.ledger, create=False) as ledger:
        found = ledger.history(job_id, states, after, limit)
        if not found and job_id is not None and not ledger.history(job_id, limit=1):
            _job_file_knows(app, job_id)
        summary = ledger.summaries([job_id])[job_id] if app.json and job_id is not None else None
    if app.json:
        from pipesched.views.jobs import statistics_document

        statistics = {} if summary is None else {"statistics": statistics_document(summary)}
        app.out.document({"runs": [run.as_json() for run in found], **statistics})
        return
    zone = _zone(app, job_id)
    if plot and found:
        from pipesched.cli.plot import draw

        draw(app, found, zone, one_job=len({run.job_id for run in found}) == 1)
        return
    narrow = app.out.terminal and shutil.get_terminal_size().columns < WIDE
    columns, cells = (NARROW_COLUMNS, _narrow_cells) if narrow else (COLUMNS, _cells)
    app.out.table(
        columns,
        [cells(run, zone) for run in found],
        title=f"times in {zone}" if narrow else "",
        empty="nothing has run yet" if not (states or since or job_id) else "no such run",
    )
    if narrow and found:
        app.out.note("a wider terminal shows the run ids too, and so does --json")


def statuses(given: list[str]) -> tuple[RunState, ...]:
    """Of several --status, each perhaps with commas. Raises InvalidValue."""
    from pipesched.runs.model import STATES

    words = [word.strip() for text in given for word in text.split(",")]
    for word in words:
        if word not in STATES:
            raise InvalidValue(f"--status: there is no status {word!r}", hint=f"one of {', '.join(STATES)}")
    return tuple(state for state in STATES if state in words)


def logs(
    app: App,
    name: Annotated[str, typer.Argument(metavar="RUN_ID|JOB_ID", help="A run, or a job's latest.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
) -> None:
    """Show what a run wrote: its captured output.

    Example: pipesched logs nightly --follow
    """
    from pipesched.runs import logs as captured
    from pipesched.runs.ledger import Ledger

    with Ledger.open(app.paths.ledger, create=False) as ledger:
        run_id, path = _find_log(app, ledger, name, follow=follow)
        if not follow:
            lines = captured.lines(captured.read(path))
            if app.json:
                run = ledger.run(run_id)
                app.out.document(
                    {
                        "run_id": run_id,
                        "job_id": run.job_id if run else None,
                        "status": run.status if run else None,
                        "text": "".join(f"{line}\n" for line in lines),
                    }
                )
            else:
                _print(app, lines)
            return
        _follow(app, ledger, run_id, path)


def _follow(app: App, ledger: Ledger, run_id: str, path: Path) -> None:
    import time

    from pipesched.runs import logs as captured
    from pipesched.runs.model import ACTIVE

    def over() -> bool:
        run = ledger.run(run_id)
        return run is None or run.status not in ACTIVE

    lines = captured.lines(captured.follow(path, over=over, pause=lambda: time.sleep(FOLLOW_SECONDS)))
    if app.json:
        for line in lines:
            app.out.document({"run_id": run_id, "line": line})
    else:
        _print(app, lines)
    run = ledger.run(run_id)
    if run is not None and not app.json:
        app.out.note(f"run {run_id}: {run.status}{f': {run.reason}' if run.reason else ''}")


def _print(app: App, lines: Iterator[str]) -> None:
    """As it is in a pipe; on a terminal without what would steer it."""
    show = app.out.line if app.out.terminal else lambda line: app.out.raw(f"{line}\n")
    for line in lines:
        show(line)
        sys.stdout.flush()


def _find_log(app: App, ledger: Ledger, name: str, *, follow: bool) -> tuple[str, Path]:
    """The run that `name` means and its log. Raises NotFound."""
    from pipesched.runs.ids import has_time, is_run_id, nearest
    from pipesched.runs.logs import log_path
    from pipesched.runs.model import ACTIVE

    folder = app.paths.logs_dir
    if not is_run_id(name):
        raise NotFound(f"there is no run or job {name!r}", hint="see pipesched history", code="run_not_found")
    if log_path(folder, name).exists():
        return name, log_path(folder, name)
    run = ledger.run(name)
    for each in (run,) if run else ledger.history(name, limit=200):
        if each.count == 1 or each.started_at is not None:
            path = log_path(folder, each.run_id)
            waits = follow and each.status in ACTIVE and each.trigger != "manual"
            if path.exists() or waits:
                return each.run_id, path
    if run is not None:
        reported = f"see pipesched report {name}"
        if run.trigger == "manual":
            why, hint = "it was started by hand, so that its output went there", reported
        else:
            why = f"{run.status}: {run.reason}" if run.reason else run.status
            hint = f"see pipesched history {run.job_id}" if run.exit_code is None else reported
        raise NotFound(f"run {name} has no log ({why})", hint=hint, code="log_not_found")
    if has_time(name):
        known = (each.run_id for each in ledger.history(limit=200))
        hint = nearest(name, known, otherwise="see pipesched history")
        raise NotFound(f"there is no run {name!r}", hint=hint, code="run_not_found")
    _job_file_knows(app, name)
    raise NotFound(
        f"no run of job {name} has a log yet", hint=f"see pipesched history {name}", code="log_not_found"
    )


def _job_file_knows(app: App, job_id: str) -> None:
    """Raises NotFound when there is no such job."""
    from pipesched.jobs.store import JobStore

    JobStore(app.paths.job_file).load(schedules=False).job(job_id)


def _since(app: App, text: str, job_id: str | None) -> datetime:
    from pipesched.schedule.timetext import parse_since

    return parse_since(text, zone=_zone(app, job_id), now=app.now())


def _zone(app: App, job_id: str | None) -> tzinfo:
    """The job's, else the job file's default, else the machine's; a job file that cannot be read hides no history."""
    from pipesched.jobs.store import JobStore
    from pipesched.machine import machine_zone
    from pipesched.schedule.zones import load_zone

    with suppress(PipeschedError):
        job_file = JobStore(app.paths.job_file).load(schedules=False)
        job = job_file.jobs.get(job_id) if job_id else None
        name = job.timezone if job else job_file.defaults.timezone
        if name:
            return load_zone(name)
    return load_zone(machine_zone())


def _cells(run: Run, zone: tzinfo) -> tuple[str, ...]:
    trigger = run.trigger.replace("_", " ") + (f", attempt {run.attempt}" if run.attempt > 1 else "")
    first, last = _span(run)
    when = first.astimezone(zone).isoformat(sep=" ", timespec="seconds") if first else ""
    if last:
        when += f" to {last.astimezone(zone).isoformat(sep=' ', timespec='seconds')}"
    return (when, run.job_id or "", _status(run), _took(run), trigger, _reason(run), run.run_id)


def _narrow_cells(run: Run, zone: tzinfo) -> tuple[str, ...]:
    first, last = (time and time.astimezone(zone) for time in _span(run))
    when = f"{first:%d %b %H:%M:%S}" if first else ""
    if first and last:
        when += f" to {last:%H:%M:%S}" if first.date() == last.date() else f" to {last:%d %b %H:%M:%S}"
    return (when, run.job_id or "", _status(run), _took(run), _reason(run))


def _span(run: Run) -> tuple[datetime | None, datetime | None]:
    """When it started or is to start; of several occurrences the first and the last."""
    first = run.started_at or run.not_before or run.scheduled_for or run.queued_at
    return first, run.until if run.count > 1 else None


def _status(run: Run) -> str:
    times = f" ({run.count} times)" if run.count > 1 and run.until is not None else ""
    return f"{run.status}{times}{', dry run' if run.dry_run else ''}"


def _took(run: Run) -> str:
    from pipesched.schedule.timetext import format_duration

    return "" if run.duration_seconds is None else format_duration(round(max(0.0, run.duration_seconds), 1))


def _reason(run: Run) -> str:
    return run.reason or (f"exit code {run.exit_code}" if run.exit_code else "")
