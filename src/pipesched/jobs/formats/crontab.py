"""Jobs to a crontab: a line each, below `# id` and the zone that holds for it."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from typing import Final

from pipesched.errors import InvalidValue
from pipesched.jobs.formats import grids
from pipesched.jobs.formats.limits import policy_remarks, store_remarks, without_done
from pipesched.jobs.formats.model import Export, Refused, Remarks
from pipesched.jobs.formats.place import Place
from pipesched.jobs.model import Job, JobFile
from pipesched.schedule.fields import DAY, WEEKDAY, split

FILE: Final = "crontab"
_LONGEST: Final = 998
"""Characters of a command that Debian's cron and cronie take."""
_PLAIN: Final = re.compile(r"\*(/[0-9]+)?|(?!h)[0-9a-z]+(-(?!0+$|0+/|sun)[0-9a-z]+(/[0-9]+)?)?")
_UTC: Final = frozenset({"UTC", "Etc/UTC"})
_HEADER: Final = (
    "# Made by pipesched export --format crontab. While it is installed, do not run pipesched daemon as well.",
    "# CRON_TZ is read by cronie and others. Debian's cron knows nothing of it: there every line is in the machine's zone.",
)


def write(job_file: JobFile, *, place: Place, now: datetime) -> Export:
    """A crontab of every job that one can say."""
    remarks = Remarks()
    job_file, done = without_done(job_file, now, remarks)
    refused = []
    lines = [*_HEADER]
    zone = ""
    for job in job_file.jobs.values():
        try:
            own_zone, line = _line(job, place, remarks)
        except InvalidValue as error:
            refused.append(Refused(job.id, error.message, error.hint))
            continue
        lines.append("")
        if own_zone != zone:
            lines.append(f"CRON_TZ={own_zone}")
            zone = own_zone
        lines.append(f"# {job.id}")
        lines.append(line if job.enabled else f"# paused: {line}")
        if not job.enabled:
            remarks.add(job.id, "it is paused: its line is commented out")
        policy_remarks(job, remarks, said=("catch_up",) if job.schedule().at_start else ())
        if own_zone != place.machine_zone and not {own_zone, place.machine_zone} <= _UTC:
            remarks.add(
                job.id,
                f"its zone is not this machine's, {place.machine_zone}: it needs a cron that reads CRON_TZ",
            )
    store_remarks(job_file, place.options, remarks)
    return Export({FILE: "\n".join(lines) + "\n"}, remarks.lines(), tuple(refused), done)


def _line(job: Job, place: Place, remarks: Remarks) -> tuple[str, str]:
    """The zone and the line. Raises InvalidValue with the reason where a crontab cannot say it."""
    trigger = job.trigger
    zone = job.timezone
    if trigger.type == "once":
        raise InvalidValue(
            "a crontab cannot say a single time", hint="leave it to pipesched daemon, or to at(1)"
        )
    if trigger.type == "interval":
        expression = grids.cron_expression(trigger)
        zone = "UTC"
        if expression is None:
            raise InvalidValue(
                f"a crontab line cannot say {job.schedule().text}: it does not divide an hour or a day evenly",
                hint="leave it to pipesched daemon, or give it a cron expression",
            )
        if trigger.anchor.second or trigger.anchor.microsecond:
            remarks.add(job.id, "it runs at the whole minute, not at its grid's seconds")
    else:
        expression = cron_text(trigger.expression, job_id=job.id)
        if any(item[:1] in {"h", "H"} for item in re.split(r"[\s,]+", trigger.expression)):
            remarks.add(job.id, "its H is written as the number that it stands for")
    command = shlex.join(place.command("run", job.id))
    if "\\%" in command:
        raise InvalidValue(
            "cron cannot say a backslash before a percent sign, as in a path of its command",
            hint="move it to a folder without one",
        )
    if len(command) > _LONGEST:
        raise InvalidValue(f"its command has more than {_LONGEST} characters", hint="use shorter paths")
    return zone, f"{expression} {command}".replace("%", "\\%")


def cron_text(expression: str, *, job_id: str) -> str:
    """`expression` for any cron: each field as it is where every cron knows it, else in plain numbers.

    Raises InvalidValue for `L` and `#`.
    """
    text = " ".join(expression.split())
    if text.startswith("@"):
        return text.lower()
    fields = split(expression, job_id=job_id)
    for place in (DAY, WEEKDAY):
        for item in fields.fields[place].split(","):
            if "#" in item or "l" in re.sub("jul", "", item):
                raise InvalidValue(
                    f"cron does not know {fields.source[place]!r} (L and #)",
                    hint="leave it to pipesched daemon, or name the days",
                )
    return " ".join(
        source if _is_plain(source) else plain
        for source, plain in zip(fields.source, fields.fields, strict=True)
    )


def _is_plain(field: str) -> bool:
    """Whether every cron reads it alike: Debian's takes no `5/20`, and `fri-sun`, in which Sunday is 0, for no day at all."""
    return all(_PLAIN.fullmatch(item) for item in field.lower().split(","))
