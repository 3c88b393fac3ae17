"""The daemon's Observer that notifies and pings: two threads, so that no target's slowness reaches the schedule."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from pipesched.errors import PipeschedError
from pipesched.notify.delivery import INSTALL, NOT_INSTALLED, Courier, is_installed
from pipesched.notify.pinger import Pinger
from pipesched.notify.pings import suffix_of
from pipesched.notify.round import Rounds
from pipesched.notify.standing import Source
from pipesched.notify.told import ToldFiles

if TYPE_CHECKING:
    from pipesched.runs.model import RunState

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 30.0
"""How often it is looked whether a job is late, or a run by hand has failed; the end of a run is looked at at once."""
STOP_SECONDS: Final = 10.0
ONCE_SECONDS: Final = 10.0
"""For a run that no daemon watches: its command ends so much later at most, and what was not taken is told by the next one."""


class End(Protocol):
    """A run's end as the daemon tells it."""

    @property
    def run_id(self) -> str: ...
    @property
    def job_id(self) -> str: ...
    @property
    def status(self) -> RunState: ...
    @property
    def exit_code(self) -> int | None: ...
    @property
    def retrying(self) -> bool: ...


class Notifications:
    """Told of runs from the loop, which takes microseconds: a ping is put into a queue, a thread is woken.

    What is told is decided from the ledger, not from events: whatever was not told before a crash, or while all targets were down,
    is told afterwards. So there is nothing that could overflow.
    """

    def __init__(
        self, source: Source, environ: Mapping[str, str], *, round_seconds: float = ROUND_SECONDS
    ) -> None:
        self._source = source
        self._courier = Courier(environ)
        self._rounds = Rounds(source, self._courier, ToldFiles(source.paths.notified_dir))
        self._pinger = Pinger(environ)
        self._round_seconds = round_seconds
        self._woken = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None
        self._warned = False
        self._trouble = ""

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)
        self._thread.start()

    def run_started(self, job_id: str, run_id: str) -> None:
        if target := self._ping_of(job_id):
            self._pinger.put(target, "start", run_id)

    def run_ended(self, ended: End) -> None:
        self._woken.set()
        target = self._ping_of(ended.job_id)
        suffix = suffix_of(ended.status, ended.exit_code, retrying=ended.retrying)
        if target and suffix is not None:
            self._pinger.put(target, suffix, ended.run_id)

    def stop(self) -> None:
        """What is due is still told, within STOP_SECONDS; the next daemon tells the rest."""
        deadline = time.monotonic() + STOP_SECONDS
        self._ending = True
        self._woken.set()
        self._pinger.stop(STOP_SECONDS)
        if self._thread is not None:
            self._thread.join(max(0.1, deadline - time.monotonic()))
        self._courier.stop()
        if self._thread is not None:
            self._thread.join(1.0)

    def _ping_of(self, job_id: str) -> str | None:
        job = self._source.job_file().jobs.get(job_id)
        return None if job is None else job.policy.ping

    def _run(self) -> None:
        while True:
            self._woken.clear()
            ending = self._ending
            self._round()
            if ending:
                return
            self._woken.wait(self._round_seconds)

    def _round(self) -> None:
        try:
            if self._rounds.idle:
                return
            if not is_installed():
                if not self._warned:
                    log.warning("notifications cannot be sent: %s; %s", NOT_INSTALLED, INSTALL)
                self._warned = True
                return
            self._rounds.go()
            self._trouble = ""
        except Exception as error:  # noqa: BLE001  a thread that dies would be silent for ever
            said = _without_secrets(error)
            if said != self._trouble:
                log.warning("notifications have to wait: %s", said)
            self._trouble = said


def notify_once(source: Source, environ: Mapping[str, str], job_id: str) -> None:
    """Tell what there is to tell of one job, after a run that no daemon watched. Nothing it does fails the run."""
    if not is_installed():
        log.warning("notifications cannot be sent: %s; %s", NOT_INSTALLED, INSTALL)
        return
    try:
        courier = Courier(environ, deadline=ONCE_SECONDS, tries=1)
        Rounds(source, courier, ToldFiles(source.paths.notified_dir)).go(only=job_id)
    except Exception as error:  # noqa: BLE001  as above
        log.warning("notifications could not be sent: %s", _without_secrets(error))


def _without_secrets(error: Exception) -> str:
    """Our own errors name no target; another's text, or its traceback, might."""
    return error.message if isinstance(error, PipeschedError) else type(error).__name__
