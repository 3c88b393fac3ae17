"""`completion`: the script that lets a shell complete pipesched's words, and what it then asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipesched.cli.app import App
from pipesched.settings import ENV_COMPLETE, Paths

if TYPE_CHECKING:
    from typer._click.core import Command, Context, Parameter

SHELLS: Final = ("bash", "zsh", "fish")
_NEWEST: Final = 200
_CHOICES: Final = re.compile(r"\[?[a-z_-]+(\|[a-z_-]+)+\]?(\.\.\.)?")


def completion(
    app: App,
    shell: Annotated[
        str,
        typer.Argument(metavar="bash|zsh|fish", help="For this shell.", show_default=False),
    ],
) -> None:
    """Print the script that makes a shell complete commands, options, job ids, presets, run ids and report names.

    bash: put its output into ~/.local/share/bash-completion/completions/pipesched; zsh: into a file _pipesched in a
    folder of $fpath; fish: into ~/.config/fish/completions/pipesched.fish. Then open a new shell.

    Example: pipesched completion bash > ~/.local/share/bash-completion/completions/pipesched
    """
    from typer._completion_shared import get_completion_script

    from pipesched.errors import InvalidValue

    if shell not in SHELLS:
        raise InvalidValue(f"there is no completion for {shell!r}", hint=f"one of {', '.join(SHELLS)}")
    script = get_completion_script(prog_name="pipesched", complete_var=ENV_COMPLETE, shell=shell)
    app.out.line(script)
    if app.json:
        app.out.document({"shell": shell, "script": script})


def answer(group: Command, instruction: str) -> int:
    """What the shell asked for by `instruction`, on stdout; the exit status. Nothing is ever said on the terminal."""
    from typer._completion_classes import completion_init
    from typer.completion import shell_complete
    from typer.exceptions import TyperException

    from pipesched.errors import PipeschedError

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    completion_init()
    try:
        return shell_complete(group, {}, "pipesched", ENV_COMPLETE, instruction)
    except SystemExit as said:  # fish asks by the exit status whether there is anything
        return int(said.code or 0)
    except (PipeschedError, TyperException, OSError, ValueError, KeyError):
        return 1


def values(ctx: Context, parameter: Parameter, incomplete: str) -> list[Any]:
    """What `parameter` may be, as far as it begins with `incomplete`; none: the shell offers files."""
    from typer._click.shell_completion import CompletionItem

    metavar = getattr(parameter, "metavar", None) or ""
    command = ctx.command.name or ""
    source = _SOURCES.get(f"{command} {parameter.name}") or _SOURCES.get(parameter.name or "")
    found: Iterable[str] = ()
    if _CHOICES.fullmatch(metavar):
        found = metavar.strip("[].").split("|")
    elif source is not None and not (command.startswith("add-") and parameter.name == "job_id"):
        root = ctx.find_root().params
        paths = Paths.resolve(
            file=root.get("file"),
            state_dir=root.get("state_dir"),
            output_dir=root.get("output_dir"),
            cwd=Path.cwd(),
        )
        given = ctx.params.get(parameter.name or "")
        taken = set(given) if isinstance(given, list | tuple) else set()
        found = (value for value in source(paths) if value not in taken)
    return [CompletionItem(value) for value in found if value.startswith(incomplete)]


# ---- what there is; where nothing can be read there is nothing


def _jobs(paths: Paths) -> list[str]:
    """From the file's tables: to make a job of each entry would take longer than anybody waits for a key."""
    from pipesched.errors import PipeschedError
    from pipesched.jobs.encoding import parse

    if not paths.job_file.is_file():
        return []
    with suppress(PipeschedError, OSError):
        tables = parse(paths.job_file.read_bytes(), name=paths.job_file.name)
        ids = (job.get("id", job.get("job_id")) for job in tables["jobs"].values() if isinstance(job, dict))
        return [each for each in ids if isinstance(each, str)]
    return []


def _runs(paths: Paths, *, active: bool) -> list[str]:
    from pipesched.errors import PipeschedError
    from pipesched.runs.ledger import Ledger

    if not paths.ledger.exists():
        return []
    with suppress(PipeschedError), Ledger.open(paths.ledger, create=False) as ledger:
        runs = ledger.active() if active else ledger.history(limit=_NEWEST)
        return [run.run_id for run in runs]
    return []


def _presets(paths: Paths) -> list[str]:
    """By their files' names alone: whether one can be used is said when it is."""
    from pipesched.jobs.presets import shipped_folder

    folders = (shipped_folder(), paths.project_presets)
    return sorted({path.stem for folder in folders for path in folder.glob("*.toml")})


def _reports(paths: Paths) -> list[str]:
    from pipesched.runs.reports import names, run_id_of

    newest = list(islice(names(paths.output_dir), _NEWEST))
    return [*newest, *filter(None, map(run_id_of, newest))]


def _zones(_: Paths) -> list[str]:
    from zoneinfo import available_timezones

    return sorted(available_timezones())


def _states(_: Paths) -> list[str]:
    from pipesched.runs.model import STATES

    return list(STATES)


_SOURCES: Final[dict[str, Callable[[Paths], list[str]]]] = {
    "job_id": _jobs,
    "job_ids": _jobs,
    "job": _jobs,
    "after": _jobs,
    "timezone": _zones,
    "run_id": lambda paths: _runs(paths, active=False),
    "cancel run_id": lambda paths: _runs(paths, active=True),
    "logs name": lambda paths: [*_jobs(paths), *_runs(paths, active=False)],
    "presets name": _presets,
    "add-preset preset": _presets,
    "report name": _reports,
    "history status": _states,
}
