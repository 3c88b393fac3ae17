"""What is done about a store that Chroma fails or dies of: kept aside as a whole, or one collection not read any more."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pipesched.errors import DataError
from pipesched.files import os_error
from pipesched.options import PipelineOptions
from pipesched.pipeline.backends import Backends
from pipesched.pipeline.cache import EmbeddingCache
from pipesched.pipeline.manifest import Manifest, manifest_path
from pipesched.pipeline.stores.examination import StoreDamaged
from pipesched.pipeline.stores.vendor_errors import REBUILD
from pipesched.report import counted


@dataclass(frozen=True, slots=True)
class Mended:
    """How the run can begin again: `unreadable` collections with the reason, or a store that is out of the way."""

    note: str
    unreadable: Mapping[str, str] = field(default_factory=dict)


def mend(
    error: DataError,
    options: PipelineOptions,
    index_dir: Path,
    *,
    asked: bool,
    known: Mapping[str, str],
    stop: threading.Event,
    backends: Backends,
) -> Mended:
    """Find out how far the damage goes, and take it out of the way of the next attempt.

    `asked`: a rebuild is wanted, whatever must be embedded for it; else only if nothing must. `known`: the collections that the
    attempt did not read, and failed all the same. Raises `error`, with what to do, where it is to be left as it is.
    """
    if isinstance(error, StoreDamaged):
        found = error.examined
    else:
        names = [options.collection_name, *_building(options, index_dir)]
        found = backends.examine(options.storage_path, names, stop=stop)
    if found.is_sound and not asked:
        raise error
    if not asked and (lacking := _lacking(options, index_dir)):
        raise DataError(error.message, hint=f"{REBUILD}, in which {lacking}", code="store_damaged") from error
    if found.collections and not found.store and not found.collections.keys() <= known.keys():
        why = "; ".join(f"{name} ({why})" for name, why in found.collections.items())
        return Mended(f"the index was damaged, and is not read any more: {why}", found.collections)
    return Mended(f"the store was damaged, kept as {set_store_aside(options.storage_path)}")


def _building(options: PipelineOptions, index_dir: Path) -> list[str]:
    path = manifest_path(index_dir, options.storage_path, options.collection_name)
    with closing(Manifest.copy(path)) as manifest:
        return [generation.name for generation in manifest.generations("building")]


def _lacking(options: PipelineOptions, index_dir: Path) -> str:
    """What the cache lacks to make the collection anew, in words; "" if nothing."""
    path = manifest_path(index_dir, options.storage_path, options.collection_name)
    with closing(Manifest.copy(path)) as manifest, closing(EmbeddingCache.open_to_read(index_dir)) as cache:
        live = manifest.generation("live")
        if live is None or live.settings is None:
            return "nothing is known of what it held"
        texts = [
            row[0]
            for row in manifest.database.rows(
                "SELECT DISTINCT text_hash FROM chunks WHERE generation = ? AND text_hash != x''",
                (live.number,),
            )
        ]
        missing = len(texts) - len(cache.known(live.settings.spec, texts))
    return f"{missing} of {counted(len(texts), 'text')} must be embedded again" if missing else ""


def set_store_aside(storage_path: str) -> Path:
    """Move the folder away; returns where it is now. Raises InputOutputError, NotPermitted."""
    folder = Path(storage_path)
    number = 1
    while (kept := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
        number += 1
    try:
        folder.replace(kept)
    except OSError as error:
        raise os_error("move", folder, error) from error
    return kept
