"""How a run ended: from its exit, why it was being ended, and its report to a status, a reason and what follows."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pipesched.daemon.launch import Exit
from pipesched.daemon.processes import signal_name
from pipesched.runs.model import CHUNKS, DRIFTED, WITHHELD
from pipesched.runs.process import GONE

Status = Literal["succeeded", "partial", "failed", "timeout", "interrupted", "lost"]
StopKind = Literal["timeout", "replaced", "drained", "cancelled"]

EXIT_PARTIAL: Final = 3
EXIT_BUSY: Final = 75
_ASKED_TO_END: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_CRASHES: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})
_REASON_LENGTH: Final = 500
_ERROR_LINE: Final = re.compile(r"^error: (.+)$|^(\w+(?:\.\w+)*(?:Error|Exception): .+)$", re.MULTILINE)
_JSON_ERROR: Final = re.compile(
    r'^\{.*"level": "(?:error|critical)".*?"message": ("(?:[^"\\]|\\.)*")', re.MULTILINE
)
"""As --log-format json has it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the daemon is ending a run, in words for its record."""

    kind: StopKind
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ledger is told. `exit_code` is 128 + the signal's number where a signal ended the run, None if unknown.

    `busy`: the run did nothing because its store was in use; it is queued again instead.
    """

    status: Status
    exit_code: int | None
    reason: str
    busy: bool = False


def judge(ended: Exit, *, stop: Stop | None, report: Mapping[str, Any] | None) -> Verdict:
    """`stop`: why this daemon asked the run to end, if it did. `report`: the run's own, if it wrote one."""
    if ended.code is None and ended.signal is None:
        return _unwatched(stop, report)
    code = 128 + ended.signal if ended.signal is not None else ended.code
    if code == 0:
        return Verdict("succeeded", 0, "")
    if code == EXIT_PARTIAL:
        return Verdict("partial", EXIT_PARTIAL, _said(ended, report) or "some documents failed")
    if stop is not None:
        return _stopped(stop, code)
    if ended.signal is not None:
        return _signalled(ended, ended.signal)
    if code == EXIT_BUSY:
        return Verdict("failed", EXIT_BUSY, _said(ended, report) or "the store is busy", busy=True)
    if code in {128 + number for number in _ASKED_TO_END}:
        return Verdict("interrupted", code, f"ended by {signal_name((code or 128) - 128)} from outside")
    return Verdict("failed", code, _said(ended, report) or f"exit status {code}")


def _stopped(stop: Stop, code: int | None) -> Verdict:
    return Verdict("timeout" if stop.kind == "timeout" else "interrupted", code, stop.reason)


def _signalled(ended: Exit, number: int) -> Verdict:
    name = signal_name(number)
    code = 128 + number
    if number in _ASKED_TO_END:
        return Verdict("interrupted", code, f"ended by {name} from outside")
    if number == signal.SIGKILL:
        if ended.out_of_memory:
            return Verdict(
                "failed", code, "killed by SIGKILL: out of memory (the kernel counted an OOM kill)"
            )
        return Verdict("failed", code, "killed by SIGKILL, possibly out of memory")
    if number in _CRASHES:
        return Verdict("failed", code, f"crashed: {name}")
    return Verdict("failed", code, f"killed by {name}")


def _unwatched(stop: Stop | None, report: Mapping[str, Any] | None) -> Verdict:
    """A run that an earlier daemon started: nobody could take its exit status, its report says how it ended."""
    status = None if report is None else report.get("status")
    if report is None or status not in {"succeeded", "partial", "failed", "interrupted", "timeout"}:
        if stop is not None:
            return _stopped(stop, None)
        return Verdict("lost", None, GONE)
    code = report.get("exit_code")
    message = "" if status == "succeeded" else str(report.get("message") or "")
    if stop is not None and status not in {"succeeded", "partial"}:
        return _stopped(stop, code if isinstance(code, int) else None)
    return Verdict(
        status,
        code if isinstance(code, int) else None,
        message[:_REASON_LENGTH],
        busy=code == EXIT_BUSY,
    )


def _said(ended: Exit, report: Mapping[str, Any] | None) -> str:
    """The run's own words: its report's message, else the last error that it printed."""
    if report is not None and report.get("message"):
        return str(report["message"])[:_REASON_LENGTH]
    found = [match[1] or match[2] for match in _ERROR_LINE.finditer(ended.tail)]
    found = found or [str(json.loads(said)) for said in _JSON_ERROR.findall(ended.tail)]
    return found[-1].strip()[:_REASON_LENGTH] if found else ""


def document_counts(report: Mapping[str, Any] | None) -> dict[str, int] | None:
    """Documents by what became of them, from a report; None where there is none, or it was a dry run."""
    if report is None or report.get("dry_run"):
        return None
    stats = report.get("stats")
    if not isinstance(stats, Mapping):
        return None
    names = {
        "new": "new_documents",
        "modified": "modified_documents",
        "renamed": "renamed_documents",
        "deleted": "deleted_sources",
        "unchanged": "unchanged_documents",
        "skipped": "skipped_documents",
        "failed": "failed_documents",
        CHUNKS: "total_chunks",
        WITHHELD: "withheld_deletes",
        DRIFTED: "drifted_chunks",
    }
    return {name: int(stats.get(key) or 0) for name, key in names.items()}
