"""A Chroma server asked over plain HTTP, with deadlines and without Chroma: does it answer, how many rows has it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException

from pipesched.pipeline.stores.probe import Probe, mark_hash

_TIMEOUT_SECONDS = 5.0
_PAGE = 1000


def answers(url: str) -> str | None:
    """None when a Chroma server answers at `url`, else what came instead."""
    not_chroma = "what answers there is no Chroma server"
    try:
        beat = _get_json(f"{url.rstrip('/')}/api/v2/heartbeat")
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code} {error.reason}"
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        return f"no answer: {getattr(reason, 'strerror', None) or reason}"
    except ValueError:
        return not_chroma
    return None if isinstance(beat, dict) and "nanosecond heartbeat" in beat else not_chroma


def probe_server(url: str) -> dict[str, Probe] | None:
    """Every collection by name; None where the server does not answer, or not as Chroma does."""
    base = f"{url.rstrip('/')}/api/v2/tenants/default_tenant/databases/default_database/collections"
    found: dict[str, Probe] = {}
    try:
        while isinstance(page := _get_json(f"{base}?limit={_PAGE}&offset={len(found)}"), list):
            for entry in page:
                count = _get_json(f"{base}/{entry['id']}/count")
                found[entry["name"]] = Probe(
                    uuid=entry["id"],
                    count=int(str(count)),
                    writes=-1,
                    mark=mark_hash(entry.get("metadata") or {}),
                )
            if len(page) < _PAGE:
                return found
    except (OSError, ValueError, KeyError, TypeError, HTTPException):
        return None
    return None


def _get_json(url: str) -> object:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310  http(s) was checked by options
        return json.load(response)
