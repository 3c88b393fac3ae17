"""systemd's readiness and watchdog protocol (sd_notify(3)), spoken over its datagram socket."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass
class Notifier:
    """Tells the service manager where the daemon stands; silent where nobody listens, and never a reason to fail.

    `address`: of $NOTIFY_SOCKET, "" for none. `watchdog_seconds`: how often the manager wants to hear from us, None: never.
    """

    address: str = ""
    watchdog_seconds: float | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, pid: int) -> Notifier:
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            address = ""
        watchdog = None
        try:
            microseconds = int(environ.get("WATCHDOG_USEC", "0"))
            meant_for = int(environ.get("WATCHDOG_PID", pid))
        except ValueError:
            microseconds, meant_for = 0, pid
        if address and microseconds > 0 and meant_for == pid:
            watchdog = microseconds / 1e6
        return cls(address=address, watchdog_seconds=watchdog)

    @property
    def ping_seconds(self) -> float | None:
        """How often to feed the watchdog: twice as often as asked for, as sd_watchdog_enabled(3) recommends."""
        return None if self.watchdog_seconds is None else self.watchdog_seconds / 2

    def ready(self, status: str) -> None:
        self.send("READY=1", f"MAINPID={os.getpid()}", _status(status))

    def reloading(self) -> None:
        # Type=notify-reload compares the stamp with its own clock, CLOCK_MONOTONIC.
        stamp = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.send("RELOADING=1", f"MONOTONIC_USEC={stamp}")

    def stopping(self, status: str) -> None:
        self.send("STOPPING=1", _status(status))

    def status(self, status: str) -> None:
        self.send(_status(status))

    def alive(self) -> None:
        self.send("WATCHDOG=1")

    def send(self, *assignments: str) -> None:
        """One datagram of `assignments`. Never blocks: a manager that does not listen must not stop the schedule."""
        if not self.address:
            return
        # A name that starts with @ is in the abstract namespace, which has a NUL there.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            log.debug("the service manager was not told %s: %s", assignments[0], error)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())
