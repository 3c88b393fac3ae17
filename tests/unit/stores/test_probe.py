"""The cheap look at a Chroma folder: equal to what Chroma itself says, and silent where it cannot know."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipesched.pipeline.model import Record
from pipesched.pipeline.stores import open_store, probe


def rows(*ids: str) -> list[Record]:
    return [
        Record(row, f"text {row}", {"source": f"{row}.md"}, np.eye(1, 4)[0].astype(np.float32)) for row in ids
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store with one collection of three rows and one that is empty."""
    folder = tmp_path_factory.mktemp("made") / "store"
    store = open_store(str(folder))
    store.create("posts", {"x": 1})
    store.create("empty", {"x": 1})
    store.upsert("posts", rows("a", "b", "c"))
    store.close()
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "store"))


def test_where_there_is_no_store_there_are_no_collections_and_nothing_is_created(tmp_path: Path) -> None:
    assert probe(str(tmp_path / "none")) == {}
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_chroma_says_after_every_kind_of_write(folder: Path) -> None:
    seen = []
    writes = [
        lambda store: None,
        lambda store: store.upsert("posts", rows("d", "e")),
        lambda store: store.upsert("posts", rows("a")),
        lambda store: store.update_metadata("posts", [("a", {"source": "moved.md"})]),
        lambda store: store.delete("posts", ["b", "c"]),
        lambda store: store.rename("posts", "articles"),
        lambda store: store.drop("empty"),
    ]
    for write in writes:
        store = open_store(str(folder))
        write(store)
        truth = {info.name: (info.uuid, info.count) for info in store.collections()}
        store.close()
        found = probe(str(folder))
        assert found is not None
        assert {name: (one.uuid, one.count) for name, one in found.items()} == truth
        seen.append(found)
    numbers = [found.get("posts", found.get("articles")).writes for found in seen]  # type: ignore[union-attr]
    assert numbers[0] < numbers[1] < numbers[2] < numbers[3] < numbers[4] == numbers[5] == numbers[6]


def test_opening_and_reading_count_as_no_write(folder: Path) -> None:
    before = probe(str(folder))
    store = open_store(str(folder), create=False)
    store.ids("posts")
    store.query("posts", np.eye(1, 4)[0].astype(np.float32), limit=1, where={})
    store.close()
    assert probe(str(folder)) == before


def test_it_reads_a_store_with_odd_characters_in_its_path(folder: Path, tmp_path: Path) -> None:
    odd = folder.rename(tmp_path / "a?b#c %41 ü")
    found = probe(str(odd))
    assert found is not None
    assert found["posts"].count == 3


def test_a_path_that_is_no_utf_8_is_read_too(folder: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    folder.rename(odd)
    found = probe(odd)
    assert found is not None
    assert found["posts"].count == 3


@pytest.mark.parametrize("kind", ["sysdb", "metadb", "embeddings_queue", "something-new"])
def test_a_schema_that_is_not_known_is_not_read(folder: Path, kind: str) -> None:
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES (?, 99, 'x', 'x', 'x')", (kind,))
    assert probe(str(folder)) is None


def test_a_collection_of_the_same_name_in_another_database_is_not_ours(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as connection, connection:
        connection.execute("INSERT INTO databases VALUES ('d2', 'other', 'default_tenant')")
        connection.execute(
            "INSERT INTO collections (id, name, dimension, database_id) VALUES ('c2', 'posts', 4, 'd2')"
        )
        connection.execute("INSERT INTO segments VALUES ('s2', 'x', 'METADATA', 'c2')")
    found = probe(str(folder))
    assert found is not None
    assert found["posts"].count == 3


@pytest.mark.parametrize("damage", ["cut", "no database", "a folder", "no tables"])
def test_a_damaged_file_is_left_to_chroma(folder: Path, damage: str) -> None:
    file = folder / "chroma.sqlite3"
    if damage == "cut":
        os.truncate(file, 20_000)
    else:
        file.unlink()
    if damage == "no database":
        file.write_bytes(b"garbage" * 1000)
    elif damage == "a folder":
        file.mkdir()
    elif damage == "no tables":
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("CREATE TABLE something (x)")
    assert probe(str(folder)) is None


def test_an_empty_file_is_a_store_without_collections(folder: Path) -> None:
    os.truncate(folder / "chroma.sqlite3", 0)
    assert probe(str(folder)) == {}
    assert (folder / "chroma.sqlite3").stat().st_size == 0


def test_a_server_that_does_not_answer_or_is_none_tells_nothing() -> None:
    assert probe("http://127.0.0.1:1") is None


def test_it_imports_neither_chroma_nor_an_http_client(folder: Path) -> None:
    code = (
        "import sys; from pipesched.pipeline.stores import probe, lock_path, sweep; "
        f"assert probe({str(folder)!r})['posts'].count == 3; "
        "print(sorted({'chromadb', 'numpy', 'urllib.request', 'httpx', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
