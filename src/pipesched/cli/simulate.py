"""`simulate`: the coming days as a heat map, and where jobs will be in each other's way."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipesched.cli.app import App
from pipesched.report import counted
from pipesched.settings import MAX_WORKERS

if TYPE_CHECKING:
    from pipesched.jobs.model import Job, JobFile
    from pipesched.runs.model import Run
    from pipesched.views.forecast import Subject

Json = dict[str, Any]
_SHADES: Final = "·░▒▓█"
_ASCII_SHADES: Final = ".-+*#"
_SHOWN: Final = 20
_NAMED: Final = 5
_MET: Final = ("first", "p50", "p95")
"""When it is met first, and how often where runs last as usual or long."""


def simulate(
    app: App,
    days: Annotated[int, typer.Option("--days", min=1, max=366, metavar="N", help="How far to look.")] = 7,
    max_workers: Annotated[
        int, typer.Option("--max-workers", min=1, max=1000, metavar="N", help="As the daemon would have it.")
    ] = MAX_WORKERS,
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", metavar="ZONE", help="Of days and hours [the job file's, the machine's]."),
    ] = None,
    assume: Annotated[
        str | None,
        typer.Option("--assume", metavar="DURATION", help="A run's length where none has ended yet [1m]."),
    ] = None,
) -> None:
    """Show the coming fires by day and hour, and where runs will overlap, wait for a store, or wait for a free worker.

    Runs are taken to last as long as half of the job's last 100 did (p50), then as long as 95 in 100 did (p95), and to succeed.

    Example: pipesched simulate --days 14 --max-workers 4
    """
    from datetime import timedelta

    from pipesched.cli.resolution import default_zone, note_problems
    from pipesched.jobs.store import JobStore
    from pipesched.schedule.timetext import parse_duration
    from pipesched.schedule.zones import load_zone
    from pipesched.views.forecast import ASSUMED_SECONDS, forecast, forecast_document

    assumed = ASSUMED_SECONDS if assume is None else parse_duration(assume)
    gc.disable()  # as in `list`
    job_file = JobStore(app.paths.job_file).load()
    zone = default_zone(job_file) if timezone is None else timezone
    place = load_zone(zone)
    now = app.now()
    found = forecast(
        _subjects(app, job_file),
        now=now,
        until=now + timedelta(days=days),
        max_workers=max_workers,
        assumed=assumed,
    )
    note_problems(app, job_file)
    document = {**forecast_document(found, place), "timezone": zone}
    if app.json:
        app.out.document(document)
    else:
        _show(app, document, job_file)


def _subjects(app: App, job_file: JobFile) -> list[Subject]:
    from pipesched.jobs.sharing import Resolver
    from pipesched.runs.ledger import Ledger
    from pipesched.runs.model import JobSummary
    from pipesched.schedule.model import Progress
    from pipesched.views.forecast import Subject

    jobs = list(job_file.jobs.values())
    timed = [job.timed() for job in jobs]
    with Ledger.open(app.paths.ledger, create=False) as ledger:
        progress = ledger.progress(timed)
        summaries = ledger.summaries(None) if jobs else {}
        active: dict[str | None, list[Run]] = {}
        for run in ledger.active():
            active.setdefault(run.job_id, []).append(run)
    resolver = Resolver(defaults=job_file.defaults.config, environment=app.environment, home=app.paths.home)
    stores: dict[str, str] = {}
    nothing, unknown = Progress(), JobSummary()
    return [
        Subject(
            when,
            progress.get(job.id, nothing),
            store=_store(resolver, job, stores),
            typical=summaries.get(job.id, unknown).duration_p50,
            slow=summaries.get(job.id, unknown).duration_p95,
            under_way=tuple(run.started_at for run in active.get(job.id, ())),
        )
        for job, when in zip(jobs, timed, strict=True)
    ]


def _store(resolver: Any, job: Job, known: dict[str, str]) -> str:
    """As the daemon sees it: a run without changes takes no lock, one whose options do not fit together comes to nothing."""
    from pipesched.errors import InvalidValue

    try:
        options = resolver.job(job)
    except InvalidValue:
        return ""
    if options.dry_run:
        return ""
    path: str = options.storage_path
    if path not in known:
        known[path] = path if options.store_is_server else os.path.realpath(path)
    return known[path]


# ---- for people


def _show(app: App, document: Json, job_file: JobFile) -> None:
    out = app.out
    fires, until = document["fires"], document["until"]
    if not fires:
        from pipesched.cli.resolution import no_jobs

        out.note(no_jobs(app, job_file) or "nothing will fire by the clock until then")
        return
    out.line(f"{counted(fires, 'fire')} until {until}, {document['timezone']}")
    if not document["complete"]:
        out.note(f"warning: that is as many as are looked at; what comes after {until} is left out")
    _heat_map(app, document["days"])
    _overlaps(app, document["overlaps"])
    _stores(app, document["stores"])
    _dependencies(app, document["dependencies"])
    _load(app, document["load"])
    if unknown := document["assumed"]["jobs"]:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        out.line(
            f"no run to go by, taken to last {_span(document['assumed']['seconds'])} (--assume):"
            f" {', '.join(unknown[:_NAMED])}{more}"
        )


def _heat_map(app: App, days: Sequence[Json]) -> None:
    out = app.out
    if not out.terminal:
        out.table(
            ("day", *(f"{hour:02}" for hour in range(24)), "fires"),
            [(_day(day), *map(str, day["hours"]), str(day["fires"])) for day in days],
        )
        out.line()
        return
    shades = _SHADES if out.shows(_SHADES) else _ASCII_SHADES
    most = max(max(day["hours"]) for day in days)
    width = 2 if shutil.get_terminal_size().columns >= 66 else 1
    out.line()
    out.line(" " * 10 + "".join(f"{hour:<{3 * width}}" for hour in range(0, 24, 3)))
    for day in days:
        cells = "".join(shades[-(-4 * count // most)] * width for count in day["hours"])
        out.line(f"{_day(day):10}{cells} {day['fires']}")
    out.line(_legend(shades, most))
    out.line()


def _legend(shades: str, most: int) -> str:
    parts = [f"{shades[0]} none"]
    for level in range(1, 5):
        low, high = (level - 1) * most // 4 + 1, level * most // 4
        if low <= high:
            parts.append(f"{shades[level]} {low}" + (f"-{high}" if high > low else ""))
    return "  ".join(parts)


def _day(day: Json) -> str:
    return f"{datetime.fromisoformat(day['date']):%a %m-%d}"


def _overlaps(app: App, rows: Sequence[Json]) -> None:
    """A job that is due while its own earlier run still goes on."""
    does = {"skip": "it is skipped", "queue": "it waits", "replace": "it takes its place"}
    _table(
        app,
        "due while the job's earlier run still goes on:",
        ("job", *_MET, "then"),
        [(row["job_id"], *_met(row), does[row["overlap"]]) for row in rows],
    )


def _stores(app: App, rows: Sequence[Json]) -> None:
    _table(
        app,
        "waits for another job's run on the same store:",
        ("job", "waits for", *_MET, "store"),
        [(row["job_id"], row["waits_for"], *_met(row), row["store"]) for row in rows],
    )


def _dependencies(app: App, rows: Sequence[Json]) -> None:
    ends = {"success": "succeeded", "failure": "failed", "any": "ended"}
    _table(
        app,
        "does not run, as no run before it will have ended in time:",
        ("job", *_MET, "until there is one that"),
        [
            (
                row["job_id"],
                _short(row["first"]),
                str(row["p50"]),
                str(row["p95"]),
                f"{ends[row['trigger_on']]}: {', '.join(row['after'])}",
            )
            for row in rows
        ],
    )


def _load(app: App, load: Json) -> None:
    app.out.line(f"load on {counted(load['max_workers'], 'worker')} (--max-workers):")
    app.out.table(
        ("", "busy", "most at once", "when", "wait for a worker"),
        [
            (
                name,
                f"{load[name]['busy']:.0%}",
                str(load[name]["wanted"]),
                "-" if load[name]["wanted_at"] is None else _short(load[name]["wanted_at"]),
                _often(load[name]["waits"]),
            )
            for name in ("p50", "p95")
        ],
    )


def _table(app: App, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    shown = rows[:_SHOWN] if app.out.terminal else rows
    app.out.line(title)
    app.out.table(columns, shown)
    if len(shown) < len(rows):
        app.out.line(f"... and {len(rows) - len(shown)} more; all of them: pipesched simulate | less")
    app.out.line()


def _met(row: Json) -> tuple[str, str, str]:
    return _short(row["first"]), _often(row["p50"]), _often(row["p95"])


def _often(tally: Json) -> str:
    """`never`, or how often, and for how long at the most: `7, up to 12m`."""
    if not tally["count"]:
        return "never"
    longest = tally["longest_seconds"]
    return f"{tally['count']}, up to {_span(longest)}" if longest else str(tally["count"])


def _span(seconds: float) -> str:
    from pipesched.schedule.timetext import format_duration

    return format_duration(round(seconds) if seconds >= 10 else max(round(seconds, 1), 0.1))


def _short(time: str) -> str:
    return f"{datetime.fromisoformat(time):%a %m-%d %H:%M}"
