"""Write docs/schemas/*.json and docs/schemas.md, the shapes of what `--json` prints; tests hold them against what commands print.

    .venv/bin/python scripts/json_schemas.py

Words and inner shapes come from the program's own models; a document's keys are listed here. Additions are free, so a schema
allows keys that it does not name.
"""

import json
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import AwareDatetime, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypedDict

from pipesched.options import PipelineConfig, PipelineOptions
from pipesched.pipeline.search import Result
from pipesched.report import DocumentChange, ItemError, LengthStatistics, RunMode, RunStats, RunStatus
from pipesched.runs.model import RunState
from pipesched.schedule.model import CatchUp, Overlap, RunTrigger, TriggerKind, TriggerOn
from pipesched.settings import SCHEMA_VERSION
from pipesched.views.checks import HealthStatus
from pipesched.views.snapshot import State

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Untitled(GenerateJsonSchema):
    """Without a title for each key, which says its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  pydantic's
        return False


class LastRun(TypedDict):
    run_id: str
    status: RunState
    started_at: AwareDatetime | None
    duration_seconds: float | None


class Statistics(TypedDict):
    success_rate: float | None
    duration_p50_seconds: float | None
    duration_p95_seconds: float | None
    totals: dict[str, int]


class CronTrigger(TypedDict):
    expression: str


class IntervalTrigger(TypedDict):
    seconds: float
    anchor: AwareDatetime


class OnceTrigger(TypedDict):
    at: AwareDatetime


class Policy(TypedDict):
    catch_up: CatchUp
    grace: float
    overlap: Overlap
    timeout: float | None
    retries: int
    retry_delay: float
    jitter: float
    after: list[str]
    trigger_on: TriggerOn
    not_during: list[str]
    start: AwareDatetime | None
    end: AwareDatetime | None
    max_runs: int | None
    pause_after_failures: int | None
    notify: list[str]
    ping: str | None


class Job(TypedDict):
    id: str
    job_id: str
    name: str
    description: str
    type: TriggerKind
    trigger: CronTrigger | IntervalTrigger | OnceTrigger
    trigger_text: str
    timezone: str
    next_run_time: AwareDatetime | None
    enabled: bool
    state: State
    last_run: LastRun | None
    statistics: Statistics
    config: PipelineConfig
    effective_config: PipelineOptions | None
    config_error: NotRequired[str]
    policy: Policy
    calendar: list[str]
    tags: list[str]
    created_at: AwareDatetime | None
    paused_at: AwareDatetime | None


class Problem(TypedDict):
    code: str
    message: str
    hint: str


class _Document(TypedDict):
    schema_version: Literal[1]


class ErrorDocument(_Document):
    error: Problem


class JobDocument(_Document):
    job: Job


class JobsDocument(_Document):
    jobs: list[Job]


class _Ran(TypedDict):
    run_id: str
    job_id: str | None
    timestamp: AwareDatetime
    finished_at: AwareDatetime
    duration_seconds: float
    status: RunStatus
    success: bool
    message: str
    dry_run: bool
    mode: RunMode
    mode_reason: str
    stats: RunStats
    errors: list[ItemError]
    stats_file: str | None
    exit_code: int


class CiSummary(_Document, _Ran):
    pass


class _Summary(_Document, _Ran):
    scheduled_for: AwareDatetime | None
    timings: dict[str, float]


class Report(_Summary):
    documents: list[DocumentChange]
    filename: NotRequired[str]
    error: NotRequired[Problem]


class ReportSummary(_Summary):
    filename: str


class ReportsDocument(_Document):
    reports: list[ReportSummary]


class StatisticsFile(TypedDict):
    timestamp: AwareDatetime
    run_id: str


class Run(TypedDict):
    run_id: str
    job_id: str | None
    scheduled_for: AwareDatetime | None
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    duration_seconds: float | None
    status: RunState
    exit_code: int | None
    attempt: int
    reason: str
    trigger: RunTrigger
    count: int
    until: AwareDatetime | None
    dry_run: bool


class HistoryDocument(_Document):
    runs: list[Run]
    statistics: NotRequired[Statistics]


class Active(TypedDict):
    run_id: str
    job_id: str | None
    status: RunState
    trigger: RunTrigger
    scheduled_for: AwareDatetime | None
    started_at: AwareDatetime | None
    duration_seconds: float | None


class Next(TypedDict):
    job_id: str
    at: AwareDatetime
    collapsed: int


class _Freshness(TypedDict):
    last_success: AwareDatetime | None
    age_seconds: float | None
    documents: int | None
    chunks: int | None
    failed_documents: int
    withheld_deletes: int
    drifted_chunks: int
    last_status: RunState | None
    last_error: str | None


class JobFreshness(_Freshness):
    job_id: str
    state: State
    next_run_time: AwareDatetime | None
    failures_in_row: int
    success_rate: float | None
    duration_p50_seconds: float | None
    duration_p95_seconds: float | None


class Collection(_Freshness):
    collection_name: str
    storage_path: str
    jobs: list[str]


class StatusDocument(_Document):
    scheduler_running: bool
    pid: int | None
    http: str | None
    started_at: AwareDatetime | None
    last_tick: AwareDatetime | None
    job_file_error: Problem | None
    active_jobs: int
    jobs_executed: int
    jobs_failed: int
    jobs_missed: int
    jobs_skipped: int
    success_rate: float | None
    last_execution: AwareDatetime | None
    last_error: str | None
    running: list[Active]
    next: list[Next]
    jobs: list[JobFreshness]
    collections: list[Collection]


class Check(TypedDict):
    status: HealthStatus
    message: str
    hint: str


class HealthDocument(_Document):
    status: HealthStatus
    checks: dict[str, Check]


class Fire(Next):
    note: str


class NextDocument(_Document):
    fires: list[Fire]


class UnnamedFire(TypedDict):
    at: AwareDatetime
    collapsed: int
    note: str


class ExplainDocument(_Document):
    expression: str
    timezone: str
    words: str
    rule: str
    fixed: bool
    fires: list[UnnamedFire]


class SearchDocument(_Document):
    results: list[Result]


class VerifyDocument(_Document):
    ok: bool
    missing: list[str]
    extra: list[str]
    changed: list[str]
    bad_vectors: list[str]
    documents: list[str]
    failed_documents: list[str]
    message: str
    hint: str


class PresetJob(TypedDict):
    id: str
    name: str
    description: str
    trigger_text: str
    tags: list[str]
    policy: dict[str, Any]
    config: PipelineConfig


class Preset(TypedDict):
    name: str
    description: str
    about: str
    source: Literal["shipped", "project"]
    file: str
    timezone: str | None
    jobs: list[PresetJob]


class PresetDocument(_Document):
    preset: Preset


class PresetsDocument(_Document):
    presets: list[Preset]


DOCUMENTS: dict[str, tuple[Any, str]] = {
    "job": (JobDocument, "`show`, `add-cron`, `add-interval`, `add-once`, `edit`"),
    "jobs": (
        JobsDocument,
        "`list`, `add-preset`, `pause`, `resume`, `import`, `init`; `GET /scheduler/jobs`",
    ),
    "report": (
        Report,
        "`run`, `rebuild`, `report`; `output/report-*.json`; `GET /pipeline/reports/{filename}`",
    ),
    "reports": (ReportsDocument, "`reports`; `GET /pipeline/reports`"),
    "ci_summary": (CiSummary, "`output/ci_summary.json`, of `--ci-mode`"),
    "statistics": (StatisticsFile, "`output/statistics-*.json`: lengths of documents, in characters"),
    "history": (HistoryDocument, "`history`"),
    "status": (StatusDocument, "`status`, and each line of `status --watch`; `GET /scheduler/status`"),
    "health": (HealthDocument, "`health`, `doctor`; `GET /health`"),
    "next": (NextDocument, "`next`"),
    "explain": (ExplainDocument, "`explain`"),
    "search": (SearchDocument, "`search`"),
    "verify": (VerifyDocument, "`verify`"),
    "preset": (PresetDocument, "`presets NAME`"),
    "presets": (PresetsDocument, "`presets`"),
    "error": (
        ErrorDocument,
        "every command that ends in an error, with the exit code of [its kind](exit-codes.md)",
    ),
}

PAGE = """# JSON schemas

What `--json` prints, and what the files in the output folder hold, as JSON Schema (2020-12). Made by `scripts/json_schemas.py`
from the program's models (`make docs`); a test holds what the commands really print against them. Each document has
`schema_version` {version}; keys may be added without a new version, so ignore those that you do not know. Times are RFC 3339 with an
offset, durations and ages seconds.

| schema | is of |
|-|-|
{rows}

`list --json` also has `problems`, and `import --json` what it skipped, where there is something of the kind. `logs`, `simulate`,
`prune`, `cancel`, `remove`, `export` and `notify-test` print documents of their own, with `schema_version`.
"""


def schema(name: str) -> dict[str, Any]:
    """The schema of a document: every key of a model of ours is required, since what is printed has them all."""
    model, use = DOCUMENTS[name]
    found = TypeAdapter(model).json_schema(mode="serialization", schema_generator=Untitled)
    definitions = found.get("$defs", {})
    for full in (RunStats, DocumentChange, ItemError, PipelineOptions, Result):
        if definition := definitions.get(full.__name__):
            _complete(definition)
    if name == "statistics":
        lengths = TypeAdapter(LengthStatistics).json_schema(mode="serialization", schema_generator=Untitled)
        found["properties"] |= lengths["properties"]
        _complete(found)
    if config := definitions.get("PipelineConfig"):
        config.pop("additionalProperties")  # what a newer version sets is not refused
        for value in config["properties"].values():
            value.pop("default", None)
    for definition in (found, *definitions.values()):
        definition.pop("description", None)  # of docstrings, which speak to programmers
    del found["title"]
    return {"$schema": DIALECT, "title": name, "description": use.replace("`", ""), **found}


def _complete(definition: dict[str, Any]) -> None:
    definition["required"] = list(definition["properties"])
    for value in definition["properties"].values():
        value.pop("default", None)


def written() -> dict[Path, str]:
    """Every file that this script makes, with its text."""
    rows = "\n".join(
        f"| [{name}.json](schemas/{name}.json) | {use} |" for name, (_, use) in DOCUMENTS.items()
    )
    texts = {FOLDER.with_suffix(".md"): PAGE.format(version=SCHEMA_VERSION, rows=rows)}
    for name in DOCUMENTS:
        texts[FOLDER / f"{name}.json"] = json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"
    return texts


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in written().items():
        path.write_text(text)
