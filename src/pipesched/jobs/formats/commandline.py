"""A shell line that runs pipesched, as in a crontab, to the options in it."""

from __future__ import annotations

import difflib
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipesched.errors import InvalidValue
from pipesched.options import (
    PATH_OPTIONS,
    PIPELINE_OPTIONS,
    PipelineConfig,
    from_environment,
    is_server,
    variable,
)
from pipesched.settings import ENV_PREFIX

_BOOLEANS: Final = frozenset(
    name for name, field in PipelineConfig.model_fields.items() if "bool" in str(field.annotation)
)
_GLOBAL_VALUES: Final = ("--file", "--state-dir", "--output-dir", "--log-level", "--log-format")
_GLOBAL_SWITCHES: Final = ("--no-color", "--json")
_RUN_VALUES: Final = ("--wait", "--run-id", "--scheduled-for", "--attempt")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_QUOTED: Final = r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*\""""
_STREAM = re.compile(rf"{_QUOTED}|(?<!\S)([012])(?=[<>])", re.DOTALL)  # the number in 2>&1
_SHELL_PART = re.compile(rf"{_QUOTED}|.", re.DOTALL)
_REPLACED: Final = ("$", "`")
_MATCHED: Final = ("*", "?", "[")


@dataclass(frozen=True, slots=True)
class Command:
    """`job_id`: the JOB of `pipesched run JOB`, None without one. `warnings`: what of the line does not come along."""

    job_id: str | None
    config: PipelineConfig
    warnings: tuple[str, ...] = ()


def read(line: str, *, environment: Mapping[str, str]) -> Command:
    """The options of `[cd DIR &&] [NAME=VALUE...] pipesched [...] run [JOB] [...] [>> log]`.

    `environment`: the variables that hold for it. Raises InvalidValue for any other command: a job runs the pipeline,
    and nothing else.
    """
    warnings: list[str] = []
    words = _words(line)
    folder = None
    if words[:1] == ["cd"] and len(words) > 2 and words[2] == "&&":
        folder, words = words[1], words[3:]
    words = _without_redirections(words, warnings)
    variables = dict(environment)
    while words and (match := _ASSIGNMENT.fullmatch(words[0])):
        variables[match[1]] = match[2]
        warnings += variable_warnings(match[1])
        words = words[1:]
    arguments = _after_program(words)
    for word in words:
        if word in {";", "&", "&&", "|", "||", "(", ")"}:
            raise _not_ours(f"it has a {word!r}")
    job_id, values, said = _arguments(arguments)
    warnings += said
    values = {**from_environment(variables).set_values(), **values}
    if folder is not None:
        warnings.append(
            f"it ran in {folder}: what its line does not say is taken from the job file's folder now"
        )
    for name in PATH_OPTIONS:
        path = values.get(name)
        if isinstance(path, str) and not is_server(path) and not path.startswith(("/", "~")):
            if folder is not None:
                values[name] = path = posixpath.join(folder, path)
            if not path.startswith(("/", "~")):
                warnings.append(f"--{name.replace('_', '-')} {path} is now taken from the job file's folder")
    return Command(job_id, PipelineConfig.checked(values), tuple(warnings))


def _words(line: str) -> list[str]:
    unnumbered = _STREAM.sub(lambda match: "" if match[1] else match[0], line)
    lexer = shlex.shlex(unnumbered, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise InvalidValue(f"its command cannot be read: {error}", hint="look at its quotes") from error
    # What the shell would replace cannot be known here.
    expanded, bare = _unquoted(line)
    for signs, text in ((_REPLACED, expanded), (_MATCHED, bare)):
        for sign in signs:
            if sign in text:
                raise _not_ours(
                    f"the shell would replace the {sign} in it",
                    "put what is meant as it is between single quotes",
                )
    return words


def _unquoted(line: str) -> tuple[str, str]:
    """What of it the shell looks through for variables, and what for names of files: that is outside of quotes alone."""
    expanded, bare = [], []
    for part in _SHELL_PART.findall(line):
        if part[0] == '"' and len(part) > 1:
            expanded.append(part)  # with what is escaped in it, whose backslash shlex would leave there
        elif len(part) == 1:
            expanded.append(part)
            bare.append(part)
    return "".join(expanded), "".join(bare)


def variable_warnings(name: str) -> list[str]:
    """What is to be said of a variable that is set for the line: nothing where it is an option's."""
    known = [variable(option) for option in PIPELINE_OPTIONS]
    if name in known:
        return []
    near = difflib.get_close_matches(name, known, n=1) if name.startswith(ENV_PREFIX) else []
    return [f"the variable {name} does not come along" + (f"; did you mean {near[0]}?" if near else "")]


def _without_redirections(words: Sequence[str], warnings: list[str]) -> list[str]:
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in {">", ">>", "<", ">&", "<&", "&>", "&>>"}:
            if rest:
                rest.pop(0)
            said = "its redirection does not come along: a run's output is kept, see pipesched logs"
            if said not in warnings:
                warnings.append(said)
        else:
            kept.append(word)
    return kept


def _after_program(words: Sequence[str]) -> list[str]:
    """What follows `pipesched` or `python -m pipesched`."""
    if words:
        program = posixpath.basename(words[0])
        if program == "pipesched":
            return list(words[1:])
        if re.fullmatch(r"python[0-9.]*", program) and list(words[1:3]) == ["-m", "pipesched"]:
            return list(words[3:])
        if len(words) > 1 and posixpath.basename(words[1]) == "pipesched":
            raise _not_ours(
                f"it starts with {words[0]!r:.40}, as a system crontab has a user there", "take that word out"
            )
    raise _not_ours("it does not run pipesched")


def _not_ours(reason: str, hint: str = "") -> InvalidValue:
    return InvalidValue(
        f"its command cannot become a job: {reason}",
        hint=hint or "a job runs the pipeline: the command has to be pipesched run JOB, with its options",
    )


def _arguments(arguments: Sequence[str]) -> tuple[str | None, dict[str, object], list[str]]:
    values: dict[str, object] = {}
    warnings: list[str] = []
    command: str | None = None
    job_id: str | None = None
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-"):
            if command is None and word != "run":
                raise _not_ours(f"it is pipesched {word}, not pipesched run")
            if command is None:
                command = word
            elif job_id is None:
                job_id = word
            else:
                raise _not_ours(f"it has {word!r:.40} too many")
            continue
        name, equals, value = word.partition("=")
        given = value if equals else None
        if name in _GLOBAL_SWITCHES:
            continue
        if name in _GLOBAL_VALUES:
            taken = _value(name, given, rest)
            if name in {"--state-dir", "--output-dir"}:
                warnings.append(f"{name} {taken} does not come along: it is the scheduler's own")
            if name == "--file":
                warnings.append(
                    f"options that its job has in {taken} do not come along; only those of the line do"
                )
            continue
        if name in _RUN_VALUES:
            warnings.append(f"{name} {_value(name, given, rest)} does not come along")
            continue
        option, value_of = _option(name)
        if value_of is not None and given is not None:
            raise InvalidValue(
                f"{name} takes no value", hint=f"write --{option.replace('_', '-')} or its --no-"
            )
        values[option] = value_of if value_of is not None else _value(name, given, rest)
    if command is None:
        raise _not_ours("it does nothing")
    return job_id, values, warnings


def _option(name: str) -> tuple[str, bool | None]:
    """The pipeline option of a flag, and what a boolean one says."""
    option = name.removeprefix("--").replace("-", "_")
    if option in _BOOLEANS:
        return option, True
    if option.removeprefix("no_") in _BOOLEANS:
        return option.removeprefix("no_"), False
    if option in PIPELINE_OPTIONS:
        return option, None
    flags = [f"--{known.replace('_', '-')}" for known in PIPELINE_OPTIONS]
    near = difflib.get_close_matches(name, flags, n=1)
    raise InvalidValue(
        f"pipesched run has no option {name!r:.40}",
        hint=f"did you mean {near[0]}?" if near else "see pipesched run --help",
    )


def _value(name: str, given: str | None, rest: Iterator[str]) -> str:
    value = given if given is not None else next(rest, None)
    if value is None:
        raise InvalidValue(f"{name} has no value", hint="see pipesched run --help")
    return value
