"""End a run from outside its daemon: asked of the daemon where one keeps the run, else done and recorded here."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipesched.daemon.cancellation import CANCELLED, Cancellations
from pipesched.daemon.children import KILL_GRACE_SECONDS, PIPE_GRACE_SECONDS
from pipesched.daemon.processes import signal_run
from pipesched.errors import InputOutputError, NotFound, NotPermitted, UsageError
from pipesched.files import KernelLock
from pipesched.runs.ids import nearest
from pipesched.runs.ledger import Ledger
from pipesched.runs.model import ACTIVE
from pipesched.runs.process import alive
from pipesched.settings import Paths

if TYPE_CHECKING:
    from pipesched.runs.model import Run

POLL_SECONDS = 0.05
RECORD_SECONDS = 5.0
"""How long whoever keeps the run's record has for it once the process is gone."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: from TERM to KILL, and what a daemon may take on top of it."""

    term: float = KILL_GRACE_SECONDS
    daemon: float = PIPE_GRACE_SECONDS + 3.0


def cancel(run_id: str, paths: Paths, *, patience: Patience | None = None) -> Run:
    """End the run and return it as recorded: `interrupted`, `skipped` if it had not started, else what it was faster with.

    Raises NotFound (4), UsageError (2: it has ended already), NotPermitted, InputOutputError (it survives SIGKILL).
    """
    patience = patience or Patience()
    with Ledger.open(paths.ledger, create=False) as ledger:
        run = _active(ledger, run_id)
        kept_by_daemon = run.trigger != "manual" and KernelLock(paths.daemon_lock).is_held()
        cancellations = Cancellations(paths.state_dir)
        if kept_by_daemon:
            cancellations.ask(run_id)
            _wait(lambda: not _is_active(ledger, run_id), patience.term + patience.daemon)
        run = _known(ledger, run_id)
        if run.status == "running":
            _end(run, patience)
            _wait(lambda: not _is_active(ledger, run_id), RECORD_SECONDS if run.trigger == "manual" else 0.0)
    if run.status in ACTIVE:
        _record(run, paths)
    cancellations.settle(
        run_id
    )  # where the run ended by itself just then, its daemon did not see the request
    with Ledger.open(paths.ledger, create=False) as ledger:
        return _known(ledger, run_id)


def _active(ledger: Ledger, run_id: str) -> Run:
    run = _known(ledger, run_id)
    if run.status not in ACTIVE:
        raise UsageError(
            f"run {run_id} is not running: it is {run.status} already",
            hint="runs that can be ended: pipesched history --status running",
        )
    return run


def _known(ledger: Ledger, run_id: str) -> Run:
    run = ledger.run(run_id)
    if run is None:
        raise NotFound(
            f"there is no run {run_id!r}",
            hint=nearest(
                run_id,
                (each.run_id for each in (*ledger.active(), *ledger.history(limit=200))),
                otherwise="see pipesched history --status running",
            ),
            code="run_not_found",
        )
    return run


def _is_active(ledger: Ledger, run_id: str) -> bool:
    return _known(ledger, run_id).status in ACTIVE


def _end(run: Run, patience: Patience) -> None:
    """TERM, then KILL, to a process that was just seen to be the run's."""
    pid = run.pid or 0

    def is_gone() -> bool:
        return not alive(pid, run.pid_started)

    try:
        for number, seconds in ((signal.SIGTERM, patience.term), (signal.SIGKILL, RECORD_SECONDS)):
            if not signal_run(pid, run.pid_started, number) or _wait(is_gone, seconds):
                return
    except PermissionError as error:
        raise NotPermitted(
            f"run {run.run_id} (pid {pid}) belongs to another user",
            hint="cancel it as that user: sudo -u USER",
        ) from error
    raise InputOutputError(
        f"run {run.run_id} (pid {pid}) does not end, not even on SIGKILL",
        hint=f"it waits for a disk or a network file system: see ps -o stat,wchan -p {pid}",
    )


def _record(run: Run, paths: Paths) -> None:
    """Unless somebody else has: the ledger keeps the first record of an end."""
    with Ledger.open(paths.ledger, create=True) as ledger:
        ledger.finish(
            run.run_id,
            status="interrupted" if run.status == "running" else "skipped",
            exit_code=None,
            reason=CANCELLED,
            now=datetime.now(UTC),
        )


def _wait(until: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
