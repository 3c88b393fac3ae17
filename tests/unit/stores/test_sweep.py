"""Folders that Chroma left behind go; everything else stays."""

import uuid
from pathlib import Path

import numpy as np
import pytest

from pipesched.pipeline.model import Record
from pipesched.pipeline.stores import open_store, sweep


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A closed store with a live index folder and one of a dropped collection: (folder, the live one)."""
    folder = tmp_path_factory.mktemp("store")
    opened = open_store(str(folder))
    vectors = np.eye(4, dtype=np.float32)
    for name in ("gone", "live"):
        opened.create(name, {"x": 1})
        # Chroma writes an index folder with the thousandth row.
        opened.upsert(name, [Record(str(n), "t", {"source": "a"}, vectors[n % 4]) for n in range(1_100)])
    opened.drop("gone")
    live = {entry for entry in folder.iterdir() if entry.is_dir()}
    opened.close()
    assert len(live) == 2
    return folder, next(iter(live))


def test_only_folders_named_by_a_uuid_that_no_collection_uses_are_removed(store: tuple[Path, Path]) -> None:
    folder, _ = store
    kept = [folder / "notes", folder / str(uuid.uuid4()).upper(), folder / "1234"]
    for entry in kept:
        entry.mkdir()
    file = folder / str(uuid.uuid4())
    file.write_text("a file, not a folder")
    outside = folder.parent / "outside"
    outside.mkdir()
    link = folder / str(uuid.uuid4())
    link.symlink_to(outside)
    removed = sweep(str(folder))
    assert len(removed) == 1
    assert not removed[0].exists()
    assert all(entry.exists() for entry in [*kept, file, link, outside])
    assert sweep(str(folder)) == []
    opened = open_store(str(folder), create=False)
    assert len(opened.query("live", np.eye(4, dtype=np.float32)[0], limit=3, where={})) == 3
    opened.close()


def test_where_the_database_cannot_be_read_nothing_is_removed(tmp_path: Path) -> None:
    index = tmp_path / str(uuid.uuid4())
    index.mkdir()
    assert sweep(str(tmp_path)) == []
    (tmp_path / "chroma.sqlite3").write_bytes(b"garbage" * 1000)
    assert sweep(str(tmp_path)) == []
    assert sweep("http://127.0.0.1:1") == []
    assert index.exists()
