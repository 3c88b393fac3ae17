"""Once a day, a child process that prunes: it may take its time, the loop does not wait for it."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipesched.daemon.clock import Clock
from pipesched.daemon.processes import signal_group
from pipesched.settings import PRUNE_SECONDS, for_children

log = logging.getLogger(__name__)

FIRST_SECONDS: Final = 600.0
"""After the daemon's start, when there is most to do already."""
AGAIN_SECONDS: Final = 3600.0
"""After one that failed, or was refused."""
LONGEST_SECONDS: Final = 1800.0
STOP_SECONDS: Final = 5.0


class Housekeeper:
    """`stamp` is the file whose modification time is the end of the last pruning, whoever did it."""

    def __init__(
        self,
        command: Sequence[str],
        stamp: Path,
        *,
        clock: Clock,
        environ: Mapping[str, str],
        first: float = FIRST_SECONDS,
    ) -> None:
        self._command = list(command)
        self._stamp = stamp
        self._clock = clock
        self._environ = environ
        self._not_before = clock.monotonic() + first
        self._kill_at = 0.0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of what prunes, until its end was seen to."""
        return None if self._child is None else self._child.pid

    def look(self) -> None:
        """Start it when it is time, see to one that has ended. Never waits, never raises."""
        monotonic = self._clock.monotonic()
        if self._child is not None:
            self._see_to(self._child, monotonic)
        elif monotonic >= self._not_before and self._is_due():
            self._start(monotonic)

    def _is_due(self) -> bool:
        try:
            done = self._stamp.stat().st_mtime
        except OSError:
            return True
        age = self._clock.now().timestamp() - done
        return not 0 <= age < PRUNE_SECONDS  # one of the future is from before the clock was set

    def _start(self, monotonic: float) -> None:
        self._not_before = monotonic + AGAIN_SECONDS
        self._kill_at = monotonic + LONGEST_SECONDS
        try:
            self._child = subprocess.Popen(
                self._command,
                env=for_children(self._environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            log.warning("what is old cannot be pruned: %s", error.strerror)

    def _see_to(self, child: subprocess.Popen[bytes], monotonic: float) -> None:
        status = child.poll()
        if status is None:
            if monotonic >= self._kill_at:
                signal_group(child.pid, signal.SIGKILL)
            return
        self._child = None
        if status:
            log.warning("pruning ended with exit status %d; the next try is in an hour", status)
        else:
            log.info("pruned what is old")

    def stop(self) -> None:
        """End it: it may be killed anywhere, and done again. One that waits for a dead disk is left."""
        if self._child is not None and self._child.poll() is None:
            signal_group(self._child.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_SECONDS)
