"""The vector store: reachable, whose, how large, how full."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Final

from pipesched.doctor.folders import check_creatable
from pipesched.doctor.patient import Checks, Patient, failed
from pipesched.errors import PipeschedError
from pipesched.files import KernelLock
from pipesched.options import PipelineOptions, check_text
from pipesched.pipeline.stores import lock_path, probe
from pipesched.pipeline.stores.inspection import Inspected, inspect_folder
from pipesched.pipeline.stores.mark import Mark
from pipesched.pipeline.stores.probe import connect_read_only
from pipesched.pipeline.stores.server import answers
from pipesched.views.health import Check, size

FULL: Final = 3
"""Slots for each live row from which on searches are slower than they have to be."""
FEW_SLOTS: Final = 2000
_ASK_SECONDS: Final = 3.0
_LONGEST: Final = 1000


def check(patient: Patient) -> Checks:
    options = patient.options
    try:
        check_text(options)
    except PipeschedError as error:
        return {"store": failed(error)}
    found: Checks = {"store": check_store(options)}
    found["store_version"] = check_version(options)
    try:
        lock = KernelLock(lock_path(options.storage_path, patient.paths.index_dir))
        held = lock.is_held()
        said = (
            f"{lock.holder()} is writing to the store now" if held else "free: no run writes to the store now"
        )
        found["store_lock"] = Check("pass", said)
    except PipeschedError as error:
        found["store_lock"] = failed(error)
    if not options.store_is_server and found["store"].status == "pass":
        inspected = inspect_folder(options.storage_path, options.collection_name)
        if inspected is not None:
            found["collection"] = check_collection(options, inspected)
    return found


def check_store(options: PipelineOptions) -> Check:
    where = options.storage_path
    if options.store_is_server:
        wrong = answers(where)
        if wrong is not None:
            return Check(
                "fail", f"the Chroma server {where}: {wrong}", "start it: chroma run --path db/vector_store"
            )
    else:
        refused = _folder_problem(Path(where))
        if refused is not None:
            return refused
    present = probe(where)
    if present is None:
        return Check(
            "warn",
            f"{where} is of a format that is not known here",
            "pipesched verify looks at it through Chroma",
        )
    held = "" if options.store_is_server else f", {size(_bytes(Path(where)))}"
    if options.collection_name not in present:
        return Check("pass", f"{where}{held}: no collection {options.collection_name} yet")
    return Check("pass", f"{where}{held}: {present[options.collection_name].count} chunks")


def check_version(options: PipelineOptions) -> Check:
    """Chroma here beside what wrote the folder, or beside the server."""
    here = f"chromadb {metadata.version('chromadb')}"
    if options.store_is_server:
        there = server_version(options.storage_path)
        if there is None:
            return Check("pass", f"{here}; the server does not say its version")
        if there.split(".")[0] != metadata.version("chromadb").split(".")[0]:
            return Check(
                "warn",
                f"the server is Chroma {there}, and here is {here}",
                "run the same major version on both sides",
            )
        return Check("pass", f"{here}, the server is Chroma {there}")
    schema = schema_of(Path(options.storage_path))
    return Check("pass", f"{here}; the store has {schema}" if schema else here)


def schema_of(folder: Path) -> str:
    """The newest migration of each kind in a store's folder, in words; "" where that cannot be told."""
    file = folder / "chroma.sqlite3"
    try:
        if not file.stat().st_size:
            return ""
        with closing(connect_read_only(file)) as connection:
            rows = connection.execute("SELECT dir, max(version) FROM migrations GROUP BY dir ORDER BY dir")
            found = ", ".join(f"{kind} {version}" for kind, version in rows.fetchall())
    except (OSError, sqlite3.Error):
        return ""
    return f"schema {found}" if found else ""


def server_version(url: str) -> str | None:
    import urllib.request
    from http.client import HTTPException

    try:
        with urllib.request.urlopen(f"{url}/api/v2/version", timeout=_ASK_SECONDS) as answer:  # noqa: S310  http(s), as options are checked
            said = json.loads(answer.read(_LONGEST))
    except (OSError, ValueError, HTTPException):
        return None
    return said if isinstance(said, str) else None


def _folder_problem(folder: Path) -> Check | None:
    if not folder.exists():
        creatable = check_creatable(folder, "--storage-path")
        return creatable if creatable.status == "fail" else None
    if not folder.is_dir():
        return Check("fail", f"{folder} is no folder", "name another one with --storage-path")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Check("fail", f"{folder} cannot be written by you", f"ls -ld {folder}")
    file = folder / "chroma.sqlite3"
    if file.exists() and file.stat().st_size:
        try:
            with closing(connect_read_only(file)) as connection:
                connection.execute("SELECT count(*) FROM collections").fetchone()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                return Check(
                    "warn", f"{file} is being written: {error}", "pipesched doctor, when that is over"
                )
            return Check("fail", f"{file} is damaged: {error}", "pipesched rebuild, from the embedding cache")
    return None


def check_collection(options: PipelineOptions, found: Inspected) -> Check:
    name, mark = options.collection_name, found.mark
    if found.trouble:
        return Check(
            "fail",
            f"the collection {name} is damaged: {found.trouble}",
            "the next run makes it anew from the embedding cache; pipesched run does it now",
        )
    if mark is None:
        return Check(
            "fail",
            f"the collection {name} was not made by pipesched",
            "take it over with --adopt, or name another",
        )
    if mark.data_dir and _real(mark.data_dir) != _real(options.data_dir):
        return Check(
            "fail",
            f"the collection {name} is filled from {mark.data_dir}, not from {options.data_dir}",
            "name another --collection-name, or run once with --force-recreate",
        )
    if not is_made_with(mark, options.embedding_model):
        return Check(
            "warn",
            f"the collection {name} was made with {mark.model}: the next run builds it anew",
            "pipesched run, when there is time for it",
        )
    if found.slots is not None and found.slots > FEW_SLOTS and found.slots > FULL * max(1, found.rows):
        return Check(
            "warn",
            f"the index of {name} has {found.slots} slots for {found.rows} chunks: searches are slow",
            "pipesched rebuild",
        )
    slots = "" if not found.slots else f", {found.slots} slots"
    return Check("pass", f"{name}: {found.rows} chunks{slots}, made with {mark.model}")


def is_made_with(mark: Mark, model: str) -> bool:
    """An Ollama name without a tag means `:latest`."""
    return mark.model.removesuffix(":latest") == model.removesuffix(":latest")


def _real(folder: str) -> bytes:
    """As bytes: another process's locale may have had characters that this one's has not."""
    return os.path.realpath(folder.encode("utf-8", "surrogateescape"))


def _bytes(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_size
            except OSError:
                continue
    return total
