"""A crontab to jobs: each line that runs `pipesched run` is one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pipesched.errors import DataError, InvalidValue
from pipesched.jobs.build import build_job, checked_id
from pipesched.jobs.formats import commandline
from pipesched.jobs.formats.model import Context, Found, Reading, Refused
from pipesched.jobs.triggers import TriggerOptions, build_trigger
from pipesched.schedule.parse import cron
from pipesched.schedule.zones import load_zone
from pipesched.settings import ENV_PREFIX, JOB_ID_PATTERN

FORMAT: Final = "a crontab"
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)")
_LINE = re.compile(r"(@[A-Za-z]+|\S+(?:[ \t]+\S+){4})[ \t]+(\S.*)")
_TIME = re.compile(r"[-*0-9Hh,/?()~]+")
_PERCENT = re.compile(r"(?<!\\)(?:\\\\)*%")


@dataclass
class _Lines:
    """What the lines above the one at hand have said. `zone`: None below one that cannot be used."""

    zone: str | None
    comments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read(text: str, *, name: str, context: Context) -> Reading:
    """The jobs of a user's crontab. Raises DataError when no line of it looks like one."""
    if "\0" in text:
        raise _no_crontab(name)
    state = _Lines(context.zone)
    entries: list[Found | Refused] = []
    recognised = False
    # Not splitlines: what is one line for cron (a comment with U+2028 in it) must be one here.
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r").strip(" \t")
        if not line:
            state.comments.clear()
        elif line.startswith("#"):
            comment = line.lstrip("#").strip()
            if _parts(comment) is None:
                state.comments.append(comment)
            else:  # a job that was commented out, and with it what was said of it
                state.comments.clear()
        elif (variable := _VARIABLE.fullmatch(line)) is not None:
            recognised = True
            try:
                _set(state, variable[1], variable[2].strip())
            except InvalidValue as error:
                entries.append(Refused.because(f"line {number}", error))
        else:
            recognised = _parts(line) is not None or recognised
            entries.append(_entry(line, number, state, context))
            state.comments.clear()
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
        holds = name == "CRON_TZ" or "CRON_TZ" not in state.environment
        if holds:
            state.zone = None
        load_zone(value)
        if holds:
            state.zone = value
        if name == "TZ":
            state.warnings.append(
                f"TZ={value} was taken for the zone of the lines below it; some crons read only CRON_TZ so"
            )
        state.environment[name] = value
    elif name.startswith(ENV_PREFIX):
        state.environment[name] = value
        state.warnings += commandline.variable_warnings(name)
    else:
        state.warnings += commandline.variable_warnings(name)


def _entry(line: str, number: int, state: _Lines, context: Context) -> Found | Refused:
    named, description = _names(state.comments)
    label = named or f"line {number}"
    parts = _parts(line)
    if parts is None:
        return Refused(
            label, f"line {number} is no crontab line: {line!r:.80}", "minute hour day month weekday command"
        )
    expression, command_text = parts
    zone = state.zone
    if zone is None:
        return Refused(label, "the zone above it cannot be used", "mend the CRON_TZ or TZ line above it")
    if _PERCENT.search(command_text):
        return Refused(
            label, "its command has a %, after which all is its input", r"write \% for the sign itself"
        )
    try:
        cron(expression, zone=zone, job_id="")
        environment = {key: value for key, value in state.environment.items() if key.startswith(ENV_PREFIX)}
        command = commandline.read(command_text.replace("\\%", "%"), environment=environment)
        label = job_id = named or command.job_id or f"line_{number}"
        checked_id(job_id)
        trigger = build_trigger(
            TriggerOptions(expression=expression), job_id=job_id, zone=zone, now=context.now
        )
        given = {"description": description}
        job = build_job(job_id, trigger, given, command.config, zone=zone, now=context.now)
    except InvalidValue as error:
        return Refused(label, error.message, error.hint)
    return Found(job, command.warnings)


def _parts(line: str) -> tuple[str, str] | None:
    """The schedule and the command; nothing for what cannot be a crontab line, such as a sentence."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    schedule = match[1].split()
    timed = len(schedule) == 1 or all(_TIME.fullmatch(part) for part in schedule[:2])
    return (match[1], match[2]) if timed else None


def _names(comments: Sequence[str]) -> tuple[str, str]:
    """The id and the description: the first comment of one word is the id, the others say what the job is for."""
    job_id = next((comment for comment in comments if re.fullmatch(JOB_ID_PATTERN, comment)), "")
    others = " ".join(comment for comment in comments if comment != job_id)
    return job_id, "".join(sign for sign in others if sign.isprintable())[:2000]
