"""A real store looked at without Chroma: whose the collection is, how many places its index has taken."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipesched.errors import DataError
from pipesched.pipeline.model import Record
from pipesched.pipeline.stores import open_store
from pipesched.pipeline.stores.inspection import check_index, database_trouble, inspect_folder
from pipesched.pipeline.stores.mark import Mark

MARK = Mark(
    3, "digest", "onnx:some-model", "fingerprint", 8, 200, "query: ", "/srv/posts", "*.md", filling=True
)


def records(start: int, stop: int) -> list[Record]:
    vectors = np.random.default_rng(1).normal(size=(stop, 8)).astype(np.float32)
    return [
        Record(f"r{i}", f"text {i}", {"source": f"{i}.md"}, vectors[i] / np.linalg.norm(vectors[i]))
        for i in range(start, stop)
    ]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "db"
    store = open_store(str(folder))
    store.create("posts", MARK.to_metadata())
    store.create("foreign", {"made_by": "somebody"})
    store.upsert("posts", records(0, 1000))
    for start in (1000, 2000):  # everything replaced, twice
        store.upsert("posts", records(start, start + 1000))
        store.delete("posts", [f"r{i}" for i in range(start - 1000, start)])
    store.close()
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "db"))


def test_the_mark_and_the_slots_of_a_collection_are_read(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    found = inspect_folder(str(folder), "posts")
    assert found is not None
    assert (found.rows, found.mark) == (1000, MARK)
    assert found.slots is not None
    assert found.slots >= 2000  # deleted rows keep their places
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def index_of(folder: Path) -> Path:
    (header,) = folder.glob("*/header.bin")
    return header.parent


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More rows than Chroma ever keeps out of the index."""
    folder = tmp_path_factory.mktemp("large") / "db"
    store = open_store(str(folder))
    store.create("posts", MARK.to_metadata())
    store.upsert("posts", records(0, 3300))
    store.close()
    return folder


def test_a_whole_index_is_found_whole(folder: Path, large: Path) -> None:
    for each in (folder, large):
        check_index(str(each), "posts")
        assert database_trouble(str(each)) == ""


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "the index of its 3300 rows is gone"),
        (lambda index: os.truncate(index / "data_level0.bin", 100), "has 100 of"),
        (lambda index: (index / "data_level0.bin").unlink(), "has 0 of"),
        (lambda index: os.truncate(index / "header.bin", 8), "the index of its 3300 rows is gone"),
    ],
    ids=["no folder", "cut short", "no vectors", "no header"],
)
def test_what_chroma_would_answer_from_and_say_nothing_is_found(
    large: Path, tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    copy = Path(shutil.copytree(large, tmp_path / "db"))
    damage(index_of(copy))
    with pytest.raises(DataError, match=words) as error:
        check_index(str(copy), "posts")
    assert error.value.code == "store_damaged"


@pytest.mark.parametrize("rows", [300, 1300])
def test_an_index_that_chroma_has_written_out_is_missed_however_few_its_rows(
    tmp_path: Path, rows: int
) -> None:
    store = open_store(str(tmp_path / "db"))
    store.create("posts", MARK.to_metadata())
    store.upsert("posts", records(0, rows))
    store.close()
    check_index(str(tmp_path / "db"), "posts")
    for index in tmp_path.glob("db/*/"):
        shutil.rmtree(index)
    if rows < 1000:  # it reads all of them in its log
        check_index(str(tmp_path / "db"), "posts")
        return
    with pytest.raises(DataError, match=f"the index of its {rows} rows is gone"):
        check_index(str(tmp_path / "db"), "posts")


def test_damaged_pages_of_the_database_are_found(large: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(large, tmp_path / "db"))
    with (copy / "chroma.sqlite3").open("r+b") as file:
        file.seek(60 * 4096)
        file.write(random.Random(7).randbytes(60 * 4096))
    assert database_trouble(str(copy)) != ""
    assert database_trouble(str(tmp_path / "nothing")) == ""


def test_a_foreign_or_a_missing_collection_has_no_mark(folder: Path, tmp_path: Path) -> None:
    foreign = inspect_folder(str(folder), "foreign")
    assert foreign is not None
    assert (foreign.mark, foreign.slots) == (None, None)
    assert inspect_folder(str(folder), "nobody") is None
    assert inspect_folder(str(tmp_path / "nowhere"), "posts") is None


def test_an_index_file_that_is_cut_or_of_another_version_tells_nothing(folder: Path) -> None:
    [header] = folder.rglob("header.bin")
    for content in (b"", header.read_bytes()[:10], b"\x02" + header.read_bytes()[1:]):
        header.write_bytes(content)
        found = inspect_folder(str(folder), "posts")
        assert found is not None
        assert found.slots is None
