"""`export`: the jobs to a file, for pipesched or for another scheduler."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipesched.cli.app import App
from pipesched.report import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pipesched.errors import PipeschedError
    from pipesched.jobs.formats.model import Export, Refused
    from pipesched.jobs.formats.place import Place
    from pipesched.jobs.model import JobFile
    from pipesched.options import PipelineOptions

FORMATS: Final = ("json", "crontab", "systemd", "kubernetes")
STREAM: Final = "-"
NAMED: Final = 10

SkipInvalid = Annotated[
    bool, typer.Option("--skip-invalid", help="Leave out, by name, jobs that cannot come along.")
]


def export(
    app: App,
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="Where to; for systemd a folder [stdout].", show_default=False),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="json|crontab|systemd|kubernetes", help="For whom.")
    ] = "json",
    skip_invalid: SkipInvalid = False,
) -> None:
    """Write all jobs: as JSON that import reads back, or for a scheduler that is to run them instead of the daemon.

    In FILE (mode 0600) notify and ping are written out, on stdout they are masked. What another scheduler cannot say is
    named on stderr; a job whose schedule it cannot say is refused, exit 2, and nothing is written without --skip-invalid.

    Example: pipesched export units --format systemd
    """
    from pipesched.errors import ConfigurationError, InvalidValue, UsageError
    from pipesched.jobs.store import JobStore

    if format not in FORMATS:
        raise InvalidValue(
            f"--format: there is no format {format!r:.40}", hint=f"the formats are {', '.join(FORMATS)}"
        )
    target = None if file in {None, STREAM} else app.cwd / str(file)
    if target is not None and _same(target, app.paths.job_file):
        raise UsageError(f"{file} is the job file itself", hint="name another file")
    job_file = JobStore(app.paths.job_file).load()
    if target is not None and not job_file.exists:
        raise ConfigurationError(
            f"there is no job file {app.paths.job_file}, so that there is nothing to write to {file}",
            hint="name it with --file, or make one: pipesched init",
        )
    now = app.this_second()
    made = _export(app, job_file, format, now, secrets=target is not None)
    if made.refused and not skip_invalid:
        raise refusal(made.refused, f"cannot be written as {format}")
    for warning in made.warnings:
        app.out.note(f"warning: {warning}")
    for refused in made.refused:
        app.out.note(f"left out: {refused.id}: {refused.reason}")
    if target is None:
        _print(app, made, format)
        return
    written = _write(target, made, format)
    count = len(set(job_file.jobs) - {refused.id for refused in made.refused} - set(made.done))
    for path in _leftovers(target, made) if format == "systemd" else ():
        app.out.note(f"warning: {path} is of an earlier export, and of no job any more")
    if app.json:
        app.out.document(
            {"format": format, "jobs": count, "written": [str(path) for path in written], **_remarks(made)}
        )
        return
    app.out.line(f"wrote {counted(count, 'job')} to {target}")


def _export(app: App, job_file: JobFile, format: str, now: datetime, *, secrets: bool) -> Export:
    """The text of every job, those that cannot be used among the refused. Raises InvalidValue."""
    from dataclasses import replace

    from pipesched.jobs.formats.model import Export, Refused

    unusable = tuple(
        Refused(problem.job_id or app.paths.job_file.name, problem.message, problem.hint)
        for problem in job_file.problems
    )
    if format == "json":
        import json

        from pipesched.jobs.formats import own

        document = own.write(job_file, now=now, secrets=secrets)
        text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
        made = Export({"pipesched.json": text})
    else:
        from pipesched.jobs.formats import crontab, kubernetes, systemd

        writers = {"crontab": crontab.write, "systemd": systemd.write, "kubernetes": kubernetes.write}
        options, misfits = _options(app, job_file)
        unusable = (*unusable, *misfits)
        fitting = replace(job_file, jobs={job_id: job_file.jobs[job_id] for job_id in options})
        made = writers[format](fitting, place=_place(app, options), now=now)
        made = replace(made, warnings=(*made.warnings, *_variables(app)))
    return replace(made, refused=(*unusable, *made.refused))


def _options(app: App, job_file: JobFile) -> tuple[dict[str, PipelineOptions], list[Refused]]:
    """What each job runs with, and the jobs whose options do not fit together."""
    from pipesched.errors import InvalidValue
    from pipesched.jobs.formats.model import Refused
    from pipesched.jobs.sharing import Resolver

    resolver = Resolver(defaults=job_file.defaults.config, environment=app.environment, home=app.paths.home)
    found: dict[str, PipelineOptions] = {}
    refused = []
    for job in job_file.jobs.values():
        try:
            found[job.id] = resolver.job(job)
        except InvalidValue as error:
            refused.append(Refused.because(job.id, error))
    return found, refused


def _variables(app: App) -> list[str]:
    """The other scheduler starts its runs without the variables of this shell."""
    from pipesched.options import variable

    names = ", ".join(variable(option) for option in app.environment.set_values())
    return [f"{names}: set here, and not where the runs will start"] if names else []


def _place(app: App, options: dict[str, PipelineOptions]) -> Place:
    """Where this command runs: its program, folders and the job file's owner."""
    import os

    import pipesched
    from pipesched.files import owner_name
    from pipesched.jobs.formats.place import Place
    from pipesched.machine import machine_zone

    program = Path(sys.executable).with_name("pipesched")
    words = (str(program),) if program.exists() else (sys.executable, "-m", "pipesched")
    owner = app.paths.job_file.stat().st_uid if app.paths.job_file.exists() else os.geteuid()
    return Place(
        program=words,
        paths=app.paths,
        machine_zone=machine_zone(),
        user="" if owner == 0 else owner_name(owner),
        options=options,
        runtime=tuple(dict.fromkeys((sys.prefix, sys.base_prefix, str(Path(pipesched.__file__).parent)))),
    )


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _print(app: App, made: Export, format: str) -> None:
    """One stream; of several files each below a line with its name."""
    import json

    if app.json:
        if format == "json":
            app.out.document(json.loads(next(iter(made.files.values()))))
        else:
            app.out.document({"format": format, "files": dict(made.files), **_remarks(made)})
        return
    single = len(made.files) == 1 and format != "systemd"
    for name, text in made.files.items():
        app.out.raw(text if single else f"# ---- {name}\n{text}\n")


def _remarks(made: Export) -> dict[str, Any]:
    return {"skipped": [skipped(each) for each in made.refused], "warnings": list(made.warnings)}


def skipped(refused: Refused) -> dict[str, str]:
    return {"id": refused.id, "reason": refused.reason}


def _write(target: Path, made: Export, format: str) -> list[Path]:
    from pipesched.errors import CannotCreate, UsageError
    from pipesched.files import PRIVATE_FILE, os_error, write_atomic

    if format != "systemd":
        if target.is_dir():
            raise UsageError(
                f"{target} is a folder", hint=f"name a file in it, such as {target / next(iter(made.files))}"
            )
        if target.exists() and not target.is_file():
            raise UsageError(
                f"{target} is no regular file",
                hint="for a pipe or a device, leave FILE out: > redirects stdout",
            )
        write_atomic(target, next(iter(made.files.values())).encode(), mode=PRIVATE_FILE)
        return [target]
    try:
        target.mkdir(exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise CannotCreate(
            f"cannot create the folder {target}: {error.strerror}", hint="for systemd, name a folder"
        ) from error
    except OSError as error:
        raise os_error("create", target, error) from error
    for name, text in made.files.items():
        write_atomic(target / name, text.encode(), mode=0o644)
    return [target / name for name in made.files]


def _leftovers(folder: Path, made: Export) -> list[Path]:
    return sorted(
        path
        for kind in ("service", "timer")
        for path in folder.glob(f"pipesched-*.{kind}")
        if path.name not in made.files
    )


def refusal(refused: Sequence[Refused], what: str) -> PipeschedError:
    """One error for all of them, by name."""
    from pipesched.errors import InvalidValue, JobExists

    said = "; ".join(f"{each.id}: {each.reason}" for each in refused[:NAMED])
    more = f"; and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
    count = f"{len(refused)} jobs" if len(refused) != 1 else "a job"
    hint = refused[0].hint
    hint = f"{hint}; --skip-invalid leaves such jobs out" if hint else "--skip-invalid leaves such jobs out"
    kind = JobExists if all(each.exists for each in refused) else InvalidValue
    return kind(f"{count} {what}, so that nothing was written: {said}{more}", hint=hint)
