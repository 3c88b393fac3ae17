"""The entry point: global options, the error boundary, exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import Abort, TyperException

from pipesched import __version__
from pipesched.cli import logs, plugins, streams
from pipesched.cli.app import App
from pipesched.cli.commands import LazyGroup
from pipesched.cli.output import Output
from pipesched.cli.registry import COMMANDS
from pipesched.errors import (
    InputOutputError,
    Interrupted,
    InvalidValue,
    PipeschedError,
    UsageError,
    exit_status,
)
from pipesched.settings import ENV_COMPLETE, Paths

HELP = "Keep a vector index exactly in step with a folder of Markdown, on a schedule."
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
NEED_TEARDOWN = frozenset({"chromadb", "onnxruntime", "ollama", "multiprocessing", "concurrent.futures"})

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
    json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
) -> None:
    out: Output = ctx.obj
    out.json = out.json or json
    if version:
        out.line(f"pipesched {__version__}")
        if out.json:
            out.document({"version": __version__})
        raise typer.Exit
    out.color = not (no_color or os.environ.get("NO_COLOR"))
    level = level_name(log_level)
    out.logged = logs.configure(level, log_format_name(log_format))
    if ctx.invoked_subcommand is None:
        if out.json:
            raise UsageError("no command was given", hint="see pipesched --help")
        out.note(ctx.get_help())
        raise typer.Exit(UsageError.exit_code)
    cwd = current_folder()
    ctx.obj = App(
        paths=Paths.resolve(file=file, state_dir=state_dir, output_dir=output_dir, cwd=cwd),
        cwd=cwd,
        color=out.color,
        log_level=level or None,
        log_format=log_format,
        out=out,
    )


def current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise InputOutputError("the current folder is gone", hint="cd to one that is there") from error


def level_name(flag: str | None) -> str:
    """The flag, else LOG_LEVEL; a bad variable is not worth failing a scheduled run for, a bad flag is."""
    name = (flag if flag is not None else os.environ.get("LOG_LEVEL", "")).upper()
    if name in LOG_LEVELS:
        return name
    if flag is not None:
        raise InvalidValue(f"--log-level: there is no level {flag!r}", hint=f"one of {', '.join(LOG_LEVELS)}")
    return ""


def log_style(arguments: Sequence[str]) -> str:
    """What --log-format will say, as far as that can be seen before the command line is parsed."""
    pairs = pairwise(arguments)
    return "json" if "--log-format=json" in arguments or ("--log-format", "json") in pairs else "text"


def log_format_name(flag: str) -> str:
    if flag not in {"text", "json"}:
        raise InvalidValue(f"--log-format: {flag!r} is neither text nor json", hint="use text or json")
    return flag


def execute(arguments: Sequence[str], out: Output) -> int:
    """Run one command line and return its exit status; errors are printed here, once.

    `out` is told beforehand whether --json was given, so that the parser's own errors are JSON too. Raises
    ReaderGoneError when nobody reads.
    """
    try:
        return _invoke(arguments, out)
    except streams.ReaderGoneError:
        raise
    except streams.OutputFailedError as error:
        out.note(f"error: cannot write the output: {error.strerror}")  # not as JSON, which would go there too
        streams.give_up_stdout()
        return InputOutputError.exit_code


def _invoke(arguments: Sequence[str], out: Output) -> int:
    command = typer.main.get_command(application)
    status = 0
    try:
        try:
            # Not command.main(): it prints and exits itself, and not as JSON.
            with command.make_context("pipesched", list(arguments), obj=out) as ctx:
                command.invoke(ctx)
        except typer.Exit as request:
            status = int(request.exit_code)
        sys.stdout.flush()
    except PipeschedError as error:
        return _report(error, out)
    except TyperException as error:
        return _report(_usage(error, arguments), out)
    except KeyboardInterrupt:
        return _report(Interrupted(signal.SIGINT), out)
    except Abort as answer:
        if isinstance(answer.__context__, KeyboardInterrupt):
            return _report(Interrupted(signal.SIGINT), out)
        return _report(PipeschedError("the answer was no: nothing was changed", code="declined"), out)
    except OSError as error:
        if not error.filename:
            raise  # the output's, or a bug: nothing that a user could mend is known of it
        from pipesched.files import os_error

        return _report(os_error("use", Path(os.fsdecode(error.filename)), error), out)
    return status


def _usage(error: TyperException, arguments: Sequence[str]) -> PipeschedError:
    context = getattr(error, "ctx", None)
    # An option without its value is told without a context.
    command = context.command_path if context else f"pipesched {_command(arguments)}".rstrip()
    message = error.format_message().strip().rstrip(".")
    option = getattr(error, "option_name", "")
    if option and context is not None and context.parent is not None:
        root_options = {name for parameter in context.find_root().command.params for name in parameter.opts}
        if option in root_options:
            return UsageError(
                f"{option} comes before the command", hint=f"pipesched {option} ... {context.info_name}"
            )
    return UsageError(message, hint=f"see {command} --help")


def _command(arguments: Sequence[str]) -> str:
    return next((argument for argument in arguments if argument in COMMANDS), "")


def _report(error: PipeschedError, out: Output) -> int:
    if not isinstance(error, Interrupted):  # who ends it does not wait for a reader that does not read
        sys.stdout.flush()  # before what is said on stderr
    if not out.json:
        out.note(f"error: {error.message}")
        if error.hint:
            out.note(f"hint: {error.hint}")
    elif not out.documents:
        out.document({"error": error.as_dict()})
    # else: what was printed stands; a stream that Ctrl-C ends (--follow --json) is complete as it is
    return exit_status(error)


def main() -> NoReturn:
    streams.prepare()
    plugins.look_for_none()
    if asked := os.environ.get(ENV_COMPLETE):
        from pipesched.cli.completion import answer

        _leave(answer(typer.main.get_command(application), asked))
    out = Output(json="--json" in sys.argv)
    out.logged = logs.configure(
        "", log_style(sys.argv)
    )  # what is wrong before the options are read is a line too
    sys.excepthook = _bug(out)
    try:
        code = execute(sys.argv[1:], out)
    except streams.ReaderGoneError:
        # It has what it wanted.
        streams.give_up_stdout()
        code = 128 + signal.SIGPIPE
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit, without the interpreter's taking itself apart where nothing needs it: 30 of the 200 ms of `list`."""
    import threading

    with contextlib.suppress(OSError):
        sys.stderr.flush()
    if threading.active_count() == 1 and not NEED_TEARDOWN & sys.modules.keys():
        os._exit(code)
    sys.exit(code)


def _bug(out: Output) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """What is no error of ours is a bug: loud, with its traceback, and a JSON document for who asked for one."""

    def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if out.logged:
            import logging

            logging.getLogger("pipesched").critical(
                "a bug: %s: %s", kind.__name__, error, exc_info=(kind, error, trace)
            )
        else:
            sys.__excepthook__(kind, error, trace)
        if issubclass(kind, KeyboardInterrupt):
            return
        hint = "this is a bug in pipesched; please report it with the traceback on stderr"
        if out.json and not out.documents:
            out.document(
                {"error": {"code": "internal", "message": f"{kind.__name__}: {error}", "hint": hint}}
            )
        else:
            out.note(f"hint: {hint}")

    return told
