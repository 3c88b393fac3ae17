"""Where notifications and pings never go: link-local addresses and the metadata services of clouds."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from pipesched.errors import InvalidValue
from pipesched.jobs.masking import masked
from pipesched.settings import ENV_ALLOW_LINK_LOCAL

HINT: Final = f"where it is meant so, set {ENV_ALLOW_LINK_LOCAL}=1"

_NETWORKS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local; most clouds' metadata is at .169.254
        "fe80::/10",
        "fd00:ec2::254/128",  # AWS
        "fd20:ce::254/128",  # Google
        "100.100.100.200/32",  # Alibaba
        "192.0.0.192/32",  # Oracle
        "168.63.129.16/32",  # Azure
    )
)
_NAMES: Final = frozenset(
    {
        "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
        "metadata.tencentyun.com", "metadata.platformequinix.com",
    }
)  # fmt: skip
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_allowed(environ: Mapping[str, str]) -> bool:
    """Whether whoever runs this machine wants such targets."""
    return environ.get(ENV_ALLOW_LINK_LOCAL, "").lower() in {"1", "true", "yes", "on"}


def is_refused(host: str) -> bool:
    """Whether `host`, a name or an address in any spelling, is such a place; names are not resolved."""
    name = host.strip("[]").rstrip(".").lower()
    if name in _NAMES:
        return True
    address = _address(name)
    return address is not None and is_refused_address(address)


def is_refused_address(address: Address) -> bool:
    """An IPv6 address that stands for an IPv4 one counts as that one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None and is_refused_address(inner):
            return True
    return any(address in network for network in _NETWORKS if network.version == address.version)


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        pass
    if not text or text[-1] not in "0123456789abcdef":
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))  # 2852039166, 0xa9fea9fe, 0251.0376.0251.0376
    except (OSError, ValueError):
        return None


def check_targets(urls: Iterable[str], *, environ: Mapping[str, str]) -> None:
    """Refuse what names such a place outright; a name that leads there is refused when it is used. Raises InvalidValue."""
    if is_allowed(environ):
        return
    for url in urls:
        if is_refused(host_of(url)):
            raise InvalidValue(
                f"{masked(url)}: link-local addresses and metadata services are no targets", hint=HINT
            )


def host_of(url: str) -> str:
    """Empty where there is none; of an Apprise URL such as slack://TOKEN it may be a secret."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
