"""`edit`, `remove`, `pause`, `resume`: change the jobs that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipesched.cli.app import App
from pipesched.cli.options import JobFlags, PipelineFlags
from pipesched.cli.triggers import CronFlags, IntervalFlags, OnceFlags, trigger_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pipesched.jobs.model import Job

JobIds = Annotated[
    list[str], typer.Argument(metavar="JOB_ID...", help="Which jobs; all or none.", show_default=False)
]


def edit(
    app: App,
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID", help="Which job.", show_default=False)],
    expression: Annotated[
        str | None,
        typer.Argument(metavar="[EXPRESSION]", help="A new cron expression.", show_default=False),
    ] = None,
    cron_expression: Annotated[
        str | None,
        typer.Option(
            "--expression",
            "--cron",
            metavar="EXPRESSION",
            help="The same, as an option.",
            rich_help_panel="Schedule",
            show_default=False,
        ),
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(
            "--unset",
            metavar="OPTION",
            help="Take this setting away, such as timeout or data-dir; several may be given.",
            show_default=False,
        ),
    ] = None,
    with_sharers: Annotated[
        bool,
        typer.Option(
            "--with-sharers",
            help="Change the folder, model, chunking and collection of all jobs that share this one's collection, too.",
        ),
    ] = False,
    *,
    cron: CronFlags,
    interval: IntervalFlags,
    once: OnceFlags,
    job: JobFlags,
    pipeline: PipelineFlags,
) -> None:
    """Change a job in place: its schedule (also to another type), its options, its policy. Lists replace the old list.

    A change that cannot be made leaves the job as it was. A new schedule counts from now on: nothing of it is caught up.
    Jobs that share a collection must agree on what is in it: --with-sharers changes them all, or none.

    Example: pipesched edit nightly --hour 3 --unset timeout --tag blog --tag nightly
    """
    from pipesched.cli.add import job_zone, sharing_check
    from pipesched.cli.listing import print_schedule
    from pipesched.cli.resolution import changed_documents, default_zone, job_file_config
    from pipesched.errors import InvalidValue, UsageError
    from pipesched.jobs.build import Edit, edited, unset_names
    from pipesched.jobs.sharing import COLLECTION_OPTIONS, sharers
    from pipesched.jobs.store import JobStore
    from pipesched.options import PIPELINE_OPTIONS

    if expression is not None and cron_expression is not None:
        raise InvalidValue("the expression is given twice", hint="give it once")
    given = job.given()
    names = unset_names(unset or (), given={*given, *pipeline.given()})
    change = Edit(
        given=given,
        config=job_file_config(app, pipeline),
        trigger=trigger_options(
            cron, interval, once, expression=expression if expression is not None else cron_expression
        ),
        unset=names,
    )
    if change.empty:
        raise UsageError("nothing to change was given", hint="see pipesched edit --help for the options")
    shared = change.only(COLLECTION_OPTIONS)
    if with_sharers and shared.empty:
        raise UsageError(
            "--with-sharers goes with an option of the collection",
            hint="such as --data-dir, --embedding-model, --chunk-size or --collection-name",
        )
    store = JobStore(app.paths.job_file)
    now = app.this_second()
    job_file = store.load(schedules=False)
    others = (
        sharers(job_file, job_id, environment=app.environment, home=app.paths.home) if with_sharers else []
    )
    if "timezone" in given:
        job_zone(given["timezone"], job_file)
    zone = default_zone(job_file)
    before: list[Job] = []

    def apply(old: Job) -> Job:
        if old.id != job_id:
            return edited(old, shared, default_zone=zone, now=now)
        before.append(old)
        return edited(old, change, default_zone=zone, now=now)

    touches_index = pipeline.given() or any(name in PIPELINE_OPTIONS for name in names)
    changed, *changed_too = store.edit_all(
        [job_id, *others], apply, check=sharing_check(app) if touches_index else None
    )
    if changed.since != before[0].since:
        record_done_gap(app, before, now, resumed=changed.enabled and not before[0].enabled)
    row, *rows_too = changed_documents(
        app, job_file.with_jobs([changed, *changed_too]), [changed, *changed_too]
    )
    if app.json:
        app.out.document({"job": row} | ({"sharers": rows_too} if with_sharers else {}))
        return
    app.out.line(f"changed {job_id}")
    print_schedule(app, row)
    for other in others:
        app.out.line(f"changed {other}, which shares the collection")


def remove(
    app: App,
    job_ids: JobIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove jobs. Their history, reports and index stay.

    Example: pipesched remove old_job --yes
    """
    from pipesched.errors import UsageError
    from pipesched.jobs.store import JobStore

    store = JobStore(app.paths.job_file)
    wanted = list(dict.fromkeys(job_ids))
    if not yes:
        store.check_removal(wanted)
        if not app.interactive or app.json:
            raise UsageError(
                f"removing {', '.join(wanted)} has to be confirmed, and there is nobody to ask",
                hint="add --yes",
            )
        if not typer.confirm(f"Remove {', '.join(wanted)}?", err=True):
            app.out.note("nothing was removed")
            raise typer.Exit(1)
    now = app.this_second()
    jobs = store.load(schedules=False).jobs
    store.remove(wanted)
    record_done_gap(app, [jobs[job_id] for job_id in wanted if job_id in jobs], now, gone=True)
    if app.json:
        app.out.document({"removed": wanted})
    for job_id in wanted:
        app.out.line(f"removed {job_id}")


def pause(app: App, job_ids: JobIds) -> None:
    """Stop jobs from firing, until they are resumed; a run that runs goes on, and `run JOB_ID` works.

    Their slots are recorded as skipped and are never caught up.

    Example: pipesched pause nightly weekly
    """
    from pipesched.jobs.build import paused_job
    from pipesched.jobs.documents import usable
    from pipesched.jobs.store import JobStore

    now = app.this_second()
    changed = JobStore(app.paths.job_file).edit_all(job_ids, lambda job: paused_job(usable(job), now))
    _tell(app, changed, "paused")


def resume(app: App, job_ids: JobIds) -> None:
    """Let paused jobs fire again from now on; also those that paused themselves after failures, whose count starts anew.

    Example: pipesched resume nightly
    """
    from pipesched.jobs.build import resumed_job
    from pipesched.jobs.documents import usable
    from pipesched.jobs.store import JobStore

    now = app.this_second()
    paused: list[Job] = []

    def apply(job: Job) -> Job:
        paused.append(usable(job))
        return resumed_job(job, now)

    changed = JobStore(app.paths.job_file).edit_all(job_ids, apply)
    record_gap(app, paused, now, resumed=True)
    _tell(app, changed, "resumed")


def record_done_gap(
    app: App, before: Sequence[Job], now: datetime, *, resumed: bool = False, gone: bool = False
) -> None:
    """As `record_gap`, where what was asked for is done: a ledger that cannot be written is a warning."""
    from pipesched.errors import PipeschedError

    try:
        record_gap(app, before, now, resumed=resumed, gone=gone)
    except PipeschedError as error:
        app.out.note(f"warning: the history says nothing of the slots left behind: {error.message}")


def record_gap(
    app: App, before: Sequence[Job], now: datetime, *, resumed: bool = False, gone: bool = False
) -> None:
    """The slots up to `now` of jobs that count anew from there, or are gone, as far as no daemon has recorded them.

    `resumed`: they were paused, and their failures are forgotten.
    """
    if not app.paths.ledger.exists():
        return
    from pipesched.errors import InvalidValue
    from pipesched.files import KernelLock
    from pipesched.runs.ledger import Ledger
    from pipesched.schedule.tick import CHANGED, REMOVED
    from pipesched.schedule.unrecorded import DECIDED, unrecorded_slots

    if not resumed and KernelLock(app.paths.daemon_lock).is_held():
        now -= DECIDED  # it decides about what is due within a second, but for what waits for another job
    why = REMOVED if gone else CHANGED
    with Ledger.open(app.paths.ledger, create=True) as ledger:
        for job in before:
            try:
                timed = job.timed()
            except InvalidValue:
                continue  # a schedule that could not be used had no slots
            for skip in unrecorded_slots(timed, ledger.progress([timed])[job.id], now, why=why):
                ledger.record_slots(skip, now)
            if resumed:
                ledger.reset_failures(job.id)


def _tell(app: App, changed: Sequence[Job], word: str) -> None:
    from pipesched.cli.listing import next_run
    from pipesched.cli.resolution import changed_documents
    from pipesched.jobs.store import JobStore

    rows = changed_documents(app, JobStore(app.paths.job_file).load(schedules=False), changed)
    if app.json:
        app.out.document({"jobs": rows})
        return
    for row in rows:
        following = "" if word == "paused" else f", next run {next_run(row, app.now())}"
        app.out.line(f"{word} {row['id']}{following}")
