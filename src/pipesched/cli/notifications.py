"""`notify-test`: whether what a job is to tell reaches anybody."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipesched.cli.app import App

if TYPE_CHECKING:
    from pipesched.notify.delivery import Delivered


def notify_test(
    app: App,
    job_id: Annotated[
        str | None,
        typer.Argument(metavar="[JOB_ID]", help="To this job's --notify targets.", show_default=False),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="To this Apprise URL, or env:NAME; several may be given.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send a test message to a job's targets, or to a URL. What is secret in a URL is not shown.

    Other users of the machine can see a URL on a command line: put it into a variable, and say env:NAME.

    Exit: 0 all took it, 2 a target that is never told (link-local, metadata), 4 no such job, 69 a target did not take it,
    78 Apprise is not installed.

    Example: pipesched notify-test --url env:ALERTS
    """
    from pipesched.errors import ConfigurationError, ServiceUnavailable, UsageError
    from pipesched.jobs.masking import masked
    from pipesched.jobs.targets import check_targets
    from pipesched.notify.delivery import INSTALL, NOT_INSTALLED, Courier, hostname, is_installed, resolve
    from pipesched.notify.message import trial_message

    targets = _targets(app, job_id, url)
    if not targets:
        raise UsageError(f"job {job_id} notifies nobody", hint=f"pipesched edit {job_id} --notify env:NAME")
    check_targets([resolve(target, os.environ) for target in targets], environ=os.environ)
    if not is_installed():
        raise ConfigurationError(NOT_INSTALLED, hint=INSTALL)
    message = trial_message(hostname())
    answers = Courier(os.environ).send_all([(target, message) for target in targets])
    if job_id is not None:
        _note(app, answers)
    if app.json:
        app.out.document(
            {
                "targets": [
                    {"target": masked(each.target), "ok": each.ok, "message": each.reason} for each in answers
                ]
            }
        )
    else:
        for each in answers:
            app.out.line(f"{'ok    ' if each.ok else 'failed'}  {masked(each.target)}" + _why(each.reason))
    if not all(each.ok for each in answers):
        raise typer.Exit(ServiceUnavailable.exit_code)


def _note(app: App, answers: Sequence[Delivered]) -> None:
    """For `health`. Whether a variable is set is for the daemon to say, which has another environment."""
    from pipesched.notify.delivery import Courier
    from pipesched.runs.refusals import Refusal, Refusals

    refusals, courier = Refusals(app.paths.notified_dir), Courier(os.environ)
    found: list[tuple[str, Refusal | None]] = []
    for each in answers:
        known = refusals.of(each.target)
        if not courier.unusable(each.target) and not (known and known.unusable):
            found.append((each.target, Refusal(each.reason) if each.reason else None))
    refusals.note(found)


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _targets(app: App, job_id: str | None, url: list[str] | None) -> list[str]:
    from pipesched.errors import UsageError
    from pipesched.jobs.build import build_policy
    from pipesched.jobs.store import JobStore
    from pipesched.schedule.zones import load_zone

    if url:
        if job_id is not None:
            raise UsageError("a job and --url are given at once", hint="give one of them")
        return list(build_policy({"notify": url}, zone=load_zone("UTC"), now=app.now()).notify)
    if job_id is None:
        raise UsageError("neither a job nor --url is given", hint="pipesched notify-test JOB_ID")
    return list(JobStore(app.paths.job_file).load(schedules=False).job(job_id).policy.notify)
