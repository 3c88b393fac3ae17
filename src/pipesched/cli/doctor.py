"""`doctor`: what this machine has wrong, and the command that mends it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from pipesched.cli.app import App
from pipesched.cli.options import JobOption, PipelineFlags

if TYPE_CHECKING:
    from pipesched.doctor.patient import Patient
    from pipesched.errors import PipeschedError
    from pipesched.options import PipelineOptions


def doctor(
    app: App,
    job: JobOption = None,
    *,
    pipeline: PipelineFlags,
) -> None:
    """Check Python, packages, files, folders, disks, clock, zones, model, store, service and port; write nothing.

    Without --job and other options: what the enabled jobs use, each set of folder, store, collection and model once.

    Exit: 0 where nothing fails, 1 where something does, 4 no such job.

    Example: pipesched doctor --job nightly
    """
    from pipesched.doctor.examine import examine

    found = examine(_patient(app, job, pipeline))
    if app.json:
        app.out.document(found.as_json())
    else:
        app.out.checks("doctor", found.status, found.checks)
    if found.status == "fail":
        raise typer.Exit(1)


def _patient(app: App, job_id: str | None, flags: PipelineFlags) -> Patient:
    """A job file that cannot be used is a finding: the options are those of no job then. Raises NotFound, InvalidValue."""
    from pipesched.cli.resolution import resolved
    from pipesched.doctor.patient import Patient
    from pipesched.errors import DataError, InputOutputError, InvalidValue, NotPermitted
    from pipesched.jobs.model import JobFile
    from pipesched.jobs.store import JobStore
    from pipesched.options import PipelineConfig

    job_file, error = JobFile(), None
    try:
        job_file = JobStore(app.paths.job_file).load()
    except (DataError, InputOutputError, NotPermitted) as caught:
        error = caught
    defaults = job_file.defaults.config
    config = PipelineConfig()
    if job_id is not None and error is None:
        config = job_file.job(job_id).config
    jobs: dict[str, PipelineOptions] = {}
    unresolved: dict[str, PipeschedError] = {}
    if job_id is None and not flags.given():
        for job in job_file.jobs.values():
            if job.enabled:
                try:
                    jobs[job.id] = resolved(app, flags, job.config, defaults)
                except InvalidValue as bad:
                    unresolved[job.id] = bad
    return Patient(
        paths=app.paths,
        now=app.now(),
        environ=os.environ,
        job_file=job_file,
        job_file_error=error,
        options=resolved(app, flags, config, defaults),
        jobs=jobs,
        unresolved=unresolved,
    )
