"""Which embeddings and manifests go."""

import os
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.files import KernelLock
from pipesched.pipeline.cache import FILE
from pipesched.pipeline.manifest import Manifest, manifest_path
from pipesched.pipeline.retention import (
    CachePruned,
    give_back,
    manifests,
    old_manifests,
    prune_cache,
    remove_manifest,
)
from pipesched.pipeline.stores import lock_path
from support.indexing import NOW, Index

DAY = timedelta(days=1)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path)
    index.write("one.md", "The first text.")
    index.write("two.md", "The second text.")
    index.run()
    return index


def vectors(index: Index) -> int:
    with closing(sqlite3.connect(index.index_dir / FILE)) as db:
        return db.execute("SELECT count(*) FROM vectors").fetchone()[0]


def prune(index: Index, days: float, **options) -> CachePruned:
    values = {"dry_run": False, "running": False} | options
    return prune_cache(index.index_dir, now=NOW + days * DAY, days=30, **values)


def test_what_a_collection_needs_stays_however_old(index: Index) -> None:
    for days in (0, 100, 1000):
        assert prune(index, days) == CachePruned()
    assert vectors(index) == 2


def test_an_embedding_goes_once_nobody_has_needed_it_for_thirty_days(index: Index) -> None:
    index.write("two.md", "Another second text.")
    index.run()
    assert prune(index, 1) == CachePruned(waiting=1)
    assert prune(index, 30) == CachePruned(waiting=1)
    gone = prune(index, 31)
    assert (gone.deleted, gone.bytes, gone.waiting) == (1, 8 * 4, 0)
    assert vectors(index) == 2
    index.model.texts.clear()
    assert index.run(rebuild=True).status == "succeeded"
    assert not index.model.texts


def test_one_that_was_needed_again_in_between_starts_anew(index: Index) -> None:
    index.write("two.md", "Another second text.")
    index.run()
    prune(index, 1)
    index.write("two.md", "The second text.")
    index.run()
    assert prune(index, 20).waiting == 1  # the other one
    index.write("two.md", "A third one.")
    index.run()
    assert prune(index, 40) == CachePruned(waiting=2)
    assert prune(index, 51).deleted == 1  # that other one, which nobody has named since day 20


def test_while_a_run_is_under_way_nothing_is_deleted(index: Index) -> None:
    index.write("two.md", "Another second text.")
    index.run()
    prune(index, 1)
    prune(index, 40, running=True)
    assert vectors(index) == 3
    assert prune(index, 40).deleted == 1


def test_a_dry_run_says_the_same_and_writes_nothing(index: Index) -> None:
    index.write("two.md", "Another second text.")
    index.run()
    prune(index, 1)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in index.index_dir.iterdir()}
    assert prune(index, 40, dry_run=True).deleted == 1
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in index.index_dir.iterdir()} == before
    assert prune(index, 40).deleted == 1


def test_a_manifest_that_cannot_be_read_might_need_anything(index: Index) -> None:
    index.write("two.md", "Another second text.")
    index.run()
    prune(index, 1)
    (index.index_dir / "other-0123456789abcdef.sqlite3").write_bytes(b"damaged" * 500)
    found = prune(index, 40)
    assert "other-0123456789abcdef.sqlite3 cannot be read" in found.kept
    assert vectors(index) == 3


def test_a_damaged_cache_is_left_to_the_next_run(index: Index) -> None:
    (index.index_dir / FILE).write_bytes(b"damaged" * 500)
    assert "damaged" in prune(index, 40).kept


def test_without_a_cache_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert prune_cache(tmp_path, now=NOW, dry_run=False, running=False) == CachePruned()
    assert list(tmp_path.iterdir()) == []


# manifests


def manifest(index_dir: Path, storage_path: str, collection: str, *, days_old: float = 100) -> Path:
    path = manifest_path(index_dir, storage_path, collection)
    index_dir.mkdir(exist_ok=True)
    made = Manifest.open(path)
    made.put_place(storage_path, collection)
    made.close()
    at = time.time() - days_old * 86400
    os.utime(path, (at, at))
    return path


def old(index_dir: Path, used: tuple[Path, ...] = ()) -> list[Path]:
    from datetime import UTC, datetime

    return [each.path for each in old_manifests(index_dir, used=used, now=datetime.now(UTC), days=30)]


def test_the_manifest_of_a_collection_that_is_gone_goes(tmp_path: Path) -> None:
    path = manifest(tmp_path / "index", str(tmp_path / "db"), "posts")
    assert old(tmp_path / "index") == [path]
    [found] = old_manifests(tmp_path / "index", used=(), now=NOW + 3000 * DAY)
    assert (found.collection, found.storage_path) == ("posts", str(tmp_path / "db"))
    remove_manifest(found)
    assert list(manifests(tmp_path / "index")) == []


def test_one_that_a_job_writes_to_stays(tmp_path: Path) -> None:
    path = manifest(tmp_path / "index", str(tmp_path / "db"), "posts")
    assert old(tmp_path / "index", used=(path,)) == []


def test_one_that_was_touched_lately_stays(tmp_path: Path) -> None:
    manifest(tmp_path / "index", str(tmp_path / "db"), "posts", days_old=10)
    assert old(tmp_path / "index") == []


def test_one_whose_store_may_come_back_stays(tmp_path: Path) -> None:
    manifest(tmp_path / "index", str(tmp_path / "unmounted" / "db"), "posts")
    manifest(tmp_path / "index", "http://127.0.0.1:1", "posts")
    assert old(tmp_path / "index") == []


def test_one_whose_store_is_being_written_stays(tmp_path: Path) -> None:
    manifest(tmp_path / "index", str(tmp_path / "db"), "posts")
    with KernelLock(lock_path(str(tmp_path / "db"), tmp_path / "index")) as lock:
        assert lock.try_acquire()
        assert old(tmp_path / "index") == []


def test_one_whose_collection_is_there_stays(tmp_path: Path) -> None:
    index = Index(tmp_path, real_store=True)
    index.write("one.md", "A text.")
    index.run()
    [path] = manifests(index.index_dir)
    at = time.time() - 100 * 86400
    os.utime(path, (at, at))
    assert old(index.index_dir) == []


def test_a_run_notes_which_collection_its_manifest_is_of(index: Index) -> None:
    [path] = manifests(index.index_dir)
    made = Manifest.copy(path)
    assert made.place() == (os.path.realpath(index.options.storage_path), index.options.collection_name)
    made.close()


def test_the_disk_gets_back_what_embeddings_and_chunks_have_left(index: Index) -> None:
    files = [index.index_dir / FILE, *manifests(index.index_dir)]
    for path in files:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE filler (text)")
            db.executemany("INSERT INTO filler VALUES (?)", (("x" * 1000,) for _ in range(2000)))
            db.execute("DROP TABLE filler")
    large = [path.stat().st_size for path in files]
    said = give_back(index.index_dir, dry_run=True)
    assert [path.stat().st_size for path in files] == large
    assert give_back(index.index_dir, dry_run=False) == said > 2_000_000 * len(files)
    assert all(path.stat().st_size < size / 5 for path, size in zip(files, large, strict=True))
    assert give_back(index.index_dir, dry_run=False) == 0
    assert index.verify().ok
