"""A cheap look at a store without Chroma: which collections, how many rows, how many writes.

Importing Chroma and opening a store takes two seconds; this takes ten milliseconds. The schema of chroma.sqlite3 is
private to Chroma, so that a version we do not know is not read. SQLite's POSIX locks belong to the process: never call
this in a process that has the store open, because closing our handle would drop Chroma's locks.
"""

from __future__ import annotations

import json
import os
import sqlite3
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipesched.options import is_server

_KNOWN_SCHEMA = {"sysdb": 10, "metadb": 6, "embeddings_queue": 2}
"""The highest migration of each kind in chromadb 1.5; a store beyond it is looked at through Chroma itself."""

_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One collection at one moment. `writes`: its last sequence number (-1 where a server does not tell)."""

    uuid: str
    count: int
    writes: int


def probe(storage_path: str) -> dict[str, Probe] | None:
    """Every collection by name; {} where there is no store; None where it cannot be told this way."""
    if is_server(storage_path):
        return _probe_server(storage_path)
    file = Path(storage_path) / "chroma.sqlite3"
    try:
        if not file.exists():
            return {}
        connection = sqlite3.connect(f"file:{quote(os.fspath(file))}?mode=ro", uri=True, timeout=2.0)
    except (OSError, sqlite3.Error):
        return None
    try:
        return _read(connection)
    except sqlite3.Error:
        return None
    finally:
        connection.close()


def _read(connection: sqlite3.Connection) -> dict[str, Probe] | None:
    known = connection.execute("SELECT dir, max(version) FROM migrations GROUP BY dir").fetchall()
    if any(version > _KNOWN_SCHEMA.get(kind, -1) for kind, version in known):
        return None
    rows = connection.execute(
        """
        SELECT c.name, c.id,
               (SELECT count(*) FROM embeddings e WHERE e.segment_id = s.id),
               (SELECT m.seq_id FROM max_seq_id m WHERE m.segment_id = s.id)
        FROM collections c JOIN segments s ON s.collection = c.id AND s.scope = 'METADATA'
        """
    ).fetchall()
    return {
        name: Probe(uuid=uuid, count=count, writes=writes if isinstance(writes, int) else 0)
        for name, uuid, count, writes in rows
    }


def _probe_server(url: str) -> dict[str, Probe] | None:
    base = f"{url}/api/v2/tenants/default_tenant/databases/default_database/collections"
    try:
        collections = _get_json(f"{base}?limit=1000")
        found: dict[str, Probe] = {}
        for entry in collections if isinstance(collections, list) else []:
            count = _get_json(f"{base}/{entry['id']}/count")
            found[entry["name"]] = Probe(uuid=entry["id"], count=int(str(count)), writes=-1)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _get_json(url: str) -> object:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310  http(s) was checked by options
        return json.load(response)
