"""PURE: what is said about a value that a model refuses."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ValidationError

from pipesched.errors import InvalidValue
from pipesched.jobs.model import SECRET_OPTIONS, CronTrigger, IntervalTrigger, Job, JobPolicy, OnceTrigger
from pipesched.options import PipelineConfig, got

_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "": Job,
    "cron": CronTrigger,
    "interval": IntervalTrigger,
    "once": OnceTrigger,
    "policy": JobPolicy,
    "config": PipelineConfig,
}
_WALL_TIMES: Final = ("timezone_aware", "datetime_parsing", "datetime_from_date_parsing")
_FLAGS: Final = {"tags": "--tag", "id": "JOB_ID"}


def explain(
    error: ValidationError,
    *,
    option: bool = False,
    models: Mapping[str, type[BaseModel]] = _MODELS,
) -> InvalidValue:
    """One readable error of ours for pydantic's list; `option`: name the flag rather than the file's key.

    `models`: what the keys at each place are of, "" for the top. A secret's value is never repeated.
    """
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    parts = [part for part in location if part not in {"cron", "interval", "once"}]
    names = [part for part in parts if not part.isdecimal()]
    name = names[-1] if names else ""
    flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
    spelled = flag if option and name else ".".join(parts)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        group = location[1] if location[0] == "trigger" and len(location) > 2 else ".".join(names[:-1])
        known = _keys(models.get(group, models[""]))
        near = difflib.get_close_matches(name, known, n=1)
        return InvalidValue(
            f"{spelled}: there is no such setting",
            hint=f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}",
        )
    if first["type"] == "missing":
        return InvalidValue(f"{spelled} is missing", hint="see docs/job-file.md, or: pipesched show --help")
    if first["type"] == "string_pattern_mismatch" and name in {"id", "after"}:
        message = "a job id has 1 to 64 letters, digits, dots, dashes, underscores, a letter or digit first"
    elif first["type"] == "string_pattern_mismatch":
        message = "a tag has 1 to 64 characters without spaces and commas"
    secret = bool(SECRET_OPTIONS & set(names))
    given = first.get("input")
    shown = "" if secret or not names or isinstance(given, dict | BaseModel) else got(given)
    return InvalidValue(
        f"{spelled + ': ' if spelled else ''}{message}{shown}", hint=_hint(first["type"], name)
    )


def _keys(model: type[BaseModel]) -> list[str]:
    return [
        "every" if key == "seconds" else key for key, field in model.model_fields.items() if not field.exclude
    ]


def _hint(kind: str, name: str) -> str:
    if kind in _WALL_TIMES:
        return "write it as 2027-01-31T09:00:00+01:00, or without offset in the job's zone"
    if name in {"grace", "timeout", "retry_delay", "jitter", "every"}:
        return "durations are written 90s, 30m, 2h, 1d, 1h30m"
    if name in {"not_during", "calendar"}:
        return "see docs/time.md"
    return "see pipesched add-cron --help for what it may be"
