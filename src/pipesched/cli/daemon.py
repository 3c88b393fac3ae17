"""`daemon`: the scheduler, in the foreground."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipesched.cli.app import App
from pipesched.errors import InvalidValue
from pipesched.settings import DRAIN_TIMEOUT_SECONDS, ENV_HTTP_TOKEN, HTTP_ADDRESS, MAX_WORKERS

if TYPE_CHECKING:
    from pipesched.daemon.source import DaemonSource
    from pipesched.http.server import StatusServer
    from pipesched.http.tls import Certificate
    from pipesched.notify.service import Notifications


def daemon(
    app: App,
    http: Annotated[
        str,
        typer.Option(
            "--http", metavar="HOST:PORT", help="Where the status endpoint listens; port 0 picks one."
        ),
    ] = HTTP_ADDRESS,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert",
            metavar="FILE",
            help="The endpoint's certificate and chain, PEM.",
            show_default=False,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            "--tls-key", metavar="FILE", help="Its private key, PEM.", show_default=False, readable=False
        ),
    ] = None,
    no_http: Annotated[bool, typer.Option("--no-http", help="No status endpoint.")] = False,
    max_workers: Annotated[
        int, typer.Option("--max-workers", metavar="N", help="Runs at one time.")
    ] = MAX_WORKERS,
    drain_timeout: Annotated[
        str,
        typer.Option("--drain-timeout", metavar="DURATION", help="How long runs may go on after SIGTERM."),
    ] = f"{DRAIN_TIMEOUT_SECONDS:.0f}s",
    once: Annotated[bool, typer.Option("--once", help="Fire what is due, wait for it, exit.")] = False,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another daemon runs, then take over.")
    ] = False,
) -> None:
    """Run the scheduler in the foreground: fire what is due, follow the job file, serve the status endpoint.

    SIGTERM and SIGINT start nothing more and give runs --drain-timeout to end; a second one ends them at once. SIGHUP reads
    the job file and the certificate again. Exit: 0 ended by a signal, all runs over; with --once 1 when a run failed; 65 a
    damaged job file or certificate, 75 another daemon runs on this state folder, 78 no job file.

    Example: pipesched daemon --http 127.0.0.1:8765 --max-workers 2
    """
    from pipesched.cli.logs import at_least_info
    from pipesched.daemon.launch import base_command, pipesched_command
    from pipesched.daemon.loglines import PatientLogging
    from pipesched.daemon.service import Options, serve
    from pipesched.schedule.timetext import parse_duration

    if max_workers < 1:
        raise InvalidValue(f"--max-workers: {max_workers} is not 1 or more", hint="use 1 or more")
    certificate = _certificate(tls_cert, tls_key)
    options = Options(
        max_workers=max_workers,
        drain_seconds=parse_duration(drain_timeout, allow_zero=True),
        once=once,
        standby=standby,
    )
    at_least_info(app.log_level)

    def endpoint(source: DaemonSource) -> StatusServer:
        from pipesched.http.server import StatusServer
        from pipesched.pipeline import embedders

        token = os.environ.get(ENV_HTTP_TOKEN) or None
        return StatusServer(http, token=token, source=source, reach=embedders.look, certificate=certificate)

    def observer(source: DaemonSource) -> Notifications:
        from pipesched.notify.service import Notifications

        return Notifications(source, os.environ)

    with PatientLogging(logging.getLogger("pipesched")) as lines:
        status = serve(
            app.paths,
            options,
            environ=os.environ,
            command=pipesched_command(app.paths, log_level=app.log_level, log_format=app.log_format),
            endpoint=None if no_http else endpoint,
            observer=observer,
            prune=[*base_command(app.paths, log_level=app.log_level, log_format=app.log_format), "prune"],
        )
    if lines.stuck:
        os._exit(status)
    if app.json:
        app.out.document({"exit_status": status})
    if status:
        raise typer.Exit(status)


def _certificate(cert: Path | None, key: Path | None) -> Certificate | None:
    """Raises InvalidValue where one of the two is missing, else as Certificate."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise InvalidValue("--tls-cert and --tls-key go together", hint="give both, or neither")
    from pipesched.http.tls import Certificate

    return Certificate(cert, key)
