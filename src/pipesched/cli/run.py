"""`run` and `rebuild`: one pipeline run in the foreground."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipesched.cli.app import App
from pipesched.cli.options import JobOption, PipelineFlags

if TYPE_CHECKING:
    from pipesched.cli.execution import Executed, Request
    from pipesched.jobs.model import Job
    from pipesched.options import PipelineOptions

SHOWN_DOCUMENTS: Final = 30
"""Of a run that has a report; a plan is shown whole."""

Wait = Annotated[
    str | None,
    typer.Option("--wait", metavar="DURATION", help="Wait this long for a busy store [not at all]."),
]

JobId = Annotated[str | None, typer.Argument(metavar="[JOB_ID]", help="Take this job's options.")]


def run(
    app: App,
    job_id: JobId = None,
    wait: Wait = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", metavar="ID", help="Given by a scheduler.")
    ] = None,
    scheduled_for: Annotated[
        str | None, typer.Option("--scheduled-for", metavar="TIME", help="The fire that this run stands for.")
    ] = None,
    attempt: Annotated[
        int, typer.Option("--attempt", metavar="N", help="Which attempt, from 1.", show_default=False)
    ] = 1,
    *,
    pipeline: PipelineFlags,
) -> None:
    """Run the pipeline once, now: bring the collection in step with the folder.

    Exit: 0 done, 1 failed, 2 unusable value or missing data folder, 3 partial (some documents failed, or deletes were
    withheld), 69 embedder or store unavailable, 75 another run is writing to this store.

    Example: pipesched run --data-dir content/posts --blog-base-url https://blog.example
    """
    from pipesched.cli import logs
    from pipesched.cli.execution import Request, parse_scheduled_for
    from pipesched.cli.resolution import handed_over, job_and_options

    _forget_summary(app, pipeline)
    if run_id:
        logs.about(job_id=job_id, run_id=_checked_run_id(run_id))
    job = None
    options = handed_over(app, job_id, run_id, pipeline)
    if options is None:
        job, options = job_and_options(app, job_id, pipeline)
    request = Request(
        run_id=run_id or _new_run_id(app, job_id),
        job_id=job_id,
        scheduled_for=parse_scheduled_for(scheduled_for, app.now()),
        claimed=run_id is not None,
        attempt=attempt,
    )
    _run(app, request, options, wait, job)


def rebuild(
    app: App,
    job: JobOption = None,
    wait: Wait = None,
    *,
    pipeline: PipelineFlags,
) -> None:
    """Build a new generation beside the live collection, through the embedding cache, and swap it in when it is checked.

    Example: pipesched rebuild --job nightly
    """
    from pipesched.cli.execution import Request
    from pipesched.cli.resolution import job_and_options

    _forget_summary(app, pipeline)
    found, options = job_and_options(app, job, pipeline)
    request = Request(
        run_id=_new_run_id(app, job), job_id=job, scheduled_for=None, claimed=False, rebuild=True
    )
    _run(app, request, options, wait, found)


def _run(app: App, request: Request, options: PipelineOptions, wait: str | None, job: Job | None) -> None:
    """`job`: None too where the daemon tells what is to be told of it."""
    from pipesched.cli import logs
    from pipesched.cli.execution import execute, kept_by_scheduler
    from pipesched.cli.progress import progress_for

    logs.about(job_id=request.job_id, run_id=request.run_id)
    if options.ci_mode:
        logs.at_least_info(app.log_level)
    wait_seconds = 0.0
    if wait is not None:
        from pipesched.schedule.timetext import parse_duration

        wait_seconds = float(parse_duration(wait))
    progress = progress_for(app, options)
    if job is None or not (job.policy.ping or job.policy.notify) or kept_by_scheduler(app, request):
        done = execute(app, request, options, wait_seconds=wait_seconds, progress=progress)
        _print(app, request, done)
    else:
        from pipesched.cli.telling import Telling

        with Telling(app, job, request, options) as telling:
            done = execute(app, request, options, wait_seconds=wait_seconds, progress=progress)
            telling.ended(done)
            _print(app, request, done)  # whoever waits for it need not wait for whom it is told to
    if options.ci_mode:
        from pipesched.cli import github

        github.tell(app, done, Path(options.data_dir))
    if done.report.exit_code:
        raise typer.Exit(done.report.exit_code)


def _print(app: App, request: Request, done: Executed) -> None:
    if app.json:
        error = {"error": done.error.as_dict()} if done.error else {}
        app.out.document({**done.report.as_json(), **error})
    elif app.log_format == "json" and request.claimed:
        log_run(app, done)  # the scheduler keeps it as the run's log, of which each line is JSON
    else:
        print_run(app, done)
    sys.stdout.flush()


def log_run(app: App, done: Executed) -> None:
    """The run in log lines: how it ended, each error, what to do; the rest is in its report."""
    report, out = done.report, app.out
    outcome = report.outcome
    out.note(f"{outcome.status} in {report.duration_seconds:.1f} s: {outcome.message}")
    out.note(f"mode {outcome.mode}: {outcome.mode_reason}")
    for error in outcome.errors:
        out.note(f"error: {error.source}: {error.message}" if error.source else f"error: {error.message}")
    if done.error is not None and done.error.hint:
        out.note(f"hint: {done.error.hint}")
    if done.report_file:
        out.note(f"report {done.report_file}")


def print_run(app: App, done: Executed) -> None:
    """The run for people: what it did and why, its changes, its errors with what to do."""
    report = done.report
    outcome = report.outcome
    stats = outcome.stats
    out = app.out
    word = f"dry run: {outcome.status}" if report.dry_run else outcome.status
    out.line(f"{word} in {report.duration_seconds:.1f} s: {outcome.message}")
    out.line(f"mode       {outcome.mode}: {outcome.mode_reason}")
    out.line(
        f"documents  {stats.total_documents}: {stats.new_documents} new, {stats.modified_documents} modified,"
        f" {stats.renamed_documents} renamed, {stats.unchanged_documents} unchanged, {stats.failed_documents} failed;"
        f" {stats.deleted_sources} deleted, {stats.skipped_documents} skipped"
    )
    verb = "to embed" if report.dry_run else "embedded"
    out.line(
        f"chunks     {stats.total_chunks}: {stats.chunks_added} added, {stats.chunks_updated} updated,"
        f" {stats.chunks_deleted} deleted; {stats.chunks_embedded} {verb}, {stats.chunks_from_cache} from the cache"
    )
    shown = outcome.documents if report.dry_run else outcome.documents[:SHOWN_DOCUMENTS]
    if shown:
        out.table(
            ("change", "document", "chunks", "reason"),
            [(change.change, change.source, str(change.chunks), change.reason) for change in shown],
        )
    if len(shown) < len(outcome.documents):
        out.line(
            f"... and {len(outcome.documents) - len(shown)} more; all of them: pipesched report {report.run_id}"
        )
    for error in outcome.errors:
        if error.source:
            out.note(f"error: {error.source}: {error.message}")
    if done.error:
        out.note(f"error: {done.error.message}")
        if done.error.hint:
            out.note(f"hint: {done.error.hint}")
    if done.report_file:
        out.line(f"report     {done.report_file}")


def _forget_summary(app: App, pipeline: PipelineFlags) -> None:
    """In CI mode a run that is refused leaves no summary, not that of the run before."""
    if pipeline.ci_mode or (pipeline.ci_mode is None and app.environment.ci_mode):
        from pipesched.runs.reports import remove_ci_summary

        remove_ci_summary(app.paths.output_dir)


def _new_run_id(app: App, job_id: str | None) -> str:
    from pipesched.runs.ledger import new_run_id

    return new_run_id(job_id, app.now())


def _checked_run_id(run_id: str) -> str:
    from pipesched.runs.ids import check_run_id

    return check_run_id(run_id)
