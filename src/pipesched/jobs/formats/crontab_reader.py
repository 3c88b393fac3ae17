"""A crontab to jobs: each line that runs `pipesched run` is one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from pipesched.errors import DataError, InvalidValue
from pipesched.jobs.build import build_job, checked_id
from pipesched.jobs.formats import commandline
from pipesched.jobs.formats.model import Context, Found, Reading, Refused
from pipesched.jobs.triggers import TriggerOptions, build_trigger
from pipesched.schedule.zones import load_zone
from pipesched.settings import ENV_PREFIX, JOB_ID_PATTERN

FORMAT: Final = "a crontab"
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)")
_LINE = re.compile(r"(@[A-Za-z]+|\S+(?:[ \t]+\S+){4})[ \t]+(\S.*)")
_SCHEDULE = re.compile(r"@[A-Za-z]+|[-*0-9A-Za-z,/?#()~]+")
_PERCENT = re.compile(r"(?<!\\)(?:\\\\)*%")


@dataclass
class _Lines:
    """What the lines above the one at hand have said."""

    zone: str
    comment: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read(text: str, *, name: str, context: Context) -> Reading:
    """The jobs of a user's crontab. Raises DataError when no line of it looks like one."""
    if "\0" in text:
        raise _no_crontab(name)
    state = _Lines(context.zone)
    entries: list[Found | Refused] = []
    recognised = False
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip(" \t")
        if not line:
            state.comment = ""
        elif line.startswith("#"):
            state.comment = line.lstrip("#").strip()
        elif (variable := _VARIABLE.fullmatch(line)) is not None:
            recognised = True
            try:
                _set(state, variable[1], variable[2].strip())
            except InvalidValue as error:
                entries.append(Refused.because(f"line {number}", error))
        else:
            recognised = _LINE.fullmatch(line) is not None or recognised
            entries.append(_entry(line, number, state, context))
            state.comment = ""
    if entries and not recognised:
        raise _no_crontab(name)
    return Reading(FORMAT, tuple(entries), tuple(state.warnings))


def _no_crontab(name: str) -> DataError:
    return DataError(
        f"{name} cannot be read as a file of jobs: it is neither JSON nor a crontab",
        hint="a crontab's lines are: minute hour day month weekday command",
    )


def _set(state: _Lines, name: str, text: str) -> None:
    """Take in `NAME=value`. Raises InvalidValue for a zone that there is not."""
    value = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    if name in {"CRON_TZ", "TZ"}:
        load_zone(value)
        if name == "CRON_TZ" or "CRON_TZ" not in state.environment:
            state.zone = value
        if name == "TZ":
            state.warnings.append(
                f"TZ={value} was taken for the zone of the lines below it; some crons read only CRON_TZ so"
            )
        state.environment[name] = value
    elif name.startswith(ENV_PREFIX):
        state.environment[name] = value
    else:
        state.warnings.append(f"the variable {name} does not come along")


def _entry(line: str, number: int, state: _Lines, context: Context) -> Found | Refused:
    label = state.comment if re.fullmatch(JOB_ID_PATTERN, state.comment) else f"line {number}"
    match = _LINE.fullmatch(line)
    if match is None or not all(_SCHEDULE.fullmatch(part) for part in match[1].split()):
        return Refused(
            label, f"line {number} is no crontab line: {line!r:.80}", "minute hour day month weekday command"
        )
    if _PERCENT.search(match[2]):
        return Refused(
            label, "its command has a %, after which all is its input", r"write \% for the sign itself"
        )
    try:
        environment = {key: value for key, value in state.environment.items() if key.startswith(ENV_PREFIX)}
        command = commandline.read(match[2].replace("\\%", "%"), environment=environment)
        job_id, description = _names(state.comment, command.job_id, number)
        label = job_id
        checked_id(job_id)
        trigger = build_trigger(
            TriggerOptions(expression=match[1]), job_id=job_id, zone=state.zone, now=context.now
        )
        given = {"description": description}
        job = build_job(job_id, trigger, given, command.config, zone=state.zone, now=context.now)
    except InvalidValue as error:
        return Refused(label, error.message, error.hint)
    return Found(job, command.warnings)


def _names(comment: str, in_command: str | None, number: int) -> tuple[str, str]:
    """The job's id and its description: a comment of one word is an id, a longer one says what the job is for."""
    if re.fullmatch(JOB_ID_PATTERN, comment):
        return comment, ""
    description = "".join(sign for sign in comment if sign.isprintable())[:2000]
    return in_command or f"line_{number}", description
