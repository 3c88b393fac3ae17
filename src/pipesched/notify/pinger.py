"""The thread that sends pings, in their order, from a queue of bounded length."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

from pipesched.notify.delivery import Complaints, resolve
from pipesched.notify.pings import MOST_TRIES, Ping, host_key, send

log = logging.getLogger(__name__)

QUEUE_LENGTH: Final = 1000


class Pinger:
    """`put` never waits: when the queue is full, the oldest ping goes, which says less than the newest.

    After a server has failed, each ping to it is tried once only until it answers again, so that it holds the others up less.
    """

    def __init__(self, environ: Mapping[str, str], *, length: int = QUEUE_LENGTH) -> None:
        self._environ = environ
        self._queue: deque[tuple[str, str, str]] = deque()
        self._length = length
        self._wake = threading.Condition()
        self._ending = threading.Event()
        self._failing: set[str] = set()
        self._complaints = Complaints(log.warning)
        self._thread: threading.Thread | None = None
        self._busy = False
        self.dropped = 0

    def put(self, target: str, suffix: str, run_id: str) -> None:
        """`target`: a URL or `env:NAME`."""
        with self._wake:
            if len(self._queue) >= self._length:
                self._queue.popleft()
                self.dropped += 1
                if self.dropped == 1:
                    log.warning("pings are slower than runs: the oldest of %d are dropped", self._length)
            self._queue.append((target, suffix, run_id))
            if self._thread is None:
                self._thread = self._started()
            self._wake.notify_all()

    def _started(self) -> threading.Thread | None:
        """None where the machine has no thread for it: the next ping asks again, and what waits goes with it."""
        thread = threading.Thread(target=self._run, name="pings", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.warning("pings have to wait: %s", error)
            return None
        return thread

    def stop(self, seconds: float) -> None:
        """Give what waits so long to be sent; the rest is lost, and said so."""
        deadline = time.monotonic() + seconds
        with self._wake:
            while (self._queue or self._busy) and (left := deadline - time.monotonic()) > 0:
                self._wake.wait(left)
            lost = len(self._queue) + self._busy
            self._queue.clear()
            self._ending.set()
            self._wake.notify_all()
        if lost:
            log.warning("%d pings were not sent before the end", lost)
        elif self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                while not self._queue:
                    if self._ending.is_set():
                        return
                    self._wake.wait()
                target, suffix, run_id = self._queue.popleft()
                self._busy = True
            try:
                self._send(target, suffix, run_id)
            except Exception:  # noqa: BLE001  a ping that cannot be sent must not end all others
                log.warning("a ping failed in an unforeseen way", extra={"run_id": run_id})

    def _send(self, target: str, suffix: str, run_id: str) -> None:
        url = resolve(target, self._environ)
        if not url:
            self._complaints.note(
                "the ping", target, f"the variable {target.removeprefix('env:')} is not set"
            )
            return
        host = host_key(url)
        tries = 1 if host in self._failing else MOST_TRIES
        reason = send(Ping(url, suffix, run_id), self._environ, tries=tries, pause=self._ending.wait)
        if reason:
            self._failing.add(host)
        else:
            self._failing.discard(host)
        self._complaints.note("the ping", target, reason)
