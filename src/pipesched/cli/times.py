"""`next`, `explain`: when jobs will run, and what a cron expression means."""

from __future__ import annotations

import gc
import heapq
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipesched.cli.app import App
from pipesched.settings import NEXT_COUNT

if TYPE_CHECKING:
    from pipesched.jobs.model import Job, JobFile
    from pipesched.schedule.model import Occurrence

_EXPLAINED = 5
_FIXED = (
    "it keeps to the clock on the wall: a time that is skipped runs when the clocks have gone forward,"
    " one that comes twice runs the first time only"
)
_WILDCARD = "it goes on through any change of the clocks, and twice through an hour that comes twice"


def next_fires(
    app: App,
    job_id: Annotated[
        str | None, typer.Argument(metavar="[JOB_ID]", help="Only this job.", show_default=False)
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=10_000, metavar="N", help="How many, over all jobs.")
    ] = NEXT_COUNT,
    after: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Those strictly after TIME [now].", show_default=False),
    ] = None,
) -> None:
    """Show when jobs will run, with what changes of the clocks do to them.

    Example: pipesched next nightly --count 10 --from "2026-10-24 12:00"
    """
    from itertools import islice

    from pipesched.cli.resolution import default_zone, note_problems
    from pipesched.jobs.store import JobStore
    from pipesched.schedule.timetext import parse_time
    from pipesched.schedule.zones import load_zone

    gc.disable()  # as in `list`: thousands of jobs make no cycles that are worth looking for
    job_file = JobStore(app.paths.job_file).load(schedules=job_id is None)
    jobs = list(job_file.jobs.values()) if job_id is None else [job_file.job(job_id)]
    now = app.now()
    begin = now
    if after is not None:
        zone = jobs[0].timezone if job_id is not None else default_zone(job_file)
        begin = parse_time(after, zone=load_zone(zone), now=now)
    fires = [
        (job, occurrence, occurrence.at.astimezone(load_zone(job.timezone)))
        for job, occurrence in islice(_merged(app, jobs, begin, still_to_come=after is None), count)
    ]
    if job_id is None:
        note_problems(app, job_file)
    if app.json:
        app.out.document({"fires": [{"job_id": job.id, **_fire(fire, local)} for job, fire, local in fires]})
        return
    app.out.table(
        ("job", "at", "zone", "from now", "note"),
        [(job.id, *_row(fire, local, now)) for job, fire, local in fires],
        empty="" if fires else _why_none(app, job_file, jobs),
    )


def _merged(
    app: App, jobs: list[Job], after: datetime, *, still_to_come: bool
) -> Iterator[tuple[Job, Occurrence]]:
    """The occurrences of all jobs, the earliest first; of those at one time, in the order of the job file.

    `still_to_come`: none that is decided already, because the clock was ahead.
    """
    from pipesched.runs.ledger import Ledger
    from pipesched.schedule.model import Progress
    from pipesched.schedule.outlook import undecided_after, upcoming

    timed = [job.timed() for job in jobs]
    with Ledger.open(app.paths.ledger, create=False) as ledger:
        progress = ledger.progress(timed)
    nothing = Progress()
    heap = []
    for place, each in enumerate(timed):
        known = progress.get(each.id, nothing)
        fires = upcoming(each, known, undecided_after(each, known, after) if still_to_come else after)
        first = next(fires, None)
        if first is not None:
            heap.append((first.at, place, first, fires))
    heapq.heapify(heap)
    while heap:
        _, place, occurrence, fires = heap[0]
        yield jobs[place], occurrence
        following = next(fires, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.at, place, following, fires))


def _why_none(app: App, job_file: JobFile, jobs: list[Job]) -> str:
    from pipesched.cli.resolution import no_jobs

    if not jobs:
        return no_jobs(app, job_file)
    if all(not job.enabled for job in jobs):
        which = f"{jobs[0].id} is" if len(jobs) == 1 else "all jobs are"
        return f"nothing will fire: {which} paused; see pipesched resume --help"
    if all(job.timed().schedule.at_start for job in jobs):
        return "nothing will fire by the clock, but when the scheduler starts (@reboot)"
    if any(job.timed().policy.blackout is not None for job in jobs):
        return "nothing will fire any more outside of --not-during and the calendar"
    return "nothing will fire any more"


def explain(
    app: App,
    expression: Annotated[
        str, typer.Argument(metavar="EXPRESSION", help='Five fields, "0 2 * * 1-5", or a macro, @daily.')
    ],
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", metavar="ZONE", help="IANA zone [the machine's].", show_default=False),
    ] = None,
) -> None:
    """Say a cron expression in words, with its next fires.

    Example: pipesched explain "*/15 9-17 * * mon-fri" --timezone Europe/Berlin
    """
    from itertools import islice

    from pipesched.schedule.model import Policy, Progress, TimedJob
    from pipesched.schedule.outlook import upcoming
    from pipesched.schedule.parse import cron
    from pipesched.schedule.words import explain as in_words
    from pipesched.schedule.zones import load_zone

    zone = _default_zone(app) if timezone is None else timezone
    place = load_zone(zone)
    schedule = cron(expression, zone=zone, job_id="")
    explanation = in_words(expression)
    now = app.now()
    job = TimedJob("", schedule, Policy(), since=now)
    fires = [(fire, fire.at.astimezone(place)) for fire in islice(upcoming(job, Progress(), now), _EXPLAINED)]
    if app.json:
        app.out.document(
            {
                "expression": schedule.text,
                "timezone": zone,
                "words": explanation.words,
                "rule": explanation.rule,
                "fixed": explanation.fixed,
                "fires": [_fire(fire, local) for fire, local in fires],
            }
        )
        return
    out = app.out
    out.line(f"{schedule.text}  {explanation.words}")
    out.line(f"zone    {zone}")
    out.line(f"days    {explanation.rule}")
    if not schedule.at_start:
        out.line(f"clocks  {_FIXED if explanation.fixed else _WILDCARD}")
    if "(H" in explanation.words:
        out.line(
            "H       another value for each job, and always the same for one; below for a job without a name"
        )
    if fires:
        out.line()
        out.table(("next", "zone", "from now", "note"), [_row(fire, local, now) for fire, local in fires])


def _default_zone(app: App) -> str:
    """As for a job that is added now; what is wrong with a job file does not matter for an expression."""
    from pipesched.cli.resolution import default_zone
    from pipesched.errors import PipeschedError
    from pipesched.jobs.store import JobStore
    from pipesched.machine import machine_zone

    try:
        return default_zone(JobStore(app.paths.job_file).load(schedules=False))
    except PipeschedError as error:
        app.out.note(f"warning: {error.message}; taking the machine's time zone")
        return machine_zone()


def _fire(occurrence: Occurrence, local: datetime) -> dict[str, Any]:
    return {"at": local.isoformat(), "collapsed": occurrence.collapsed, "note": occurrence.note}


def _row(occurrence: Occurrence, local: datetime, now: datetime) -> tuple[str, str, str, str]:
    from pipesched.schedule.timetext import format_relative

    return (
        f"{local:%a} {local.isoformat(sep=' ')}",
        _zone_name(local.tzinfo),
        format_relative(occurrence.at, now),
        occurrence.note,
    )


def _zone_name(zone: tzinfo | None) -> str:
    return getattr(zone, "key", "") or "UTC"
