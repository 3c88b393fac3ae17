"""Run ids: they sort by time, and are safe as a part of a file's name."""

from __future__ import annotations

import difflib
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from pipesched.errors import InvalidValue

_TIME: Final = re.compile(r"\d{8}T\d{6}")
RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def new_run_id(job_id: str | None, now: datetime) -> str:
    """`20261124T020000.123Z-nightly-9f2c41d0`: UTC to the millisecond, the job, 32 random bits."""
    utc = now.astimezone(UTC)
    return f"{time_prefix(utc)}-{job_id or 'run'}-{secrets.token_hex(4)}"


def time_prefix(utc: datetime) -> str:
    return f"{utc:%Y%m%dT%H%M%S}.{utc.microsecond // 1000:03}Z"


def is_run_id(text: str) -> bool:
    return RUN_ID.fullmatch(text) is not None


def has_time(text: str) -> bool:
    """Whether it begins as the ids do that are made here; a job's id hardly does."""
    return _TIME.match(text) is not None


def nearest(text: str, known: Iterable[str], *, otherwise: str) -> str:
    """A hint for who wrote `text`: the id that begins with it, or is nearly it; `otherwise` where none is."""
    names = list(known)
    begun = [name for name in names if name.startswith(text)] if text else []
    near = begun or difflib.get_close_matches(text, names, n=1, cutoff=0.8)
    return f"did you mean {near[0]}?" if near else otherwise


def check_run_id(text: str) -> str:
    """`text` if it can be a run id. Raises InvalidValue."""
    if not is_run_id(text):
        raise InvalidValue(
            f"{text!r} cannot be a run id",
            hint="letters, digits, dots, dashes and underscores, at most 128, the first a letter or digit",
        )
    return text
