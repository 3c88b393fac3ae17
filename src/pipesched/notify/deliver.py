"""The program that hands one message to Apprise: a process of its own, told on its standard input, ended by a deadline.

So a target that never answers, a plugin's crash or 30 MB of imports stay out of whoever sends, and no secret is in an argument.
It reads {"url", "title", "body", "urgency"} and prints {"ok", "reason"}; the reason never holds what a plugin said.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import socket
import sys
from typing import Any, Final

from pipesched.jobs import targets
from pipesched.jobs.targets import host_of

REFUSED: Final = (
    "it leads to a link-local address or a metadata service, which are no targets; " + targets.HINT
)


class Refused(ConnectionRefusedError):
    """A connection to where notifications never go."""


_OF_A_PROXY: Final = re.compile(rb"(?:CONNECT |[A-Z]+ https?://)([^\s/?#]+)")


class Guard:
    """Looks at each connection of this process before it is made: redirects and names that lead elsewhere are seen too.

    What a proxy is asked for is looked at before it is sent.
    """

    def __init__(self) -> None:
        self.refused = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            address = arguments[1]
            if isinstance(address, tuple) and address and isinstance(address[0], str):
                self._check(address[0])
        elif event == "http.client.send":
            asked = _OF_A_PROXY.match(arguments[1]) if isinstance(arguments[1], bytes) else None
            if asked is not None:
                self._check(host_of(f"//{asked[1].decode('latin-1')}"))

    def _check(self, host: str) -> None:
        if targets.is_refused(host) or any(targets.is_refused(each) for each in _resolved(host)):
            self.refused = True
            raise Refused("refused")


def _resolved(host: str) -> list[str]:
    """The addresses of a name; none of what is an address already, or no name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return [str(info[4][0]) for info in socket.getaddrinfo(host, None)]
        except (OSError, UnicodeError):
            return []
    return []


class Overheard(logging.Handler):
    """What Apprise says of a failure, of which only what cannot be a secret is kept: a status, a kind of failure."""

    def __init__(self) -> None:
        super().__init__()
        self.reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if status := re.search(r"\berror=(\d{3})\b", text):
            self.reason = f"it answered {status[1]}"
        elif "onnection" in text and not self.reason:
            self.reason = "no connection"


def deliver(request: dict[str, str], guard: Guard) -> tuple[bool, str]:
    import apprise

    overheard = Overheard()
    logger = logging.getLogger("apprise")
    logger.handlers[:] = [overheard]
    logger.propagate = False
    try:
        target = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, app_id="pipesched"))
        if not target.add(request["url"]):
            return False, "Apprise does not know such a URL"
        sent = target.notify(
            title=request["title"],
            body=request["body"],
            notify_type=request["urgency"],
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:  # noqa: BLE001  a plugin may raise whatever it likes
        return False, REFUSED if guard.refused else f"its plugin failed: {type(error).__name__}"
    if sent:
        return True, ""
    return False, REFUSED if guard.refused else overheard.reason or "it did not take the message"


def main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    guard = Guard()
    if not targets.is_allowed(os.environ):
        sys.addaudithook(guard)
    ok, reason = deliver(request, guard)
    sys.stdout.write(json.dumps({"ok": ok, "reason": reason}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a plugin's threads must not keep it


if __name__ == "__main__":
    main()
