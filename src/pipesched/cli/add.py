"""`add-cron`, `add-interval`, `add-once`, `add-preset`: new jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipesched.cli.app import App
from pipesched.cli.options import JobFlags, PipelineFlags
from pipesched.cli.triggers import CronFlags, IntervalFlags, OnceFlags, trigger_options

if TYPE_CHECKING:
    from pipesched.jobs.model import Job, JobFile
    from pipesched.jobs.store import Check
    from pipesched.jobs.triggers import TriggerOptions

JobId = Annotated[
    str,
    typer.Argument(metavar="JOB_ID", help="Letters, digits, dots, dashes, underscores.", show_default=False),
]


def add_cron(
    app: App,
    job_id: JobId,
    expression: Annotated[
        str | None,
        typer.Argument(metavar="[EXPRESSION]", help='Such as "0 2 * * 1-5" or @daily.', show_default=False),
    ] = None,
    *,
    cron: CronFlags,
    job: JobFlags,
    pipeline: PipelineFlags,
) -> None:
    """Add a job that runs by a cron expression, or by --hour, --minute and --day-of-week.

    Exit: 2 for an expression that cannot be used or never fires, for an id that exists, and for a job that disagrees with
    another one about their collection; the job file stays as it was.

    Example: pipesched add-cron nightly "0 2 * * *" --timezone Europe/Berlin --data-dir content/posts
    """
    _add_one(app, job_id, trigger_options(cron, expression=expression), job, pipeline)


def add_interval(
    app: App, job_id: JobId, *, interval: IntervalFlags, job: JobFlags, pipeline: PipelineFlags
) -> None:
    """Add a job that runs at a fixed interval, on a grid of elapsed time that restarts do not move.

    Example: pipesched add-interval often --every 90m --anchor "2027-01-01 00:15"
    """
    _add_one(app, job_id, trigger_options(interval), job, pipeline)


def add_once(app: App, job_id: JobId, *, once: OnceFlags, job: JobFlags, pipeline: PipelineFlags) -> None:
    """Add a job that runs once, at a given time in its zone.

    Example: pipesched add-once launch --at "2027-01-31 09:00" --timezone Europe/Riga
    """
    _add_one(app, job_id, trigger_options(once), job, pipeline)


def add_preset(
    app: App,
    preset: Annotated[
        str, typer.Argument(metavar="PRESET", help="See pipesched presets.", show_default=False)
    ],
    job_id: Annotated[
        str | None,
        typer.Argument(metavar="[JOB_ID]", help="The new job's id [the preset's name].", show_default=False),
    ] = None,
    *,
    job: JobFlags,
    pipeline: PipelineFlags,
) -> None:
    """Add the jobs of a preset; options go over the preset's own.

    Example: pipesched add-preset daily_2am nightly --data-dir content/posts
    """
    from pipesched.cli.resolution import job_file_config
    from pipesched.jobs.presets import load_presets

    found = load_presets(app.paths.project_presets).get(preset)
    config = job_file_config(app, pipeline)
    given = job.given()
    now = app.this_second()

    def build(job_file: JobFile) -> list[Job]:
        zone = job_zone(given.get("timezone", found.timezone), job_file)
        calendar = job_file.defaults.calendar
        return found.build(job_id or found.name, given, config, zone=zone, now=now, calendar=calendar)

    documents = _add(app, build)
    if app.json:
        app.out.document({"jobs": documents})


def _add_one(
    app: App, job_id: str, trigger: TriggerOptions, flags: JobFlags, pipeline: PipelineFlags
) -> None:
    from pipesched.cli.resolution import job_file_config
    from pipesched.jobs.build import build_job, checked_id
    from pipesched.jobs.triggers import build_trigger

    given = flags.given()
    config = job_file_config(app, pipeline)
    now = app.this_second()
    checked_id(job_id)

    def build(job_file: JobFile) -> list[Job]:
        zone = job_zone(given.get("timezone"), job_file)
        built = build_trigger(trigger, job_id=job_id, zone=zone, now=now)
        calendar = job_file.defaults.calendar
        return [build_job(job_id, built, given, config, zone=zone, now=now, calendar=calendar)]

    documents = _add(app, build)
    if app.json:
        app.out.document({"job": documents[0]})


def _add(app: App, build: Callable[[JobFile], Sequence[Job]]) -> list[dict[str, object]]:
    """Add what `build` makes, print it for people, and return its JOB documents."""
    from pipesched.cli.listing import print_schedule
    from pipesched.cli.resolution import changed_documents
    from pipesched.jobs.store import JobStore

    store = JobStore(app.paths.job_file)
    jobs = build(store.load(schedules=False))
    after = store.add(jobs, app.this_second(), check=sharing_check(app))
    rows = changed_documents(app, after, [after.job(job.id) for job in jobs])
    for row in rows:
        app.out.line(f"added {row['id']} to {app.paths.job_file}")
        print_schedule(app, row)
    return rows


def job_zone(given: str | None, job_file: JobFile) -> str:
    """The zone of a new job. Raises InvalidValue, with the nearest name."""
    from pipesched.cli.resolution import default_zone
    from pipesched.errors import InvalidValue
    from pipesched.schedule.zones import load_zone

    zone = given if given is not None else default_zone(job_file)
    try:
        load_zone(zone)
    except InvalidValue as error:
        raise InvalidValue(f"--timezone: {error.message}", hint=error.hint) from error
    return zone


def sharing_check(app: App) -> Check:
    """Refuses jobs that disagree about the collection they share."""
    from pipesched.jobs.sharing import check_sharing

    def check(job_file: JobFile, changed: Sequence[str]) -> None:
        check_sharing(job_file, changed, environment=app.environment, home=app.paths.home)

    return check
