"""What a file of jobs is, told by its content, and its jobs."""

from __future__ import annotations

import json
from typing import Any

from pipesched.errors import DataError
from pipesched.jobs.encoding import TABLES, json_type, without_doubles
from pipesched.jobs.formats import crontab_reader, foreign, own
from pipesched.jobs.formats.model import Context, Reading

_SHAPES = "pipesched's export or job file, another scheduler's JSON with a list of jobs, or a crontab"


def read(data: bytes, *, name: str, context: Context) -> Reading:
    """The jobs in `data`. `name`: the file's, for messages. Raises DataError when it is none of the known formats."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(name, f"it is not UTF-8 (byte {error.start})") from error
    if not text.strip():
        raise _unreadable(name, "it is empty")
    if text.lstrip()[0] not in "{[":
        return crontab_reader.read(text, name=name, context=context)
    document = _json(text, name)
    if isinstance(document, list):
        document = {"jobs": document}
    jobs = document.get("jobs")
    if isinstance(jobs, dict) and set(document) <= set(TABLES):
        return own.read_job_file(data, name=name, context=context)
    if not isinstance(jobs, list):
        what = "there are no jobs in it" if jobs is None else f"its jobs are a {json_type(jobs)}, not a list"
        raise _unreadable(name, what)
    if "schema_version" in document:
        return own.read(document, name=name, context=context)
    return foreign.read(document, context=context)


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=without_doubles)
    except json.JSONDecodeError as error:
        raise _unreadable(name, f"line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(name, str(error)) from error


def _unreadable(name: str, reason: str) -> DataError:
    return DataError(f"{name} cannot be read as a file of jobs: {reason}", hint=f"it may be {_SHAPES}")
