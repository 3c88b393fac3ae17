"""Opening a store: what is created and what is not, whose settings count, where its lock is."""

import os
from pathlib import Path

import numpy as np
import pytest

from pipesched.errors import CannotCreate, ConfigurationError, InvalidValue, NotFound
from pipesched.pipeline.model import Record
from pipesched.pipeline.stores import lock_path, open_store


@pytest.mark.parametrize("kind", ["missing", "empty folder", "empty database"])
def test_a_reader_creates_nothing_where_there_is_no_store(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "store"
    if kind != "missing":
        folder.mkdir()
    if kind == "empty database":
        (folder / "chroma.sqlite3").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NotFound, match="no vector store") as raised:
        open_store(str(folder), create=False)
    assert raised.value.exit_code == 4
    assert raised.value.code == "collection_not_found"
    assert "pipesched run" in raised.value.hint
    assert sorted(tmp_path.rglob("*")) == before
    assert all(not entry.is_file() or entry.stat().st_size == 0 for entry in before)


def test_a_writer_creates_the_folder_with_those_above_it(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "db" / "vector_store"))
    store.close()
    assert (tmp_path / "db" / "vector_store" / "chroma.sqlite3").exists()


def test_a_folder_that_was_removed_can_be_made_again_in_the_same_process(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "store"
    for _ in range(2):
        store = open_store(str(folder))
        store.create("posts", {"x": 1})
        store.close()
        shutil.rmtree(folder)


def test_a_store_that_is_open_twice_stays_open_when_one_is_closed(tmp_path: Path) -> None:
    first, second = open_store(str(tmp_path)), open_store(str(tmp_path))
    first.close()
    first.close()
    assert second.collections() == []
    second.close()


@pytest.mark.parametrize("where", ["a-file", "a-file/below"])
def test_a_file_in_the_folders_place_is_named_and_stays(tmp_path: Path, where: str) -> None:
    (tmp_path / "a-file").write_text("mine")
    with pytest.raises(CannotCreate, match="a-file") as raised:
        open_store(str(tmp_path / where))
    assert raised.value.exit_code == 73
    assert (tmp_path / "a-file").read_text() == "mine"


def test_a_path_that_is_no_utf_8_is_refused_because_chroma_cannot_take_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="UTF-8"):
        open_store(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))


def test_the_env_file_of_the_current_folder_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("ALLOW_RESET=perhaps\nCHROMA_SERVER_HTTP_PORT=none\n")
    monkeypatch.chdir(tmp_path)
    store = open_store(str(tmp_path / "store"))
    assert store.collections() == []
    store.close()


def test_a_variable_that_chroma_cannot_use_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHROMA_SERVER_HTTP_PORT", "none")
    with pytest.raises(ConfigurationError, match="chroma_server_http_port"):
        open_store(str(tmp_path / "store"))


def test_a_collection_made_by_another_program_can_be_looked_at(tmp_path: Path) -> None:
    import chromadb

    other = chromadb.PersistentClient(
        path=str(tmp_path), settings=chromadb.Settings(anonymized_telemetry=False)
    )
    other.create_collection("theirs")  # with Chroma's own embedding function
    other.close()
    store = open_store(str(tmp_path))
    found = store.find("theirs")
    assert found is not None
    assert dict(found.metadata) == {}
    store.upsert("theirs", [Record("a", "t", {"source": "a.md"}, np.eye(1, 4)[0].astype(np.float32))])
    store.update_metadata("theirs", [("a", {"source": "b.md"})])
    assert store.ids("theirs") == {"a"}
    store.close()


def test_keys_that_are_not_ours_stay_with_a_row_and_ours_go(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.create("posts", {"x": 1})
    vector = np.eye(1, 4)[0].astype(np.float32)
    store.upsert("posts", [Record("a", "t", {"source": "a.md", "date": "2026"}, vector)])
    with store._collection("posts") as collection:  # type: ignore[attr-defined]
        collection.update(ids=["a"], metadatas=[{"theirs": 1}])
    store.upsert("posts", [Record("a", "t", {"source": "a.md"}, vector)])
    assert store.get("posts", ["a"])[0].metadata == {"source": "a.md", "theirs": 1}
    store.close()


@pytest.mark.slow
def test_more_ids_than_sqlite_has_variables_are_read(tmp_path: Path) -> None:
    total = 33_000
    store = open_store(str(tmp_path))
    store.create("posts", {"x": 1})
    vectors = np.random.default_rng(1).normal(size=(total, 2)).astype(np.float32)
    with store._collection("posts") as collection:  # type: ignore[attr-defined]
        for start in range(0, total, 5_000):
            part = range(start, min(start + 5_000, total))
            collection.add(
                ids=[str(n) for n in part],
                embeddings=vectors[part],
                metadatas=[{"chunk_index": n} for n in part],
            )
    wanted = {str(n) for n in range(total)}
    assert store.ids("posts") == wanted
    assert {row.id for page in store.pages("posts", vectors=True) for row in page} == wanted
    assert len(store.get("posts", sorted(wanted))) == total
    store.close()


def test_a_folders_lock_is_beside_what_it_resolves_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    state = tmp_path / "state"
    expected = tmp_path / "real.lock"
    assert lock_path(str(tmp_path / "link"), state) == expected
    assert lock_path(str(tmp_path / "real"), tmp_path / "other-state") == expected
    assert lock_path(str(tmp_path / "x" / ".." / "real") + "/", state) == expected


def test_a_servers_lock_is_the_same_however_its_url_ends(tmp_path: Path) -> None:
    one = lock_path("http://chroma.example:8000", tmp_path)
    assert one == lock_path("http://chroma.example:8000/", tmp_path)
    assert one != lock_path("http://chroma.example:8001", tmp_path)
    assert one.parent == tmp_path
