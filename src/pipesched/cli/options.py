"""The options that commands share, each written once: pipeline options and job options."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipesched.options import PipelineConfig

_INDEX = "Pipeline"
_POLICY = "Job"


def _option(flags: str, help_text: str, *, metavar: str | None = None, panel: str = _INDEX) -> Any:
    return typer.Option(flags, help=help_text, metavar=metavar, rich_help_panel=panel, show_default=False)


JobOption = Annotated[str | None, typer.Option("--job", metavar="JOB_ID", help="Take this job's options.")]


def _given(flags: PipelineFlags | JobFlags) -> dict[str, Any]:
    values = {field.name: getattr(flags, field.name) for field in fields(flags)}
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFlags:
    """The pipeline options as given on this command line; None: not given."""

    data_dir: Annotated[
        str | None, _option("--data-dir", "The folder of Markdown [data/].", metavar="PATH")
    ] = None
    data_dir_pattern: Annotated[
        str | None, _option("--data-dir-pattern", "Which files, at any depth [*.md].", metavar="GLOB")
    ] = None
    storage_path: Annotated[
        str | None,
        _option(
            "--storage-path",
            "The vector store: a folder or http://host:port [db/vector_store].",
            metavar="PATH|URL",
        ),
    ] = None
    collection_name: Annotated[
        str | None, _option("--collection-name", "The collection [blog_documents].", metavar="NAME")
    ] = None
    embedding_model: Annotated[
        str | None,
        _option("--embedding-model", "onnx:NAME or ollama:NAME [onnx:all-MiniLM-L6-v2].", metavar="MODEL"),
    ] = None
    chunk_size: Annotated[
        int | None, _option("--chunk-size", "Characters a chunk, at most [1000].", metavar="N")
    ] = None
    chunk_overlap: Annotated[
        int | None,
        _option("--chunk-overlap", "Characters that neighbours share, at most [200].", metavar="N"),
    ] = None
    use_chunking: Annotated[
        bool | None, _option("--use-chunking/--no-use-chunking", "Split documents into chunks [yes].")
    ] = None
    incremental_mode: Annotated[
        str | None,
        _option("--incremental-mode", "What is read again [auto].", metavar="auto|incremental|full"),
    ] = None
    force_recreate: Annotated[
        bool | None,
        _option(
            "--force-recreate/--no-force-recreate", "Build a new generation, embedding everything again [no]."
        ),
    ] = None
    dry_run: Annotated[
        bool | None, _option("--dry-run/--no-dry-run", "Print the plan and change nothing [no].")
    ] = None
    ci_mode: Annotated[
        bool | None, _option("--ci-mode/--no-ci-mode", "Plain log lines and output/ci_summary.json [no].")
    ] = None
    should_save_stats: Annotated[
        bool | None, _option("--should-save-stats/--no-should-save-stats", "Write a statistics file [yes].")
    ] = None
    blog_base_url: Annotated[
        str | None, _option("--blog-base-url", "Where the posts are published.", metavar="URL")
    ] = None
    base_url: Annotated[
        str | None, _option("--base-url", "Where relative media are published.", metavar="URL")
    ] = None
    index_drafts: Annotated[
        bool | None, _option("--index-drafts/--no-index-drafts", "Index drafts too [no].")
    ] = None
    allow_mass_delete: Annotated[
        bool | None,
        _option("--allow-mass-delete/--no-allow-mass-delete", "Let one run delete most of the index [no]."),
    ] = None
    adopt: Annotated[
        bool | None, _option("--adopt/--no-adopt", "Take over a collection that pipesched did not make [no].")
    ] = None

    def given(self) -> dict[str, Any]:
        """What was given, by option name."""
        return _given(self)

    def config(self) -> PipelineConfig:
        """The flags' level of options. Raises InvalidValue."""
        from pipesched.options import PipelineConfig

        return PipelineConfig.checked(self.given())


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFlags:
    """The job options as given on this command line; None: not given. Times and durations are still text."""

    description: Annotated[
        str | None, _option("--description", "What the job is for.", metavar="TEXT", panel=_POLICY)
    ] = None
    tag: Annotated[
        list[str] | None, _option("--tag", "A label; several may be given.", metavar="TAG", panel=_POLICY)
    ] = None
    timezone: Annotated[
        str | None, _option("--timezone", "IANA zone [the machine's].", metavar="ZONE", panel=_POLICY)
    ] = None
    catch_up: Annotated[
        str | None,
        _option(
            "--catch-up", "What a missed fire becomes [latest].", metavar="latest|all|none", panel=_POLICY
        ),
    ] = None
    grace: Annotated[
        str | None,
        _option("--grace", "How late a fire may still run [one period].", metavar="DURATION", panel=_POLICY),
    ] = None
    overlap: Annotated[
        str | None,
        _option(
            "--overlap", "When the last run still runs [skip].", metavar="skip|queue|replace", panel=_POLICY
        ),
    ] = None
    timeout: Annotated[
        str | None,
        _option("--timeout", "End a run after this long [never].", metavar="DURATION", panel=_POLICY),
    ] = None
    retries: Annotated[
        int | None, _option("--retries", "Further attempts after a failure [0].", metavar="N", panel=_POLICY)
    ] = None
    retry_delay: Annotated[
        str | None,
        _option(
            "--retry-delay",
            "Before the first retry; doubles each time [1m].",
            metavar="DURATION",
            panel=_POLICY,
        ),
    ] = None
    jitter: Annotated[
        str | None,
        _option(
            "--jitter", "Spread: a fixed delay of at most this [none].", metavar="DURATION", panel=_POLICY
        ),
    ] = None
    after: Annotated[
        list[str] | None,
        _option(
            "--after",
            "Run only once this job has succeeded (see --trigger-on); several may be given.",
            metavar="JOB_ID",
            panel=_POLICY,
        ),
    ] = None
    trigger_on: Annotated[
        str | None,
        _option(
            "--trigger-on",
            "How the jobs of --after must have ended [success].",
            metavar="success|failure|any",
            panel=_POLICY,
        ),
    ] = None
    not_during: Annotated[
        list[str] | None,
        _option(
            "--not-during",
            'Skip what is due then: "22:00-02:00", "Sat,Sun 09:00-17:00"; several may be given.',
            metavar="WINDOW",
            panel=_POLICY,
        ),
    ] = None
    start: Annotated[str | None, _option("--start", "No fire before.", metavar="TIME", panel=_POLICY)] = None
    end: Annotated[str | None, _option("--end", "No fire after.", metavar="TIME", panel=_POLICY)] = None
    max_runs: Annotated[
        int | None, _option("--max-runs", "Done after so many runs.", metavar="N", panel=_POLICY)
    ] = None
    pause_after_failures: Annotated[
        int | None,
        _option(
            "--pause-after-failures", "Pause after so many failures in a row.", metavar="N", panel=_POLICY
        ),
    ] = None
    notify: Annotated[
        list[str] | None,
        _option("--notify", "Apprise URL, or env:NAME; several may be given.", metavar="URL", panel=_POLICY),
    ] = None
    ping: Annotated[
        str | None, _option("--ping", "Heartbeat URL, or env:NAME.", metavar="URL", panel=_POLICY)
    ] = None
    paused: Annotated[bool | None, _option("--paused/--no-paused", "Add it paused [no].", panel=_POLICY)] = (
        None
    )

    def given(self) -> dict[str, Any]:
        """What was given, by option name. Raises InvalidValue for a target that is never told."""
        found = _given(self)
        targets = [*found.get("notify", ()), *([found["ping"]] if "ping" in found else [])]
        if targets:
            from pipesched.jobs.targets import check_targets

            check_targets(targets, environ=os.environ)
        return found
