"""`init`: a job file to start from."""

from __future__ import annotations

from typing import Annotated

import typer

from pipesched.cli.app import App
from pipesched.cli.options import PipelineFlags


def init(
    app: App,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a job file; the old one is kept as NAME.bak.")
    ] = False,
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", metavar="ZONE", help="IANA zone [the machine's].", show_default=False),
    ] = None,
    *,
    pipeline: PipelineFlags,
) -> None:
    """Write schedules.json with three jobs: nightly incremental, weekly from nothing, hourly a dry run.

    Options become the file's defaults, which hold for every job that does not say otherwise. Exit: 73 where there is a
    file already, or it is gone under a running scheduler.

    Example: pipesched init --timezone Europe/Berlin --data-dir content/posts
    """
    from pipesched.cli.add import job_zone
    from pipesched.cli.listing import next_run
    from pipesched.cli.resolution import changed_documents, job_file_config
    from pipesched.jobs.builtin import default_jobs
    from pipesched.jobs.model import Defaults, JobFile
    from pipesched.jobs.store import JobStore

    now = app.this_second()
    if not force:
        _refuse_where_one_is_gone(app)
    jobs = default_jobs(zone=job_zone(timezone, JobFile()), now=now)
    store = JobStore(app.paths.job_file)
    defaults = Defaults(timezone=timezone, config=job_file_config(app, pipeline))
    backup = store.create(jobs, defaults=defaults, replace_existing=force)
    rows = changed_documents(app, store.load(), jobs)
    if app.json:
        app.out.document(
            {
                "job_file": str(app.paths.job_file),
                "backup": None if backup is None else str(backup),
                "jobs": rows,
            }
        )
        return
    app.out.line(f"wrote {app.paths.job_file}" + (f"; the old one is {backup}" if backup else ""))
    app.out.table(
        ("job", "schedule", "zone", "next run"),
        [(row["id"], row["trigger_text"], row["timezone"], next_run(row, app.now())) for row in rows],
    )
    app.out.line(
        f"they index {rows[0]['effective_config']['data_dir']}; start the scheduler with: pipesched daemon"
    )


def _refuse_where_one_is_gone(app: App) -> None:
    """A scheduler would take the three new jobs for those that it had. Raises CannotCreate."""
    from pipesched.errors import CannotCreate
    from pipesched.views.scheduler import read_facts

    path = app.paths.job_file
    if not path.exists() and read_facts(app.paths, app.now()).running:
        raise CannotCreate(
            f"the job file {path} is gone, and a scheduler runs with the jobs that it held",
            hint=f"put it back (an older one may be beside it as {path.name}.bak), or begin anew with init --force",
        )
