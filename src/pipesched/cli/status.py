"""`status` and `health`: the scheduler and its jobs at a glance, and whether all is well."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from pipesched.cli.app import App

if TYPE_CHECKING:
    from pipesched.views.health import Health
    from pipesched.views.snapshot import Snapshot


def status(
    app: App,
    watch: Annotated[
        bool, typer.Option("--watch", help="Redraw every two seconds; q or Ctrl-C ends.")
    ] = False,
) -> None:
    """Show the scheduler, its counters, what runs, what is next, and how fresh each job is.

    Exit: 65 where the job file is damaged; what the scheduler does and what the ledger knows is shown all the same.

    Example: pipesched status --watch
    """
    if watch:
        from pipesched.cli.watch import watch as run_watch

        run_watch(app, looker(app))
        return
    from pipesched.views.status import status_document

    snapshot = looker(app)()
    error = snapshot.job_file_error
    if app.json:
        app.out.document(status_document(snapshot) | ({} if error is None else {"error": error.as_dict()}))
    else:
        _show(app, snapshot)
    if error is not None:
        raise error


def _show(app: App, snapshot: Snapshot) -> None:
    from pipesched.runs.ledger import Ledger
    from pipesched.views.glance import COLUMNS, LEDGER_COLUMNS, job_rows, ledger_rows, lines

    for line in lines(snapshot):
        app.out.line(line)
    app.out.line()
    full = not app.out.terminal
    if snapshot.job_file_error is not None or snapshot.gone:
        with Ledger.open(app.paths.ledger, create=False) as ledger:
            shown, cut = ledger_rows(ledger.summaries(), snapshot.now, full=full)
        app.out.table(LEDGER_COLUMNS, shown)
    else:
        shown, cut = job_rows(snapshot, full=full)
        app.out.table(COLUMNS, shown, empty="there are no jobs yet: pipesched init")
    if cut:
        app.out.note(f"{cut} more jobs: pipesched list")


def looker(app: App) -> Callable[[], Snapshot]:
    """Takes a snapshot each time it is called; what has not changed since the last one is not read again.

    While the job file cannot be used, it is of the last good jobs, none at first. Called, it raises DataError (a damaged ledger).
    """
    from pipesched.errors import PipeschedError
    from pipesched.jobs.model import JobFile
    from pipesched.jobs.store import JobStore
    from pipesched.runs.ledger import Ledger
    from pipesched.views.scheduler import read_facts
    from pipesched.views.snapshot import Memory, take

    store, memory = JobStore(app.paths.job_file), Memory()
    known = JobFile()

    def look() -> Snapshot:
        nonlocal known
        now, error = app.now(), None
        if known.stamp is None or known.stamp != store.stamp():
            try:
                known = store.load()
            except PipeschedError as caught:
                error = caught
        with Ledger.open(app.paths.ledger, create=False) as ledger:
            return take(
                now=now,
                paths=app.paths,
                job_file=known,
                job_file_error=error,
                facts=read_facts(app.paths, now),
                ledger=ledger,
                memory=memory,
                environment=app.environment,
            )

    return look


def health(
    app: App,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="Ask a running endpoint instead, with PIPESCHED_HTTP_TOKEN."
        ),
    ] = None,
    no_scheduler: Annotated[
        bool, typer.Option("--no-scheduler", help="Something else starts the runs: no daemon is no fault.")
    ] = False,
) -> None:
    """Say whether all is well, check by check; exit 0 on pass and warn, 1 on fail.

    Example: pipesched health --url http://127.0.0.1:8765
    """
    found = asked(url) if url is not None else judged(app, no_scheduler=no_scheduler)
    if app.json:
        app.out.document(found.as_json())
    else:
        app.out.checks("health", found.status, found.checks)
    if found.status == "fail":
        raise typer.Exit(1)


def asked(url: str) -> Health:
    import os

    from pipesched.http.client import ask_health
    from pipesched.settings import ENV_HTTP_TOKEN

    return ask_health(url, token=os.environ.get(ENV_HTTP_TOKEN))


def judged(app: App, *, no_scheduler: bool) -> Health:
    """From the job file, the ledger and the disks; a file that cannot be used is a failed check, not an error."""
    from pipesched.errors import PipeschedError
    from pipesched.jobs.model import JobFile
    from pipesched.jobs.store import JobStore
    from pipesched.pipeline import embedders
    from pipesched.runs.ledger import Ledger
    from pipesched.views.health import Check, Health
    from pipesched.views.health import health as judge
    from pipesched.views.scheduler import read_facts
    from pipesched.views.snapshot import take
    from pipesched.views.vitals import health_facts

    now = app.now()
    job_file, error = JobFile(), None
    try:
        job_file = JobStore(app.paths.job_file).load()
    except PipeschedError as caught:
        error = caught
    try:
        with Ledger.open(app.paths.ledger, create=False) as ledger:
            snapshot = take(
                now=now,
                paths=app.paths,
                job_file=job_file,
                job_file_error=error,
                facts=read_facts(app.paths, now),
                ledger=ledger,
                environment=app.environment,
            )
            facts = health_facts(
                snapshot,
                ledger=ledger,
                environment=app.environment,
                no_scheduler=no_scheduler,
                reach=embedders.look,
            )
            return judge(facts)
    except PipeschedError as caught:
        checks = {"ledger": Check("fail", caught.message, caught.hint)}
        if error is not None:
            checks["job_file"] = Check("fail", error.message, error.hint)
        return Health(checks)
