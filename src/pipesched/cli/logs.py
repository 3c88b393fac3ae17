"""Log lines on stderr, as text or JSON, with levels that journald understands."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pipesched.cli.printable import json_line, printable

TEXT_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
JOURNAL_FORMAT: Final = "%(levelname)s %(name)s: %(message)s"
"""The journal has its own time."""
IDS: Final = ("job_id", "run_id")
PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
"""Of syslog, from which level on; what is below them all is 7, debug."""
_NOTES: Final = {"error": logging.ERROR, "warning": logging.WARNING}

_about: dict[str, str] = {}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and the ids of job and run where they are known.

    An exception is in `exception_type`, `exception_message` and `traceback`.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key in IDS:
            if value := getattr(record, key, None) or _about.get(key):
                entry[key] = str(value)
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception_type"] = record.exc_info[0].__name__
            entry["exception_message"] = str(record.exc_info[1])
            entry["traceback"] = self.formatException(record.exc_info)
        return json_line(entry, sys.stderr)


class TextFormatter(logging.Formatter):
    """`2026-11-24T09:00:00+00:00 INFO pipesched.daemon: ...`, one line but for a traceback, nothing that steers a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's
        return printable(super().formatMessage(record)).replace("\n", "\\n")

    def formatException(self, ei: Any) -> str:  # noqa: N802  logging's
        return printable(super().formatException(ei))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  logging's
        return datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="seconds")


class JournalFormatter(logging.Formatter):
    """Each line of `inner`'s with its priority before it, as sd-daemon(3) has it: `<3>`."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        number = next((number for level, number in PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{number}>{line}" for line in self._inner.format(record).split("\n"))


def configure(level: str, style: str) -> bool:
    """Send log lines to stderr. `level` "": WARNING, raised to INFO by what runs unattended.

    True: whatever is said on stderr has to be a log line too (`tell`), since a machine reads it: JSON, or the journal.
    """
    journal = is_journal(os.environ)
    formatter: logging.Formatter = (
        JsonFormatter() if style == "json" else TextFormatter(JOURNAL_FORMAT if journal else TEXT_FORMAT)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter(formatter) if journal else formatter)
    logger = logging.getLogger("pipesched")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level or logging.WARNING)
    _about.clear()
    read_by_machine = style == "json" or journal
    if read_by_machine:
        _take_others(handler.formatter)
    return read_by_machine


def is_journal(environ: Mapping[str, str]) -> bool:
    """Whether stderr goes to journald itself: systemd names the socket's device and inode (systemd.exec(5))."""
    said = environ.get("JOURNAL_STREAM", "")
    if not said or sys.stderr is None:
        return False
    try:
        info = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return said == f"{info.st_dev}:{info.st_ino}"


def _take_others(formatter: logging.Formatter | None) -> None:
    """Warnings of Python and of packages, and exceptions that end a thread, look like our own lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.setLevel(logging.WARNING)
    logging.lastResort = handler
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers[:] = [handler]

    def ended(what: threading.ExceptHookArgs) -> None:
        if what.exc_value is not None:
            name = what.thread.name if what.thread is not None else "?"
            exception = (what.exc_type, what.exc_value, what.exc_traceback)
            logging.getLogger("pipesched").error("thread %s ended", name, exc_info=exception)

    threading.excepthook = ended


def about(*, job_id: str | None, run_id: str) -> None:
    """From now on this process's lines are about this run."""
    _about.clear()
    _about.update({"run_id": run_id} | ({"job_id": job_id} if job_id else {}))


def tell(text: str) -> None:
    """A remark, which people would read on stderr as it is, as a log line, whatever the level: `error: ...` is an error."""
    level = _NOTES.get(text.partition(":")[0], logging.INFO)
    message = text.partition(": ")[2] if level > logging.INFO else text
    logger = logging.getLogger("pipesched")
    logger.handle(logger.makeRecord(logger.name, level, "", 0, message, (), None))


def at_least_info(level: str | None) -> None:
    """INFO for the daemon and --ci-mode where no level was asked for."""
    if not level:
        logging.getLogger("pipesched").setLevel(logging.INFO)
