"""The entry point: global options, the error boundary, exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import Abort, TyperException

from pipesched import __version__
from pipesched.cli.app import App
from pipesched.cli.commands import LazyGroup
from pipesched.cli.output import Output
from pipesched.errors import InvalidValue, PipeschedError, UsageError, exit_status
from pipesched.settings import Paths

HELP = "Keep a vector index exactly in step with a folder of Markdown, on a schedule."
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

application = typer.Typer(
    name="pipesched",
    cls=LazyGroup,
    help=HELP,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@application.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="PATH", help="The job file [PIPESCHED_FILE; ./schedules.json]."),
    ] = None,
    state_dir: Annotated[
        str | None,
        typer.Option(
            "--state-dir", metavar="PATH", help="Ledger, manifests, logs [PIPESCHED_STATE_DIR; .pipesched/]."
        ),
    ] = None,
    output_dir: Annotated[
        str | None,
        typer.Option("--output-dir", metavar="PATH", help="Reports [PIPESCHED_OUTPUT_DIR; output/]."),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", metavar="LEVEL", help="DEBUG to CRITICAL [LOG_LEVEL; WARNING]."),
    ] = None,
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="text|json", help="How log lines look.")
    ] = "text",
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour [NO_COLOR].")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        if "--json" in sys.argv:
            Output(json=True).document({"version": __version__})
        else:
            sys.stdout.write(f"pipesched {__version__}\n")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        sys.stdout.write(ctx.get_help() + "\n")
        raise typer.Exit(2)
    color = not (no_color or os.environ.get("NO_COLOR"))
    from pipesched.cli.logs import configure

    configure(level_name(log_level), log_format_name(log_format))
    ctx.obj = App(
        paths=Paths.resolve(file=file, state_dir=state_dir, output_dir=output_dir),
        color=color,
        log_level=log_level,
        log_format=log_format,
        out=Output(color=color),
    )


def level_name(flag: str | None) -> str:
    """The flag, else LOG_LEVEL; a bad variable is not worth failing a scheduled run for, a bad flag is."""
    name = (flag or os.environ.get("LOG_LEVEL") or "").upper()
    if name in LOG_LEVELS:
        return name
    if flag:
        raise InvalidValue(f"--log-level: there is no level {flag!r}", hint=f"one of {', '.join(LOG_LEVELS)}")
    return ""


def log_format_name(flag: str) -> str:
    if flag not in {"text", "json"}:
        raise InvalidValue(f"--log-format: {flag!r} is neither text nor json", hint="use text or json")
    return flag


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; errors are printed here, once."""
    wants_json = "--json" in arguments
    try:
        # Typer's standalone mode would print and exit itself, and not as JSON.
        result: Any = typer.main.get_command(application).main(
            args=list(arguments), prog_name="pipesched", standalone_mode=False
        )
        sys.stdout.flush()
    except PipeschedError as error:
        return _report(error, wants_json=wants_json)
    except TyperException as error:
        return _report(_usage(error), wants_json=wants_json)
    except (Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader (| head) has what it wanted; a second flush at exit must not complain either.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return result if isinstance(result, int) else 0


def _usage(error: TyperException) -> PipeschedError:
    command = getattr(getattr(error, "ctx", None), "command_path", None) or "pipesched"
    message = error.format_message().strip().rstrip(".")
    return UsageError(message, hint=f"see {command} --help")


def _report(error: PipeschedError, *, wants_json: bool) -> int:
    out = Output(json=wants_json)
    if wants_json:
        out.document({"error": error.as_dict()})
    else:
        out.note(f"error: {error.message}")
        if error.hint:
            out.note(f"hint: {error.hint}")
    return exit_status(error)


def main() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # LANG=C must not turn a title into a traceback
    if sys.stdout is None:  # started with a closed stdout
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  lives as long as the process
    sys.exit(execute(sys.argv[1:]))
