"""The job file's bytes: JSON to tables and back, and what earlier versions looked like."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pipesched.errors import DataError
from pipesched.jobs.model import SECRET_OPTIONS, CronTrigger, IntervalTrigger, OnceTrigger
from pipesched.settings import SCHEMA_VERSION

Json = dict[str, Any]
Tables = dict[str, dict[str, Any]]
TABLES: Final = ("meta", "defaults", "jobs")
_LONGEST_NUMBER: Final = 19


def parse(data: bytes, *, name: str) -> Tables:
    """The three tables in `data`, each `{"1": {...}, ...}`. Raises DataError when it is no job file."""
    try:
        raw = json.loads(data.decode("utf-8-sig"), object_pairs_hook=without_doubles)
    except UnicodeDecodeError as error:
        raise _damaged(name, f"it is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        where = "it is empty" if not data.strip(b" \t\r\n\0") else f"line {error.lineno}: {error.msg}"
        raise _damaged(name, where) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(name, str(error)) from error
    if not isinstance(raw, dict):
        raise _damaged(name, f"its top level is a {json_type(raw)}, not an object")
    for key in raw:
        if key not in TABLES:
            near = difflib.get_close_matches(key, TABLES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the tables are {', '.join(TABLES)}"
            raise DataError(f"{name} cannot be used: there is no table {key!r}", hint=hint)
    return {table: _table(table, raw.get(table, {}), name=name) for table in TABLES}


def _table(table: str, raw: object, *, name: str) -> dict[str, Any]:
    """Documents by TinyDB's numbers. People also write one document without its number, or other words for numbers."""
    if isinstance(raw, list) and table == "jobs":
        raise DataError(
            f"{name} cannot be used: its jobs are a list, as in other schedulers' files",
            hint=f"move it away, then: pipesched import {name}",
        )
    if not isinstance(raw, dict):
        raise _damaged(name, f"{table} is a {json_type(raw)}, not an object")
    if table != "jobs":
        return raw if all(map(_is_number, raw)) else {"1": raw}
    following = _highest(raw)
    numbered: dict[str, Any] = {}
    for key, document in raw.items():
        if _is_number(key):
            numbered[key] = document
        else:
            following += 1
            numbered[str(following)] = {"id": key, **document} if isinstance(document, dict) else document
    return numbered


def _is_number(key: str) -> bool:
    """Whether TinyDB writes a document's number so: to it 01 is 1 too, and one of the two would be lost."""
    return key.isascii() and key.isdecimal() and len(key) < _LONGEST_NUMBER and str(int(key)) == key


def _highest(keys: Iterable[str]) -> int:
    return max((int(key) for key in keys if _is_number(key)), default=0)


def without_doubles(pairs: list[tuple[str, Any]]) -> Json:
    """An object; two jobs under one number (a block that was copied) are both kept, other doubles refused."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    following = _highest(found)
    kept: Json = {}
    for key, value in pairs:
        if key not in seen:
            seen.add(key)
            kept[key] = value
        elif isinstance(value, dict) and "trigger" in value and _is_number(key):
            following += 1
            kept[str(following)] = value
        else:
            raise ValueError(f"the key {key!r:.80} is there twice in one object")
    return kept


def json_type(value: object) -> str:
    return {list: "list", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def _damaged(name: str, reason: str) -> DataError:
    return DataError(
        f"{name} cannot be read as a job file: {reason}",
        hint=f"mend it or put a backup back ({name}.bak, if there is one); nothing was changed",
    )


def schema_version(tables: Tables, *, name: str) -> int:
    """The version in `meta`; a file written by hand may have none. Raises DataError when it is no number."""
    meta: Any = next(iter(tables["meta"].values()), {})
    version = meta.get("schema_version", SCHEMA_VERSION) if isinstance(meta, dict) else meta
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise _damaged(name, f"schema_version is {version!r}, not a number")
    return version


def serialise(tables: Tables) -> bytes:
    """Indented JSON, tables and keys in a fixed order, so that two versions of the file diff well."""
    import orjson

    ordered = {table: tables.get(table, {}) for table in TABLES}
    try:
        return orjson.dumps(ordered, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Something a person wrote that orjson refuses (a lone surrogate, an integer over 64 bits) is kept as it is.
        return (json.dumps(ordered, indent=2) + "\n").encode()


def holds_secrets(tables: Tables) -> bool:
    """Whether a job has a target of notify or ping that is written out: its URL may have a password or a token in it."""
    for job in tables["jobs"].values():
        policy = job.get("policy") if isinstance(job, dict) else None
        if not isinstance(policy, dict):
            continue
        for option in SECRET_OPTIONS:
            given = policy.get(option)
            targets = given if isinstance(given, list) else [given]
            if any(isinstance(target, str) and not target.startswith("env:") for target in targets):
                return True
    return False


def migrate(tables: Tables, *, version: int) -> Tables:
    """`tables` in today's schema."""
    for step in range(version, SCHEMA_VERSION):
        tables = _MIGRATIONS[step](tables)
    return {**tables, "meta": {"1": {"schema_version": SCHEMA_VERSION}}}


def _from_0(tables: Tables) -> Tables:
    """Version 0 had a trigger's fields in the job itself: `{"id", "type": "cron", "expression", ...}`."""
    return {**tables, "jobs": {number: nested(document) for number, document in tables["jobs"].items()}}


_MIGRATIONS: Final[Mapping[int, Callable[[Tables], Tables]]] = {0: _from_0}


def nested(document: Any) -> Any:
    """A trigger written flat, or with its type beside it, put where it belongs."""
    if not isinstance(document, dict):
        return document
    kept = dict(document)
    if "job_id" in kept and kept.get("id", kept["job_id"]) == kept["job_id"]:
        kept["id"] = kept.pop("job_id")
    trigger = dict(kept["trigger"]) if isinstance(kept.get("trigger"), dict) else {}
    if "trigger" in kept and not trigger:
        return kept
    for model in (CronTrigger, IntervalTrigger, OnceTrigger):
        for key in (*model.model_fields, "every"):
            if key in kept and key not in trigger:
                trigger[key] = kept.pop(key)
    if "type" not in trigger:
        kinds = {"expression": "cron", "every": "interval", "seconds": "interval", "at": "once"}
        kind = next((kinds[key] for key in kinds if key in trigger), None)
        if kind is not None:
            trigger = {"type": kind, **trigger}
    if trigger:
        kept["trigger"] = trigger
    return kept
