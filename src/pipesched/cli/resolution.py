"""From flags, job, environment and the job file's defaults to the options of one run, and what the ledger knows of jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipesched.cli.app import App
    from pipesched.cli.options import PipelineFlags
    from pipesched.jobs.model import Job, JobFile
    from pipesched.options import PipelineConfig, PipelineOptions
    from pipesched.runs.ledger import Ledger


def run_options(app: App, job_id: str | None, flags: PipelineFlags) -> PipelineOptions:
    """The options for `job_id`, or for no job. Raises NotFound, DataError (a damaged job file), InvalidValue."""
    return job_and_options(app, job_id, flags)[1]


def job_and_options(app: App, job_id: str | None, flags: PipelineFlags) -> tuple[Job | None, PipelineOptions]:
    """As `run_options`, with the job itself."""
    from pipesched.options import PipelineConfig

    flags.config()  # what is wrong with them is said before what is wrong with the job file
    job, config, defaults = None, PipelineConfig(), PipelineConfig()
    if job_id is not None or os.path.lexists(app.paths.job_file):
        from pipesched.jobs.store import JobStore

        job_file = JobStore(app.paths.job_file).load(schedules=False)
        defaults = job_file.defaults.config
        if job_id is not None:
            job = job_file.job(job_id)
            config = job.config
    return job, resolved(app, flags, config, defaults)


def resolved(
    app: App, flags: PipelineFlags, job: PipelineConfig, defaults: PipelineConfig
) -> PipelineOptions:
    """What holds when the flags and the environment are put to what a job file says. Raises InvalidValue."""
    from pipesched.options import resolve

    return resolve(
        flags=flags.config(),
        job=job,
        environment=app.environment,
        defaults=defaults,
        home=app.paths.home,
        cwd=app.cwd,
    )


def handed_over(
    app: App, job_id: str | None, run_id: str | None, flags: PipelineFlags
) -> PipelineOptions | None:
    """The options of a run that a scheduler of ours started, as it handed them over; None for any other run."""
    from pipesched.options import taken_over
    from pipesched.settings import ENV_JOB_ID, ENV_RUN_ID, ENV_RUN_OPTIONS

    text = os.environ.get(ENV_RUN_OPTIONS)
    if (
        text is None
        or job_id is None
        or (os.environ.get(ENV_JOB_ID), os.environ.get(ENV_RUN_ID)) != (job_id, run_id)
    ):
        return None
    return resolved(app, flags, *taken_over(text))


def options_of_all(app: App) -> Iterator[PipelineOptions]:
    """The options of each job, and of no job; jobs whose options do not fit together are left out. Raises as `run_options`."""
    from pipesched.cli.options import PipelineFlags
    from pipesched.errors import InvalidValue
    from pipesched.jobs.store import JobStore
    from pipesched.options import PipelineConfig

    job_file = JobStore(app.paths.job_file).load(schedules=False)
    for config in [PipelineConfig(), *(job.config for job in job_file.jobs.values())]:
        with suppress(InvalidValue):
            yield resolved(app, PipelineFlags(), config, job_file.defaults.config)


def job_file_config(app: App, flags: PipelineFlags) -> PipelineConfig:
    """The flags as a job keeps them: paths from the job file's folder where they are below it, else absolute."""
    from pipesched.options import PATH_OPTIONS, PipelineConfig, for_job_file

    flags.config()  # first checked as they were given
    values = flags.given()
    for name in PATH_OPTIONS:
        if name in values:
            values[name] = for_job_file(values[name], home=app.paths.home, cwd=app.cwd)
    return PipelineConfig.checked(values)


def default_zone(job_file: JobFile) -> str:
    """Of a job that says none: the job file's default, else the machine's zone, else UTC."""
    from pipesched.machine import machine_zone

    return job_file.defaults.timezone or machine_zone()


def documents(app: App, job_file: JobFile, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """The JOB documents of `jobs`, with what the ledger knows of them. Raises what opening the ledger does."""
    if not app.paths.ledger.exists():
        return _documents(app, job_file, jobs, None)
    from pipesched.runs.ledger import Ledger

    with Ledger.open(app.paths.ledger, create=False) as ledger:
        return _documents(app, job_file, jobs, ledger)


def changed_documents(app: App, job_file: JobFile, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """As `documents`, of jobs that have been changed: that the ledger cannot be read is a warning then, not an error."""
    from pipesched.errors import PipeschedError

    try:
        return documents(app, job_file, jobs)
    except PipeschedError as error:
        app.out.note(f"warning: of these jobs' runs nothing can be said: {error.message}")
        return _documents(app, job_file, jobs, None)


def _documents(
    app: App, job_file: JobFile, jobs: Sequence[Job], ledger: Ledger | None
) -> list[dict[str, Any]]:
    from pipesched.views.jobs import job_documents

    return job_documents(
        {job.id: job for job in jobs},
        job_file=job_file,
        environment=app.environment,
        home=app.paths.home,
        ledger=ledger,
        now=app.now(),
    )


def no_jobs(app: App, job_file: JobFile) -> str:
    """What to do where there are no jobs; "" where there are, be it only some that cannot be used (see `note_problems`)."""
    if job_file.jobs or job_file.problems:
        return ""
    from pipesched.views.absence import is_gone
    from pipesched.views.checks import put_back

    path = str(app.paths.job_file)
    if not job_file.exists and is_gone(app.paths, app.now()):
        return f"the job file {path} is gone: {put_back(path)}"
    return "no jobs yet; see pipesched add-cron --help, or pipesched init"


def note_problems(app: App, job_file: JobFile) -> None:
    """What in the job file cannot be used, on stderr."""
    for problem in job_file.problems:
        hint = f" ({problem.hint})" if problem.hint else ""
        app.out.note(f"warning: {app.paths.job_file.name}: {problem.message}{hint}")
