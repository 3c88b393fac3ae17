"""Log lines on stderr, as text or JSON."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from pipesched.cli.output import json_line, printable

TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and any run_id or job_id given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update(
            {key: str(value) for key in ("job_id", "run_id") if (value := getattr(record, key, None))}
        )
        if record.exc_info:
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


def configure(level: str, style: str) -> None:
    """Send pipesched's own log lines to stderr. `level` "": WARNING, raised to INFO by what runs unattended."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter(TEXT_FORMAT))
    logger = logging.getLogger("pipesched")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level or logging.WARNING)


def at_least_info(level: str | None) -> None:
    """INFO for the daemon and --ci-mode where no level was asked for."""
    if not level:
        logging.getLogger("pipesched").setLevel(logging.INFO)
