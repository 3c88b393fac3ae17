"""One change of the job file's tables, through TinyDB, over a storage that replaces the file once and whole."""

from __future__ import annotations

import logging
import shlex
import stat
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydb import TinyDB, where
from tinydb.storages import Storage

from pipesched.files import PRIVATE_FILE, write_atomic
from pipesched.jobs import documents, encoding
from pipesched.jobs.encoding import Tables
from pipesched.jobs.model import Defaults, Job, JobFile

if TYPE_CHECKING:
    from tinydb.queries import QueryInstance
    from tinydb.table import Table

log = logging.getLogger(__name__)


class AtomicStorage(Storage):
    """A TinyDB storage that reads once and keeps what TinyDB writes in memory until `commit` replaces the file.

    One is made for each change, under the lock: no table cache or next id of an earlier state can survive in it.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.changed = False

    def read(self) -> Tables:
        return self.tables

    def write(self, data: Tables) -> None:
        self.tables = data
        self.changed = True

    def commit(self, path: Path) -> None:
        """Replace the file; a new one that holds secrets is its owner's alone, an old one keeps its mode, with a warning.

        Raises InputOutputError or NotPermitted; the old bytes are then still there.
        """
        if not self.changed:
            return
        secret = encoding.holds_secrets(self.tables)
        write_atomic(
            path, encoding.serialise(self.tables), mode=PRIVATE_FILE if secret and not path.exists() else None
        )
        self.changed = False
        if secret and (mode := stat.S_IMODE(path.stat().st_mode)) & ~PRIVATE_FILE:
            log.warning(
                "%s can be read by others (%04o), and notify or ping in it may hold secrets: chmod 600 %s",
                path, mode, shlex.quote(str(path)),
            )  # fmt: skip


class Change:
    """A change under way, under the lock: the file as it is, and the tables to write to."""

    def __init__(self, before: JobFile, tables: Tables) -> None:
        self.before = before
        self._storage = AtomicStorage(tables)
        self._database = TinyDB(storage=lambda: self._storage)

    @property
    def changed(self) -> bool:
        return self._storage.changed

    def commit(self, path: Path) -> None:
        """Replace the file by what was written. Raises as AtomicStorage.commit."""
        self._storage.commit(path)

    @property
    def _jobs(self) -> Table:
        return self._database.table("jobs")

    def insert(self, jobs: Iterable[Job]) -> None:
        self._jobs.insert_multiple([documents.write_job(job) for job in jobs])

    def put(self, jobs: Iterable[Job]) -> None:
        """Write each of `jobs` over the document of its id, at its place, in one pass: there may be thousands of either."""
        waiting = {job.id: job for job in jobs}

        def overwrite(document: MutableMapping[Any, Any]) -> None:
            job = waiting.pop(document["id"], None)
            if job is not None:  # only the first, should a person have doubled the id
                document.clear()
                document.update(documents.write_job(job))

        self._jobs.update(overwrite, _has_id_of(frozenset(waiting)))

    def set_defaults(self, defaults: Defaults) -> None:
        table = self._database.table("defaults")
        table.truncate()
        table.insert(documents.write_defaults(defaults)["defaults"]["1"])

    def delete(self, job_ids: Iterable[str]) -> None:
        self._jobs.remove(_has_id_of(frozenset(job_ids)))


def _has_id_of(job_ids: frozenset[str]) -> QueryInstance:
    """A person may have written anything in an id's place, also what no set can be asked for."""
    return where("id").test(lambda value: isinstance(value, str) and value in job_ids)
