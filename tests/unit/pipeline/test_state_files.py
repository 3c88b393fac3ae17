"""The manifest's and the cache's files: private, read without a trace, migrated, set aside when damaged."""

import os
import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest

from pipesched.errors import DataError, InputOutputError
from pipesched.pipeline.cache import FILE, EmbeddingCache
from pipesched.pipeline.database import Damaged, Database, set_aside
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.manifest import Entry, Manifest, manifest_path
from pipesched.pipeline.mode import Generation
from pipesched.pipeline.model import ModelSpec
from pipesched.pipeline.plan import RecordedFile
from pipesched.pipeline.rows import Row, text_hash

ONE = ("CREATE TABLE t (x INTEGER)",)
TWO = (*ONE, "ALTER TABLE t ADD COLUMN y INTEGER")
SPEC = ModelSpec("onnx:m", "print", 4, 100)


def vector(value: float) -> np.ndarray:
    return np.array([value, 0, 0, 0], dtype=np.float32)


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Database.open(tmp_path / "db", ONE).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o600


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "db"
    database = Database.open(path, ONE)
    database.execute("INSERT INTO t VALUES (1)")
    database.close()
    before = files_of(tmp_path)
    reader = Database.open_to_read(path, ONE)
    assert reader.rows("SELECT x FROM t") == [(1,)]
    assert files_of(tmp_path) == before
    reader.close()
    assert files_of(tmp_path) == before


def test_reading_sees_what_a_writer_has_committed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    writer = Database.open(path, ONE)
    with writer.transaction():
        writer.execute("INSERT INTO t VALUES (1)")
    reader = Database.open_to_read(path, ONE)
    assert reader.rows("SELECT x FROM t") == [(1,)]
    reader.close()
    writer.close()


def test_a_file_that_is_not_there_reads_as_empty_and_is_not_made(tmp_path: Path) -> None:
    reader = Database.open_to_read(tmp_path / "db", ONE)
    assert reader.rows("SELECT x FROM t") == []
    reader.close()
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_is_migrated_and_its_copy_too(tmp_path: Path) -> None:
    path = tmp_path / "db"
    old = Database.open(path, ONE)
    old.execute("INSERT INTO t VALUES (1)")
    old.close()
    copy = Database.copy(path, TWO)
    assert copy.rows("SELECT x, y FROM t") == [(1, None)]
    copy.close()
    new = Database.open(path, TWO)
    assert new.rows("SELECT x, y FROM t") == [(1, None)]
    new.close()


def test_a_newer_file_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "db"
    Database.open(path, TWO).close()
    data = path.read_bytes()
    for open_it in (Database.open, Database.open_to_read):
        with pytest.raises(DataError, match="newer pipesched"):
            open_it(path, ONE)
    assert path.read_bytes() == data


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "db", ONE)
    with pytest.raises(sqlite3.ProgrammingError), database.transaction():
        database.execute_many("INSERT INTO t VALUES (?)", [(1,), (2, 3)])
    assert database.rows("SELECT x FROM t") == []
    database.close()


def test_a_transaction_that_a_full_disk_has_ended_says_that_the_disk_is_full(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "db", ONE)
    database.execute("PRAGMA max_page_count=20")  # to SQLite the same as a disk without room
    with pytest.raises(InputOutputError, match="the disk is full"), database.transaction():
        database.execute_many("INSERT INTO t VALUES (zeroblob(?))", [(4000,)] * 30)
    assert database.rows("SELECT x FROM t") == []
    with database.transaction():
        database.execute("INSERT INTO t VALUES (2)")
    database.close()


@pytest.mark.parametrize("content", [b"no database " * 100, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_damaged_file_is_told_and_set_aside_with_its_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "db"
    path.write_bytes(content)
    with pytest.raises(Damaged):
        Database.open(path, ONE)
    first = set_aside(path)
    path.write_bytes(content)
    assert set_aside(path) != first
    assert first.read_bytes() == content
    assert not path.exists()


def test_a_vector_comes_back_to_the_bit(tmp_path: Path) -> None:
    cache = EmbeddingCache.open(tmp_path)
    values = {
        text_hash(str(number)): np.random.default_rng(number).normal(size=4).astype("f4")
        for number in range(700)
    }
    cache.put(SPEC, values)
    found = cache.get(SPEC, list(values))
    assert all(np.array_equal(found[key], values[key]) for key in values)
    assert cache.known(SPEC, [*values, b"other"]) == set(values)
    assert cache.get(ModelSpec("onnx:m", "other print", 4, 100), list(values)) == {}
    cache.close()


def test_vectors_from_before_a_mark_can_be_left_out(tmp_path: Path) -> None:
    cache = EmbeddingCache.open(tmp_path)
    assert cache.last_number() == 0
    cache.put(SPEC, {b"a": vector(1), b"b": vector(2)})
    mark = cache.last_number()
    assert cache.known(SPEC, [b"a", b"b"], after=mark) == set()
    cache.put(SPEC, {b"a": vector(3)})
    assert cache.known(SPEC, [b"a", b"b"], after=mark) == {b"a"}
    assert cache.get(SPEC, [b"a"])[b"a"][0] == 3
    cache.close()


def test_the_latest_spec_of_a_model_is_remembered(tmp_path: Path) -> None:
    cache = EmbeddingCache.open(tmp_path)
    assert cache.spec("onnx:m") is None
    cache.put(SPEC, {b"a": vector(1)})
    newer = ModelSpec("onnx:m", "newer", 4, 100)
    cache.put(newer, {b"a": vector(1)})
    assert cache.spec("onnx:m") == newer
    cache.close()


def test_a_damaged_cache_reads_as_empty(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database " * 100)
    cache = EmbeddingCache.open_to_read(tmp_path)
    assert cache.known(SPEC, [b"a"]) == set()
    cache.close()


def entry(source: str, *ids: str) -> Entry:
    rows = [Row(row, source, number, "t", b"h" + row.encode(), {}, "m") for number, row in enumerate(ids)]
    file = RecordedFile(source, "stamp", 1, "raw", "parse", "indexed", "", len(ids))
    return Entry(file, rows, 10)


@pytest.fixture
def manifest(tmp_path: Path):
    opened = Manifest.open(tmp_path / "manifest")
    yield opened
    opened.close()


def test_what_is_committed_is_what_is_recorded(manifest: Manifest) -> None:
    manifest.commit(1, [entry("a.md", "1", "2"), entry("b.md", "3")], [])
    manifest.commit(1, [entry("a.md", "2", "4")], ["b.md"])
    assert list(manifest.files(1)) == ["a.md"]
    assert manifest.rows_of(1, ["a.md", "b.md"]) == {"a.md": {"2": "m", "4": "m"}, "b.md": {}}
    assert manifest.counts(1) == (1, 2)
    assert manifest.files(2) == {}


def test_an_open_intent_makes_old_and_new_rows_unknown(manifest: Manifest) -> None:
    manifest.commit(1, [entry("a.md", "1", "2")], [])
    manifest.intend(1, {"a.md": ["2", "3"], "new.md": ["9"]})
    assert manifest.has_intents()
    assert manifest.recover(1) == 2
    assert not manifest.has_intents()
    assert manifest.rows_of(1, ["a.md", "new.md"]) == {
        "a.md": {"1": "", "2": "", "3": ""},
        "new.md": {"9": ""},
    }
    files = manifest.files(1)
    assert (files["a.md"].state, files["a.md"].parse, files["a.md"].raw_hash) == ("indexed", "", "raw")
    assert files["new.md"].state == "pending"


def test_generations_come_back_as_they_were(manifest: Manifest) -> None:
    settings = IndexSettings("onnx:m", "p", 4, 100, "", True, 100, 10)
    made = Generation(
        3, "posts__g3", "uuid", "building", settings, "/d", "*.md", "docs", "full", "why", 7, "now"
    )
    manifest.put_generation(made)
    assert manifest.generation("building") == made
    assert manifest.generation("live") is None
    manifest.forget_generation(3)
    assert manifest.generations() == []


def test_settings_of_another_version_are_not_known(manifest: Manifest) -> None:
    assert IndexSettings.from_json('{"model": "x"}') is None
    assert IndexSettings.from_json("") is None


def test_stores_and_collections_have_manifests_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "store")
    one = manifest_path(tmp_path, str(tmp_path / "store"), "posts")
    assert one == manifest_path(tmp_path, str(tmp_path / "link"), "posts")
    assert one != manifest_path(tmp_path, str(tmp_path / "store"), "other")
    assert one != manifest_path(tmp_path, "http://localhost:8000", "posts")
    assert len(manifest_path(tmp_path, "x", "n" * 500).name) < 100


def test_the_manifest_is_written_through_to_the_disk(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "db", ONE)
    assert database.rows("PRAGMA journal_mode") == [("wal",)]
    assert database.rows("PRAGMA synchronous") == [(2,)]
    database.close()
    with sqlite3.connect(tmp_path / "db") as again:
        assert again.execute("PRAGMA user_version").fetchone() == (1,)
    again.close()
