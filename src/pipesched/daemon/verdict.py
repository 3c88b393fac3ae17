"""How a run ended: from its exit, why it was being ended, and its report to a status, a reason and what follows."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pipesched.daemon.launch import Exit
from pipesched.daemon.processes import signal_name
from pipesched.errors import Busy
from pipesched.runs.model import COUNTED
from pipesched.runs.process import GONE

Status = Literal["succeeded", "partial", "failed", "timeout", "interrupted", "lost"]
StopKind = Literal["timeout", "replaced", "drained", "cancelled"]

EXIT_PARTIAL: Final = 3
_ASKED_TO_END: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_CRASHES: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})
_REASON_LENGTH: Final = 500
_ERROR_LINE: Final = re.compile(r"^error: (.+)$|^(\w+(?:\.\w+)*(?:Error|Exception): .+)$", re.MULTILINE)


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
    if ended.signal is not None:
        code = 128 + ended.signal
    elif ended.code is not None:
        code = ended.code
    else:
        return _unwatched(stop, report)
    if code == 0:
        return Verdict("succeeded", 0, "")
    if code == EXIT_PARTIAL:
        return Verdict("partial", EXIT_PARTIAL, _said(ended, report) or "some documents failed")
    if stop is not None:
        return _stopped(stop, code)
    if code - 128 in _ASKED_TO_END:
        return Verdict("interrupted", code, f"ended by {signal_name(code - 128)} from outside")
    if ended.signal is not None:
        return Verdict("failed", code, _killed(ended.signal, out_of_memory=ended.out_of_memory))
    if code == Busy.exit_code:
        return Verdict("failed", code, _said(ended, report) or "the store is busy", busy=True)
    return Verdict("failed", code, _said(ended, report) or f"exit status {code}")


def _stopped(stop: Stop, code: int | None) -> Verdict:
    return Verdict("timeout" if stop.kind == "timeout" else "interrupted", code, stop.reason)


def _killed(number: int, *, out_of_memory: bool) -> str:
    if number == signal.SIGKILL and out_of_memory:
        return "killed by SIGKILL: out of memory (the kernel counted an OOM kill)"
    if number == signal.SIGKILL:
        return "killed by SIGKILL, possibly out of memory"
    return f"{'crashed:' if number in _CRASHES else 'killed by'} {signal_name(number)}"


def _unwatched(stop: Stop | None, report: Mapping[str, Any] | None) -> Verdict:
    """A run that an earlier daemon started: nobody could take its exit status, its report says how it ended."""
    status = None if report is None else report.get("status")
    if report is None or status not in ("succeeded", "partial", "failed", "interrupted", "timeout"):
        if stop is not None:
            return _stopped(stop, None)
        return Verdict("lost", None, GONE)
    exit_code = report.get("exit_code")
    code = exit_code if isinstance(exit_code, int) else None
    if stop is not None and status not in {"succeeded", "partial"}:
        return _stopped(stop, code)
    message = "" if status == "succeeded" else str(report.get("message") or "")
    return Verdict(status, code, message[:_REASON_LENGTH], busy=code == Busy.exit_code)


def _said(ended: Exit, report: Mapping[str, Any] | None) -> str:
    """The run's own words: its report's message, else the last error that it printed."""
    if report is not None and report.get("message"):
        return str(report["message"])[:_REASON_LENGTH]
    found = [match[1] or match[2] for match in _ERROR_LINE.finditer(ended.tail)]
    found = found or list(_logged_errors(ended.tail))
    return found[-1].strip()[:_REASON_LENGTH] if found else ""


def _logged_errors(tail: str) -> Iterator[str]:
    """The errors in lines as --log-format json has them; whatever a run prints besides may look like one and be none."""
    for line in tail.split("\n"):
        if line.startswith("{"):
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                if entry["level"] in {"error", "critical"}:
                    yield str(entry["message"])


def document_counts(report: Mapping[str, Any] | None) -> dict[str, int] | None:
    """Documents by what became of them, from a report; None where there is none, or it was a dry run."""
    if report is None or report.get("dry_run"):
        return None
    stats = report.get("stats")
    if not isinstance(stats, Mapping):
        return None
    counts = {name: stats.get(key) for name, key in COUNTED.items()}
    return {name: count if isinstance(count, int) else 0 for name, count in counts.items()}
