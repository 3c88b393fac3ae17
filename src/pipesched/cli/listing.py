"""`list`, `show`, `presets`: look at jobs."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipesched.cli.app import App

if TYPE_CHECKING:
    from datetime import datetime

    from pipesched.jobs.presets import Preset, PresetJob

Json = dict[str, Any]
TERMINAL_ROWS: Final = 200
DURATIONS: Final = frozenset({"grace", "timeout", "retry_delay", "jitter"})
"""Of the policy, in seconds."""


def list_jobs(app: App) -> None:
    """List the jobs with their schedules, next runs and states.

    Example: pipesched list --json
    """
    # With 10,000 jobs a third of the time went into looking for cycles among objects that all live to the end.
    gc.disable()
    try:
        _list_jobs(app)
    finally:
        gc.enable()


def _list_jobs(app: App) -> None:
    from pipesched.cli.resolution import documents, no_jobs, note_problems
    from pipesched.jobs.store import JobStore

    job_file = JobStore(app.paths.job_file).load()
    jobs = list(job_file.jobs.values())
    cut = max(0, len(jobs) - TERMINAL_ROWS) if app.out.terminal else 0
    rows = documents(app, job_file, jobs[:TERMINAL_ROWS] if cut else jobs)
    note_problems(app, job_file)
    if app.json:
        problems = [
            {"job_id": problem.job_id, "message": problem.message, "hint": problem.hint}
            for problem in job_file.problems
        ]
        app.out.document({"jobs": rows, **({"problems": problems} if problems else {})})
        return
    now = app.now()
    app.out.table(
        ("job", "schedule", "zone", "next run", "state", "last run"),
        [
            (
                row["id"],
                row["trigger_text"],
                row["timezone"],
                next_run(row, now),
                row["state"],
                row["last_run"]["status"] if row["last_run"] else "-",
            )
            for row in rows
        ],
        empty=no_jobs(app, job_file),
    )
    if cut:
        app.out.line(f"... and {cut} more, {len(jobs)} jobs in all; all of them: pipesched list | less")


def show(
    app: App, job_id: Annotated[str, typer.Argument(metavar="JOB_ID", help="Which job.", show_default=False)]
) -> None:
    """Show one job: its schedule, what it was given, what holds, and its last run.

    Example: pipesched show nightly
    """
    from pipesched.cli.resolution import documents
    from pipesched.jobs.documents import usable
    from pipesched.jobs.store import JobStore

    job_file = JobStore(app.paths.job_file).load(schedules=False)
    document = documents(app, job_file, [usable(job_file.job(job_id))])[0]
    if app.json:
        app.out.document({"job": document})
    else:
        print_job(app, document)


def next_run(row: Json, now: datetime) -> str:
    """The next run for people, with how far away it is."""
    from datetime import datetime

    from pipesched.schedule.timetext import format_relative

    if row["next_run_time"] is None:
        return "at the scheduler's start" if row["trigger_text"] == "@reboot" and row["enabled"] else "-"
    at = datetime.fromisoformat(row["next_run_time"])
    return f"{at.isoformat(sep=' ')} ({format_relative(at, now)})"


def print_schedule(app: App, row: Json) -> None:
    """Schedule, zone and next run of a job, for people."""
    out = app.out
    out.line(f"schedule   {in_words(row)}")
    out.line(f"zone       {row['timezone']}")
    if not row["enabled"] or row["state"] == "paused":
        out.line("next run   none, it is paused; see pipesched resume --help")
    else:
        out.line(f"next run   {next_run(row, app.now())}")


def in_words(row: Json) -> str:
    """`at 02:00 every day (0 2 * * *)`; an interval or a time is words already."""
    if row["type"] != "cron":
        return str(row["trigger_text"])
    from pipesched.schedule.words import explain

    return f"{explain(row['trigger']['expression']).words} ({row['trigger_text']})"


def print_job(app: App, row: Json) -> None:
    """The job for people: schedule and state, then what was set, then what holds by default."""
    out = app.out
    out.line(f"job        {row['id']}" + (f" ({row['name']})" if row["name"] != row["id"] else ""))
    if row["description"]:
        out.line(f"           {row['description']}")
    print_schedule(app, row)
    out.line(f"state      {row['state']}")
    if row["tags"]:
        out.line(f"tags       {', '.join(row['tags'])}")
    if row["calendar"]:
        out.line(f"not on     {', '.join(row['calendar'])} (the file's calendar)")
    last = row["last_run"]
    if last:
        seconds = last["duration_seconds"]
        took = "" if seconds is None else f", {seconds:.1f} s"
        out.line(f"last run   {last['status']}{took}: {last['run_id']}")
    if went := how_runs_went(row["statistics"]):
        out.line(f"runs       {went}")
    out.line()
    options = row["effective_config"] or row["config"]
    out.table(
        ("option", "value", "set by"),
        [
            (name.replace("_", "-"), text(value), "this job" if name in row["config"] else "default")
            for name, value in options.items()
        ],
    )
    if row.get("config_error"):
        out.note(f"warning: {row['config_error']}")
    out.line()
    out.table(
        ("policy", "value"),
        [(name.replace("_", "-"), policy_text(name, value)) for name, value in row["policy"].items()],
    )


def how_runs_went(statistics: Json) -> str:
    """`95% of the last 20 succeeded; half took at most 42s, 95% at most 1m30s`; empty where nothing has run."""
    from pipesched.schedule.timetext import format_duration

    found = []
    if statistics["success_rate"] is not None:
        found.append(f"{statistics['success_rate']:.0%} of the last 20 succeeded")
    if statistics["duration_p50_seconds"] is not None:
        half, most = (
            format_duration(round(statistics[f"duration_{share}_seconds"], 1)) for share in ("p50", "p95")
        )
        found.append(f"half took at most {half}, 95% at most {most}")
    return "; ".join(found)


def text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None or value == "" else str(value)


def policy_text(name: str, value: object) -> str:
    if name not in DURATIONS or not isinstance(value, int | float):
        return text(value)
    if not value:
        return "none" if name == "jitter" else "0"
    from pipesched.schedule.timetext import format_duration

    return format_duration(value)


def presets(
    app: App,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this one.", show_default=False)
    ] = None,
) -> None:
    """List the presets, or show one. Those in the project's presets/ folder go over the ones that come with pipesched.

    Example: pipesched presets twice_daily
    """
    from pipesched.jobs.presets import load_presets

    found = load_presets(app.paths.project_presets)
    if name is not None:
        preset = found.get(name)
        if app.json:
            app.out.document({"preset": preset_document(preset)})
        else:
            print_preset(app, preset)
        return
    for error in found.broken.values():
        app.out.note(f"warning: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    if app.json:
        app.out.document({"presets": [preset_document(preset) for preset in found.known.values()]})
        return
    app.out.table(
        ("preset", "what it does", "schedule", "from"),
        [
            (
                preset.name,
                preset.description,
                "; ".join(job.schedule_text for job in preset.jobs),
                "pipesched" if preset.shipped else "this project",
            )
            for preset in found.known.values()
        ],
    )


def preset_document(preset: Preset) -> Json:
    from pipesched.jobs.masking import masked_policy

    return {
        "name": preset.name,
        "description": preset.description,
        "about": preset.about,
        "source": "shipped" if preset.shipped else "project",
        "file": str(preset.path),
        "timezone": preset.timezone,
        "jobs": [
            {
                "id": job.id,
                "name": job.name,
                "description": job.description,
                "trigger_text": job.schedule_text,
                "tags": list(job.tags),
                "policy": masked_policy(job.policy),
                "config": job.config.set_values(),
            }
            for job in preset.jobs
        ],
    }


def print_preset(app: App, preset: Preset) -> None:
    from pipesched.jobs.masking import masked_policy

    out = app.out
    out.line(f"preset     {preset.name}: {preset.description}")
    if preset.about:
        out.line(f"           {preset.about}")
    out.line(f"file       {preset.path}")
    if preset.replaces:
        out.line("           in place of the one of that name which comes with pipesched")
    for job in preset.jobs:
        out.line()
        out.line(f"job        {job.id.replace('{job_id}', 'JOB_ID')}")
        out.line(f"schedule   {_preset_schedule(job)}")
        if job.description:
            out.line(f"           {job.description}")
        for label, values in (("policy", masked_policy(job.policy)), ("option", job.config.set_values())):
            for key, value in values.items():
                out.line(f"{label:10} {key.replace('_', '-')} = {text(value)}")
    out.line()
    out.line(f"add it with: pipesched add-preset {preset.name} JOB_ID")


def _preset_schedule(job: PresetJob) -> str:
    if job.cron is None:
        return job.schedule_text
    from pipesched.schedule.words import explain

    return f"{explain(job.cron).words} ({job.cron})"
