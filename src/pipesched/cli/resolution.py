"""From flags, job, environment and the job file's defaults to the options of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipesched.cli.app import App
    from pipesched.cli.options import PipelineFlags
    from pipesched.options import PipelineOptions


def run_options(app: App, job_id: str | None, flags: PipelineFlags) -> PipelineOptions:
    """The options for `job_id`, or for no job. Raises NotFound, DataError (a damaged job file), InvalidValue."""
    from pipesched.jobs.store import JobStore
    from pipesched.options import PipelineConfig, resolve

    given = flags.config()
    job_file = JobStore(app.paths.job_file).load()
    job = job_file.job(job_id).config if job_id is not None else PipelineConfig()
    return resolve(
        flags=given,
        job=job,
        environment=app.environment,
        defaults=job_file.defaults.config,
        home=app.paths.home,
        cwd=app.cwd,
    )
