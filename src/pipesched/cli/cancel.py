"""`cancel`: end a run."""

from __future__ import annotations

from typing import Annotated

import typer

from pipesched.cli.app import App


def cancel(app: App, run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="See history.")]) -> None:
    """End a running run: SIGTERM, then SIGKILL, to its process group; it is recorded as interrupted.

    A run that only waits is not started any more. Exit: 0 ended, 2 it had ended already, 4 no such run.

    Example: pipesched cancel 20261124T020000.123Z-nightly-9f2c41d0
    """
    from pipesched.daemon.cancel import cancel as end

    run = end(run_id, app.paths)
    if app.json:
        app.out.document({"run": run.as_json()})
    else:
        app.out.line(f"run {run.run_id} is {run.status}" + (f": {run.reason}" if run.reason else ""))
