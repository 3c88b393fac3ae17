"""Whether a job file that is not there has been there: then it is to be put back, not made anew."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pipesched.errors import PipeschedError
from pipesched.settings import Paths

if TYPE_CHECKING:
    from pipesched.runs.ledger import Ledger


def is_gone(paths: Paths, now: datetime) -> bool:
    """Of a job file that does not exist: a scheduler runs, or the ledger knows jobs (or cannot be read)."""
    from pipesched.runs.ledger import Ledger
    from pipesched.views.scheduler import read_facts

    if read_facts(paths, now).running:
        return True
    try:
        with Ledger.open(paths.ledger, create=False) as ledger:
            return knows_jobs(ledger)
    except PipeschedError:
        return True


def knows_jobs(ledger: Ledger) -> bool:
    """Whether it knows a job of a job file. Raises DataError."""
    return bool(ledger.summaries())
