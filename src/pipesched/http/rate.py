"""How often one client may ask: a token bucket for each peer address, in bounded memory."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

REQUESTS_A_SECOND: Final = 20.0
BURST: Final = 100
"""A scraper asks every few seconds and an open page once in 15; a script may ask a hundred times at once."""
CLIENTS: Final = 1024
"""So many are remembered, the ones that asked last; whoever is forgotten starts with a full bucket."""


class RateLimit:
    """Buckets of `burst` tokens, refilled with `rate` a second. For one thread.

    A bucket is kept as the time at which it is full again, which is all there is to know of it.
    """

    def __init__(
        self, rate: float = REQUESTS_A_SECOND, burst: int = BURST, *, clients: int = CLIENTS
    ) -> None:
        self._token = 1 / rate
        self._span = burst / rate
        self._clients = clients
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """Take a token: 0 where there was one, else the seconds until there is. `now` is monotonic, in seconds."""
        full_at = max(self._full_at.pop(client, now), now) + self._token
        wait = full_at - self._span - now
        if wait > 1e-9:  # below is the rounding of the sums
            full_at -= self._token
        self._full_at[client] = full_at
        if len(self._full_at) > self._clients:
            self._full_at.popitem(last=False)
        return wait if wait > 1e-9 else 0.0

    def __len__(self) -> int:
        return len(self._full_at)


def client_of(peer: str) -> str:
    """Whom a peer address stands for: itself, or of IPv6 the /64, which one host has whole."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address) or address.is_link_local:
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False).network_address)
