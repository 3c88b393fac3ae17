"""What of the pipeline's state is kept: embeddings that some manifest names, manifests of collections that there are."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pipesched.errors import PipeschedError
from pipesched.files import KernelLock, os_error
from pipesched.pipeline import cache
from pipesched.pipeline.database import Database
from pipesched.pipeline.manifest import MIGRATIONS as MANIFEST
from pipesched.pipeline.manifest import Manifest
from pipesched.pipeline.stores import lock_path, probe
from pipesched.settings import KEEP_CACHE_DAYS, KEEP_MANIFEST_DAYS

_BATCH: Final = 2000
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CachePruned:
    """`deleted` embeddings of `bytes` together; `waiting`: named by nobody, and not for long enough. `kept`: why nothing was done."""

    deleted: int = 0
    bytes: int = 0
    waiting: int = 0
    kept: str = ""


def prune_cache(
    index_dir: Path, *, now: datetime, days: int = KEEP_CACHE_DAYS, dry_run: bool, running: bool
) -> CachePruned:
    """Delete embeddings that no manifest has named for `days`, as often as this was looked at.

    `running`: a run is under way, which may be about to use one: nothing is deleted then, only noted. A manifest that cannot be
    read might name any of them: then nothing is done. Raises Busy, InputOutputError, NotPermitted.
    """
    path = index_dir / cache.FILE
    if not path.exists():
        return CachePruned()
    try:
        with closing(_open(path, dry_run=dry_run)) as database:
            if not _is_marked(database):
                return CachePruned()
            _note_references(database, index_dir)
            if not dry_run:
                _mark(database, now)
            return _sweep(database, now, days, dry_run=dry_run or running)
    except _UnreadableError as error:
        return CachePruned(kept=str(error))
    except PipeschedError as error:
        if error.exit_code == 65:  # the next run makes the cache anew
            return CachePruned(kept=error.message)
        raise


class _UnreadableError(Exception):
    """A manifest cannot be read."""


def _open(path: Path, *, dry_run: bool) -> Database:
    return (Database.open_to_read if dry_run else Database.open)(path, cache.MIGRATIONS)


def _is_marked(database: Database) -> bool:
    """Whether anybody has ever looked: a dry run brings no old file up to date."""
    return bool(database.rows("SELECT 1 FROM sqlite_master WHERE name = 'unreferenced'"))


def _note_references(database: Database, index_dir: Path) -> None:
    """A temporary table of what the manifests name; settings that this version does not know may be of any model."""
    database.execute("CREATE TEMP TABLE named (model INTEGER, text_hash BLOB NOT NULL)")
    models = {row[0]: row[1] for row in database.rows("SELECT fingerprint, id FROM models")}
    with database.transaction("DEFERRED"):
        for path in manifests(index_dir):
            try:
                with closing(Database.open_to_read(path, MANIFEST)) as manifest:
                    for number, settings in manifest.rows("SELECT number, settings FROM generations"):
                        rows = manifest.stream(
                            "SELECT DISTINCT text_hash FROM chunks WHERE generation = ?", (number,)
                        )
                        model = models.get(_fingerprint(settings))
                        database.execute_many(
                            "INSERT INTO named VALUES (?, ?)", ((model, row[0]) for row in rows)
                        )
            except PipeschedError as error:
                raise _UnreadableError(f"{path.name} cannot be read: {error.message}") from error
    database.execute("CREATE INDEX temp.named_by_text ON named (text_hash, model)")


def _fingerprint(settings: str) -> str:
    try:
        return str(json.loads(settings)["fingerprint"])
    except (ValueError, KeyError, TypeError):
        return ""


_IS_NAMED: Final = "EXISTS (SELECT 1 FROM named n WHERE n.text_hash = v.text_hash AND (n.model = v.model OR n.model IS NULL))"


def _mark(database: Database, now: datetime) -> None:
    """Since when each embedding has been named by nobody, as far as it was looked at."""
    with database.transaction():
        unnamed = f"SELECT v.number FROM vectors v WHERE NOT {_IS_NAMED}"
        database.execute(f"DELETE FROM unreferenced WHERE number NOT IN ({unnamed})")
        database.execute(
            f"INSERT OR IGNORE INTO unreferenced SELECT number, ? FROM ({unnamed})",
            (_seconds(now),),
        )


def _sweep(database: Database, now: datetime, days: int, *, dry_run: bool) -> CachePruned:
    before = _seconds(now - timedelta(days=days))
    old = f"FROM vectors v JOIN unreferenced u ON u.number = v.number WHERE u.since <= ? AND NOT {_IS_NAMED}"
    count, size = database.rows(f"SELECT count(*), coalesce(sum(length(vector)), 0) {old}", (before,))[0]
    (unnamed,) = database.rows(f"SELECT count(*) FROM vectors v WHERE NOT {_IS_NAMED}")[0]
    if not dry_run:
        while True:
            with database.transaction():
                gone = database.execute(
                    f"DELETE FROM vectors WHERE number IN (SELECT v.number {old} LIMIT {_BATCH})",
                    (before,),
                )
            if gone < _BATCH:
                break
    return CachePruned(deleted=count, bytes=size, waiting=unnamed - count)


def _seconds(time: datetime) -> int:
    return (time - _EPOCH) // _SECOND


def give_back(index_dir: Path, *, dry_run: bool) -> int:
    """The bytes that what was deleted has left in the cache and the manifests, given back to the disk.

    A file that cannot be used, or is being used, is left as it is.
    """
    total = 0
    files = [(index_dir / cache.FILE, cache.MIGRATIONS), *((path, MANIFEST) for path in manifests(index_dir))]
    for path, migrations in files:
        if not path.exists():
            continue
        found = 0
        with suppress(PipeschedError), closing(Database.open_to_read(path, migrations)) as database:
            found = database.reclaimable()
        if not found or dry_run:
            total += found
            continue
        with suppress(PipeschedError), closing(Database.open(path, migrations)) as database:
            total += database.give_back()
    return total


def manifests(index_dir: Path) -> Iterator[Path]:
    """The manifests' files, those that were set aside left out."""
    with suppress(FileNotFoundError, NotADirectoryError):
        yield from sorted(path for path in index_dir.glob("*.sqlite3") if path.name != cache.FILE)


@dataclass(frozen=True, slots=True)
class OldManifest:
    path: Path
    collection: str
    storage_path: str
    size: int


def old_manifests(
    index_dir: Path, *, used: Collection[Path], now: datetime, days: int = KEEP_MANIFEST_DAYS
) -> list[OldManifest]:
    """Manifests of collections that their stores do not have any more, untouched for `days`, and that nobody writes to.

    `used`: those that jobs write to. A store that does not answer, or whose folder is gone with the disk that it was on, may come
    back: its manifests stay.
    """
    found = []
    for path in manifests(index_dir):
        if path in used or not _is_old(path, now, days):
            continue
        try:
            with closing(Manifest(Database.open_to_read(path, MANIFEST))) as manifest:
                place = manifest.place()
        except PipeschedError:
            continue
        if place is not None and _is_gone(*place, index_dir=index_dir):
            found.append(OldManifest(path, place[1], place[0], _size(path)))
    return found


def _is_old(path: Path, now: datetime, days: int) -> bool:
    try:
        newest = max(
            each.stat().st_mtime for each in (path, path.with_name(path.name + "-wal")) if each.exists()
        )
    except (OSError, ValueError):
        return False
    return datetime.fromtimestamp(newest, UTC) <= now - timedelta(days=days)


def _is_gone(storage_path: str, collection: str, *, index_dir: Path) -> bool:
    present = probe(storage_path)
    if present is None or collection in present:
        return False
    if not present and "://" not in storage_path and not Path(storage_path).parent.is_dir():
        return False
    try:
        return not KernelLock(lock_path(storage_path, index_dir)).is_held()
    except PipeschedError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def remove_manifest(old: OldManifest) -> None:
    """The journals go first: without its file a journal means nothing. Raises InputOutputError, NotPermitted."""
    for suffix in ("-wal", "-shm", ""):
        path = old.path.with_name(old.path.name + suffix)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise os_error("remove", path, error) from error
