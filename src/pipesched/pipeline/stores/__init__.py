"""Vector stores: the Protocol is in pipeline/model.py, the one implementation is Chroma, as a folder or a server."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipesched.options import is_server
from pipesched.pipeline.model import VectorStore
from pipesched.pipeline.stores.lock import StoreLock, lock_path
from pipesched.pipeline.stores.note import WritingNote
from pipesched.pipeline.stores.probe import Probe, probe_folder
from pipesched.pipeline.stores.sweep import sweep

if TYPE_CHECKING:
    from pipesched.pipeline.stores.examination import Examined

__all__ = [
    "Probe",
    "StoreLock",
    "WritingNote",
    "database_trouble",
    "examine",
    "lock_path",
    "open_store",
    "probe",
    "sweep",
]


def open_store(storage_path: str, *, create: bool = True) -> VectorStore:
    """Open the store at `storage_path` (a folder or http(s)://host:port).

    `create=False`: a folder without a store is an error and stays as it is. Raises NotFound (collection_not_found),
    ServiceUnavailable (a server that does not answer), CannotCreate, NotPermitted, InputOutputError, or DataError
    (code store_damaged).
    """
    from pipesched.pipeline.stores.chroma import ChromaStore

    return ChromaStore.open(storage_path, create=create)


def probe(storage_path: str) -> dict[str, Probe] | None:
    """Every collection by name; {} where there is no store; None where it cannot be told without opening it."""
    if is_server(storage_path):
        from pipesched.pipeline.stores.server import probe_server  # urllib costs 25 ms

        return probe_server(storage_path)
    return probe_folder(storage_path)


def database_trouble(storage_path: str) -> str:
    """See stores/inspection.py."""
    from pipesched.pipeline.stores import inspection

    return inspection.database_trouble(storage_path)


def examine(storage_path: str, collections: Sequence[str], *, stop: threading.Event) -> Examined:
    """See stores/examination.py; to import subprocess takes 10 ms."""
    from pipesched.pipeline.stores import examination

    return examination.examine(storage_path, collections, stop=stop)
