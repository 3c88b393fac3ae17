"""How commands are made of functions, and laws that hold for every command of the registry."""

import subprocess
import sys
from dataclasses import dataclass, fields
from typing import Annotated, Any

import pytest
import typer

from pipesched.cli.app import App
from pipesched.cli.commands import as_typer, build
from pipesched.cli.main import application
from pipesched.cli.options import JobFlags, PipelineFlags
from pipesched.cli.output import Output
from pipesched.cli.registry import COMMANDS
from pipesched.options import PIPELINE_OPTIONS
from pipesched.settings import Paths

EVERY_COMMAND = pytest.mark.parametrize("name", COMMANDS)


def command(name: str) -> Any:
    return build(COMMANDS[name])


def spellings(name: str) -> list[str]:
    return [opt for p in command(name).params for opt in (*p.opts, *p.secondary_opts)]


@EVERY_COMMAND
def test_no_command_has_two_options_of_one_name(name: str) -> None:
    # Typer takes doubles without a word, and gives the value to the last.
    parameters = command(name).params
    names = [parameter.name for parameter in parameters]
    assert sorted(names) == sorted(set(names))
    assert sorted(spellings(name)) == sorted(set(spellings(name)))


@EVERY_COMMAND
def test_every_command_takes_json_and_shows_an_example(name: str) -> None:
    made = command(name)
    assert "--json" in spellings(name)
    text = made.get_help(made.context_class(made, info_name=name, terminal_width=100))
    assert f"Example: pipesched {name}" in " ".join(text.split()), text
    assert COMMANDS[name].help


@EVERY_COMMAND
def test_every_option_says_what_it_is_for(name: str) -> None:
    silent = [parameter.name for parameter in command(name).params if not parameter.help]
    assert silent == []


@EVERY_COMMAND
def test_no_command_shadows_a_global_option(name: str) -> None:
    group: Any = typer.main.get_command(application)
    globally = {opt for p in group.params for opt in p.opts} - {"--json"}
    assert not globally & set(spellings(name))


@pytest.mark.parametrize("flags", [PipelineFlags, JobFlags])
def test_a_boolean_that_is_not_given_is_none_and_has_its_no(flags: type) -> None:
    made = command("add-cron")
    context = made.make_context("add-cron", ["nightly", "0 2 * * *"])
    for field in fields(flags):
        assert context.params[field.name] in (None, ()), field.name
        parameter = next(p for p in made.params if p.name == field.name)
        if parameter.is_flag:
            assert parameter.secondary_opts == ["--no-" + field.name.replace("_", "-")]
            assert made.make_context("x", ["a", "b", parameter.opts[0]]).params[field.name] is True
            assert made.make_context("x", ["a", "b", parameter.secondary_opts[0]]).params[field.name] is False


def test_the_pipeline_flags_are_the_pipeline_options() -> None:
    assert tuple(field.name for field in fields(PipelineFlags)) == PIPELINE_OPTIONS


def test_the_defaults_that_help_names_are_the_built_in_ones() -> None:
    from pipesched.options import BUILT_IN

    for parameter in command("run").params:
        if parameter.name in PIPELINE_OPTIONS and (help_text := parameter.help or "").endswith("]."):
            value = getattr(BUILT_IN, parameter.name)
            shown = (
                {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
            )
            assert help_text.rpartition("[")[2] == f"{shown}].", parameter.name


@dataclass(frozen=True, kw_only=True)
class Flags:
    color: Annotated[str | None, typer.Option("--paint")] = None


def test_a_dataclass_of_options_is_expanded_and_given_back() -> None:
    seen: list[Any] = []

    def paint(app: App, what: Annotated[str, typer.Argument()], *, flags: Flags) -> None:
        seen.append((app, what, flags))

    single = typer.Typer(add_completion=False)
    single.command()(as_typer(paint))
    app = App(paths=Paths.resolve(environ={}), out=Output())
    made: Any = typer.main.get_command(single)
    with made.make_context("paint", ["door", "--paint", "red", "--json"], obj=app) as context:
        made.invoke(context)
    assert seen == [(app, "door", Flags(color="red"))]
    assert app.json


MODULES = """
import sys
from pipesched.cli.main import execute
from pipesched.cli.output import Output
execute({arguments!r}, Output())
print("\\n".join(sys.modules), file=sys.stderr)
"""


def modules_of(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", MODULES.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


def command_modules() -> set[str]:
    return {f"pipesched.cli.{entry.target.partition(':')[0]}" for entry in COMMANDS.values()}


def test_the_root_help_imports_no_command_and_no_rich() -> None:
    modules = modules_of("--help")
    assert not modules & command_modules()
    assert not {
        name for name in modules if name.partition(".")[0] in {"rich", "tinydb", "croniter", "sqlite3"}
    }


def test_a_command_imports_its_own_module_only() -> None:
    assert modules_of("search", "--help") & command_modules() == {"pipesched.cli.search"}
