"""Run reports, statistics and the CI summary, as files in the output folder."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

from pipesched import files
from pipesched.errors import CannotCreate, DataError, InputOutputError, NotFound, NotPermitted
from pipesched.report import RunReport
from pipesched.runs.ids import nearest, time_prefix
from pipesched.settings import SCHEMA_VERSION

CI_SUMMARY: Final = "ci_summary.json"
_TIME: Final = r"[0-9]{8}T[0-9]{6}\.[0-9]{3}Z"
OUTPUT: Final = re.compile(
    rf"(?P<kind>report|statistics)-(?:(?P<own>{_TIME}-.+)|{_TIME}_(?P<given>.+))\.json"
)
"""The name of a report or of statistics, with the run's id: one made here begins with its time, another has it put before."""
_SHAPE: Final[Mapping[str, type | tuple[type, ...]]] = {
    "run_id": str,
    "job_id": (str, type(None)),
    "timestamp": str,
    "scheduled_for": (str, type(None)),
    "finished_at": str,
    "duration_seconds": (int, float),
    "status": str,
    "message": str,
    "dry_run": bool,
    "mode": str,
    "mode_reason": str,
    "stats": dict,
    "documents": list,
    "errors": list,
}
"""What makes a JSON file a report that can be shown."""
_OWN_ID: Final = re.compile(rf"{_TIME}-.+")


def write_report(report: RunReport, folder: Path) -> Path:
    """`report-<run id>.json`; the folder is made if needed.

    A run id that a foreign scheduler chose comes after the time, so that names always sort by time. Raises CannotCreate,
    InputOutputError, NotPermitted, as the others do.
    """
    return _write(folder / f"report-{_stem(report)}.json", report.as_json())


def write_statistics(report: RunReport, folder: Path) -> Path:
    """`statistics-<run id>.json`: the lengths of the indexed documents, in characters."""
    lengths = asdict(report.outcome.lengths)
    return _write(
        folder / f"statistics-{_stem(report)}.json",
        {"timestamp": report.timestamp, "run_id": report.run_id, **lengths},
    )


def write_ci_summary(report: RunReport, folder: Path) -> Path:
    """`ci_summary.json`: how the last run went, without its documents."""
    whole = report.as_json()
    keys = (
        "run_id", "job_id", "timestamp", "finished_at", "duration_seconds", "status", "success", "message", "dry_run", "mode",
        "mode_reason", "stats", "exit_code", "errors", "stats_file",
    )  # fmt: skip
    return _write(
        folder / CI_SUMMARY, {"schema_version": SCHEMA_VERSION, **{key: whole[key] for key in keys}}
    )


def remove_ci_summary(folder: Path) -> None:
    """So that nobody takes an earlier run's for that of one which does not come to write its own."""
    path = folder / CI_SUMMARY
    try:
        path.unlink(missing_ok=True)
    except NotADirectoryError:
        return
    except OSError as error:
        raise files.os_error("remove", path, error) from error


def list_reports(folder: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The newest `limit` reports, newest first, without `documents` and with `filename`; damaged and foreign files left out.

    Only as many files are read as are asked for: the names sort by time. A missing folder has none.
    """
    found: list[dict[str, Any]] = []
    for name in names(folder):
        if limit is not None and len(found) >= limit:
            break
        try:
            report = _read(folder / name)
        except (DataError, NotFound, NotPermitted, InputOutputError):
            continue
        report.pop("documents", None)
        found.append({**report, "filename": name})
    return found


def read_report(folder: Path, name: str) -> dict[str, Any]:
    """The report of that file name or run id, with `filename`.

    Raises NotFound (also for whatever could lead out of the folder), DataError (damaged), InputOutputError, NotPermitted.
    """
    for candidate in names(folder):
        if name in {candidate, candidate.removesuffix(".json"), run_id_of(candidate)}:
            return {**_read(folder / candidate), "filename": candidate}
    newest = list(islice(names(folder), 200))
    hint = nearest(name, (*filter(None, map(run_id_of, newest)), *newest), otherwise="see pipesched reports")
    raise NotFound(f"there is no report {name!r}", hint=hint, code="report_not_found")


def names(folder: Path) -> Iterator[str]:
    """File names of the reports in `folder`, newest first; nothing is opened."""
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if run_id_of(entry.name) is not None]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise files.os_error("read", folder, error) from error
    yield from sorted(found, reverse=True)


def run_id_of(filename: str) -> str | None:
    """None: not a report's name."""
    match = OUTPUT.fullmatch(filename)
    return (match["own"] or match["given"]) if match and match["kind"] == "report" else None


def _stem(report: RunReport) -> str:
    if _OWN_ID.fullmatch(report.run_id):
        return report.run_id
    started = datetime.fromisoformat(report.timestamp).astimezone(UTC)
    return f"{time_prefix(started)}_{report.run_id}"


def _write(path: Path, document: Mapping[str, Any]) -> Path:
    # A file name that is no UTF-8 has lone surrogates, which become \udcXX escapes: valid JSON, and read back the same.
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    _make(path.parent)
    files.write_atomic(path, text.encode("utf-8", "backslashreplace"))
    return path


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise files.os_error("create", folder, error) from error
        raise CannotCreate(
            f"cannot create the folder {folder}: {error.strerror}", hint="choose another with --output-dir"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    """Neither a link nor a pipe is followed: who may write into the folder must not choose what is shown."""
    try:
        with files.open_plain(path) as file:
            document = json.loads(file.read(), parse_float=_finite, parse_constant=_finite)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO}:
            raise NotFound(
                f"there is no report {path.name!r}", hint="see pipesched reports", code="report_not_found"
            ) from error
        raise files.os_error("read", path, error) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"the report {path} is damaged: {error}", hint=f"remove it: rm {path}") from error
    if not _is_report(document):
        raise DataError(f"{path} is not a run report", hint=f"remove it: rm {path}")
    return cast("dict[str, Any]", document)


def _finite(text: str) -> float:
    """No NaN and no number too large for one, which can be neither shown nor handed on as JSON."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _is_report(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and all(isinstance(document.get(key), kind) for key, kind in _SHAPE.items())
        and all(isinstance(each, dict) for each in (*document["documents"], *document["errors"]))
    )
