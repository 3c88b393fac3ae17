"""Addresses: the one to listen on, and whether a Host header names this machine."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from pipesched.errors import InvalidValue

_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_-]+)*\.?")
_PORT = re.compile(r"[0-9]{1,5}")
_HINT = "such as 127.0.0.1:8765, localhost:0 or [::1]:8765"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. `host` is a name or an IP address without brackets; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """HOST:PORT, an IPv6 address in brackets. Raises InvalidValue."""
        host, port = split(text.strip())
        if host is None or port is None or int(port) > 65_535:
            raise InvalidValue(f"--http: {text!r} is no HOST:PORT", hint=_HINT)
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def split(authority: str) -> tuple[str | None, str | None]:
    """The host (without brackets) and the port's digits of `host`, `host:port`, `[v6]`, `[v6]:port`.

    The host is None where it is no name and no address; the port None where there is none.
    """
    if authority.startswith("["):
        inside, bracket, rest = authority[1:].partition("]")
        host = inside if bracket and _is_ip(inside, 6) else None
        port = rest.removeprefix(":") if rest.startswith(":") else None
        if rest and not rest.startswith(":"):
            host = None
    else:
        host, colon, digits = authority.partition(":")
        port = digits if colon else None
        if not (_is_ip(host, 4) or _NAME.fullmatch(host)):
            host = None
    if port is not None and not _PORT.fullmatch(port):
        return None, None
    return host, port


def is_loopback(host: str) -> bool:
    """`localhost`, 127.0.0.0/8, ::1 (also as ::ffff:127.0.0.1)."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version and "%" not in text
    except ValueError:
        return False
