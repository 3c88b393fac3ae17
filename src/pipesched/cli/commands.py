"""Typer commands from plain functions: `app` comes first, dataclasses of options are expanded, --json is on each."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_command_from_info
from typer.models import CommandInfo

from pipesched.cli.app import App
from pipesched.cli.registry import COMMANDS, Entry

if TYPE_CHECKING:
    from typer._click.core import Command, Context

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel="Output")]


def as_typer(function: Callable[..., None]) -> Callable[..., None]:
    """`function(app, ...)` with a signature that Typer reads.

    A parameter annotated with a dataclass stands for that dataclass's fields, each an Annotated option with a default.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    groups: dict[str, tuple[type[Any], tuple[str, ...]]] = {}
    own: list[str] = []
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            field_hints = typing.get_type_hints(hint, include_extras=True)
            names = tuple(field.name for field in dataclasses.fields(hint))
            groups[name] = (hint, names)
            parameters.extend(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    annotation=field_hints[field.name],
                    default=field.default,
                )
                for field in dataclasses.fields(hint)
            )
        else:
            own.append(name)
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hint))
    parameters.append(
        inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, annotation=JsonFlag, default=False)
    )

    def command(**values: Any) -> None:
        app: App = values["ctx"].obj
        app.out.json = app.out.json or values["json"]
        arguments = {name: values[name] for name in own}
        for name, (kind, names) in groups.items():
            arguments[name] = kind(**{field: values[field] for field in names})
        function(app, **arguments)

    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def build(entry: Entry) -> Command:
    """Import `entry`'s module and make its command."""
    module, name = entry.target.split(":")
    function = getattr(import_module(f"pipesched.cli.{module}"), name)
    info = CommandInfo(name=entry.name, callback=as_typer(function), rich_help_panel=entry.panel)
    command = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
    for parameter in command.params:
        if isinstance(parameter, TyperArgument):
            parameter.__class__ = Argument
        elif isinstance(parameter, TyperOption):
            parameter.__class__ = Option
    return command


class Option(TyperOption):
    """An option whose values a shell can complete."""

    def shell_complete(self, ctx: Context, incomplete: str) -> list[Any]:
        from pipesched.cli.completion import values

        return values(ctx, self, incomplete)


class Argument(TyperArgument):
    """An argument that help shows as its metavar is written: JOB_ID, [JOB_ID]; Typer writes {JOB_ID} <str>, [[JOB_ID]].

    A shell can complete its values.
    """

    def shell_complete(self, ctx: Context, incomplete: str) -> list[Any]:
        from pipesched.cli.completion import values

        return values(ctx, self, incomplete)

    def get_usage_pieces(self, ctx: Context) -> list[str]:  # noqa: ARG002  Typer's signature
        return [self.display_name_raw]

    def display_type_rich(self, ctx: Context) -> str:  # noqa: ARG002  Typer's signature
        return ""


class LazyGroup(TyperGroup):
    """The root command: a subcommand's module is imported when it is invoked, not before."""

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002  Typer's signature
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002  Typer's signature
        entry = COMMANDS.get(cmd_name)
        return build(entry) if entry else None

    def format_commands(self, ctx: Context, formatter: Any) -> None:  # noqa: ARG002  Typer's signature
        """The list of commands by panel, from the registry alone."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for entry in COMMANDS.values():
            panels.setdefault(entry.panel, []).append((entry.name, entry.help))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: Context, incomplete: str) -> list[Any]:
        """Commands from the registry, importing none of them, and the global options."""
        from typer._click.shell_completion import CompletionItem

        commands = [
            CompletionItem(entry.name, help=entry.help)
            for entry in COMMANDS.values()
            if entry.name.startswith(incomplete)
        ]
        return [*commands, *super(TyperGroup, self).shell_complete(ctx, incomplete)]

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)
