"""Chroma's files damaged for real: a clear error, and `rebuild` makes the collection anew without embedding."""

import shutil
from pathlib import Path

import pytest

from pipesched.errors import DataError
from support.indexing import Index, same

pytestmark = pytest.mark.slow


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path, real_store=True)
    for number in range(12):
        index.write(
            f"{number}.md", f"Post number {number} is about the number {number}.", title=f"Post {number}"
        )
    index.run()
    index.model.texts.clear()
    return index


def store_of(index: Index) -> Path:
    return Path(index.options.storage_path)


@pytest.mark.parametrize("damage", ["garbage", "truncated"])
def test_a_damaged_database_is_an_error_that_names_rebuild_which_works(index: Index, damage: str) -> None:
    wanted = index.rows()
    file = store_of(index) / "chroma.sqlite3"
    data = file.read_bytes()
    file.write_bytes(b"garbage " * 4096 if damage == "garbage" else data[: len(data) // 3])
    with pytest.raises(DataError) as error:
        index.run(check="rows")
    assert error.value.code == "store_damaged"
    assert "pipesched rebuild" in error.value.hint
    out = index.run(rebuild=True)
    assert (out.status, out.mode) == ("succeeded", "rebuild")
    assert "the store was damaged, kept as" in out.message
    assert Path(f"{store_of(index)}.damaged-1").is_dir()
    assert not index.model.texts
    assert same(index.rows(), wanted)
    assert index.run().stats.unchanged_documents == 12


def test_a_torn_index_is_rebuilt_beside_it_in_the_same_store(index: Index) -> None:
    wanted = index.rows()
    for segment in store_of(index).iterdir():
        if segment.is_dir():
            for name in segment.iterdir():
                name.write_bytes(b"\xff" * 64)
    out = index.run(rebuild=True)
    assert out.status == "succeeded"
    assert not index.model.texts
    assert same(index.rows(), wanted)


def test_a_store_folder_that_was_removed_is_made_anew_by_any_run(index: Index) -> None:
    wanted = index.rows()
    shutil.rmtree(store_of(index))
    assert index.run().stats.chunks_embedded == 0
    assert same(index.rows(), wanted)


def test_dropped_generations_leave_no_folders_behind(index: Index) -> None:
    index.run(rebuild=True)
    index.now = index.now.replace(hour=index.now.hour + 2)
    index.run(rebuild=True)
    index.now = index.now.replace(hour=index.now.hour + 2)
    index.run()
    folders = [path for path in store_of(index).iterdir() if path.is_dir()]
    assert len(folders) <= 1
    assert len(index.rows()) == 12
