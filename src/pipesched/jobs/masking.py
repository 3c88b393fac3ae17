"""PURE: what may be shown of a notification or ping URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

MASK: Final = "***"
# Schemes in which the host is a host; in Apprise's other ones (slack://TOKEN/...) it may be the secret itself.
_HOSTS: Final = frozenset(
    {"http", "https", "json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos"}
)


def masked(url: str) -> str:
    """`url` without user, password, path and query: `https://hc-ping.com/***`. `env:NAME` stays as it is."""
    if url.startswith("env:"):
        return url
    scheme, separator, _ = url.partition("://")
    if not separator:
        return MASK
    if scheme.lower() not in _HOSTS:
        return f"{scheme}://{MASK}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{scheme}://{MASK}"
    shown = f"[{host}]" if ":" in host else host
    shown += f":{port}" if port is not None else ""
    user = f"{MASK}@" if parts.username is not None or parts.password is not None else ""
    rest = f"/{MASK}" if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{scheme}://{user}{shown}{rest}"


def masked_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's values as they are written, with what `notify` and `ping` hold masked."""
    shown = dict(policy)
    if shown.get("notify"):
        shown["notify"] = [masked(url) for url in shown["notify"]]
    if shown.get("ping"):
        shown["ping"] = masked(shown["ping"])
    return shown
