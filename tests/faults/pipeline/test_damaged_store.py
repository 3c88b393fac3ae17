"""Chroma's files damaged for real: an ordinary run makes them anew from the cache, and who only reads says what to do."""

import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipesched.errors import DataError
from pipesched.pipeline import embedders, faults, stores
from pipesched.pipeline.cache import FILE
from pipesched.pipeline.manifest import manifest_path
from pipesched.pipeline.run import run
from pipesched.pipeline.stores import WritingNote
from pipesched.pipeline.stores.examination import Examined
from pipesched.pipeline.stores.note import NAME
from pipesched.report import Outcome
from support.command import Result, pipesched
from support.indexing import Index, difference, same

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


def ruin_database(index: Index, damage: str) -> None:
    file = store_of(index) / "chroma.sqlite3"
    data = file.read_bytes()
    file.write_bytes(b"garbage " * 4096 if damage == "garbage" else data[: len(data) // 3])


@pytest.mark.parametrize("damage", ["garbage", "truncated"])
@pytest.mark.parametrize("rebuild", [False, True])
def test_a_damaged_database_is_kept_aside_and_the_store_made_anew_without_embedding(
    index: Index, damage: str, rebuild: bool
) -> None:
    wanted = index.rows()
    ruin_database(index, damage)
    out = index.run(rebuild=rebuild)
    assert out.status == "succeeded"
    assert "the store was damaged, kept as" in out.message
    assert Path(f"{store_of(index)}.damaged-1").is_dir()
    assert not index.model.texts
    assert same(index.rows(), wanted)
    assert index.run().stats.unchanged_documents == 12


@pytest.mark.parametrize("when", ["a day later", "full"])
def test_damage_that_no_change_leads_to_is_found_within_a_day_and_by_a_full_run(
    index: Index, when: str
) -> None:
    wanted = index.rows()
    index.run()
    database = store_of(index) / "chroma.sqlite3"
    with closing(sqlite3.connect(database)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'embedding_fulltext_search_content'"
        ).fetchone()
    with database.open("r+b") as file:  # the texts, which nobody reads until there is a query
        file.seek((page - 1) * 4096)
        file.write(random.Random(7).randbytes(4096))
    if when == "full":
        out = index.run(incremental_mode="full")
    else:
        assert index.run().message == "nothing changed, 12 chunks"
        index.now += timedelta(days=1)
        out = index.run()
    assert "the store was damaged, kept as" in out.message
    assert not index.model.texts
    assert same(index.rows(), wanted)


def test_a_damaged_store_that_would_have_to_be_embedded_again_is_left_until_rebuild_is_asked_for(
    index: Index,
) -> None:
    wanted = index.rows()
    (index.index_dir / FILE).unlink()
    ruin_database(index, "garbage")
    with pytest.raises(DataError) as error:
        index.run()
    assert error.value.code == "store_damaged"
    assert "pipesched rebuild" in error.value.hint
    assert "12 of 12 texts must be embedded again" in error.value.hint
    assert not Path(f"{store_of(index)}.damaged-1").exists()
    assert index.run(rebuild=True).stats.chunks_embedded == 12
    assert same(index.rows(), wanted)


# The index of a collection is written from a thousand rows on.


def index_of(folder: Path) -> Path:
    """The folder of the index that was written."""
    return next(entry.parent for entry in folder.glob("*/index_metadata.pickle"))


def scramble(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[::7] = bytes(byte ^ 0x5A for byte in data[::7])
    file.write_bytes(data)


def packaged(home: Path) -> Index:
    """As the packaged model would make it, so that the installed command takes it for its own; the vectors cost nothing."""
    index = Index(home, real_store=True)
    spec = embedders.identify("onnx:all-MiniLM-L6-v2")
    index.model.spec = lambda _: spec  # type: ignore[method-assign]
    index.options = replace(index.options, embedding_model=spec.model, chunk_size=1000, chunk_overlap=200)
    return index


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Index:
    index = packaged(tmp_path_factory.mktemp("large"))
    for number in range(1_200):
        index.write(f"{number % 9}/{number}.md", f"Post number {number} is about the number {number}.")
    index.run()
    return index


@pytest.fixture
def copy(large: Index, tmp_path: Path) -> Index:
    """The large one, to be ruined; its posts are shared."""
    for name in ("store", "state"):
        shutil.copytree(large.home / name, tmp_path / name)
    index = packaged(tmp_path)
    index.now = large.now
    index.options = replace(index.options, data_dir=large.options.data_dir)
    manifest_path(index.index_dir, large.options.storage_path, "posts").rename(
        manifest_path(index.index_dir, index.options.storage_path, "posts")
    )
    return index


DAMAGE: dict[str, Callable[[Path], object]] = {
    # Chroma dies of this one by SIGSEGV.
    "vectors scrambled": lambda folder: scramble(index_of(folder) / "data_level0.bin"),
    "vectors cut short": lambda folder: os.truncate(index_of(folder) / "data_level0.bin", 100),
    "header overwritten": lambda folder: scramble(index_of(folder) / "header.bin"),
    "index metadata empty": lambda folder: os.truncate(index_of(folder) / "index_metadata.pickle", 0),
    "index folder gone": lambda folder: shutil.rmtree(index_of(folder)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_ordinary_run_finds_a_torn_index_and_makes_a_new_one_from_the_cache(
    large: Index, copy: Index, damage: str
) -> None:
    DAMAGE[damage](store_of(copy))
    out = copy.run()
    assert (out.status, out.mode, out.stats.chunks_embedded) == ("succeeded", "rebuild", 0), out.message
    assert out.mode_reason.startswith("the index was damaged (")
    if damage == "vectors scrambled":
        assert "SIGSEGV" in out.mode_reason
    assert not Path(f"{store_of(copy)}.damaged-1").exists(), "other collections in the store stay"
    ours, wanted = copy.rows(), large.rows()
    assert same(ours, wanted), difference(ours, wanted)
    assert not (store_of(copy) / NAME).exists()
    # The torn one is gone, at once.
    assert [path for path in store_of(copy).iterdir() if path.is_dir()] == [index_of(store_of(copy))]
    assert copy.run().mode_reason == "the settings agree with the manifest"


def test_a_torn_index_without_a_record_is_left_until_rebuild_is_asked_for(large: Index, copy: Index) -> None:
    manifest_path(copy.index_dir, copy.options.storage_path, "posts").unlink()
    WritingNote(copy.options.storage_path).make()
    scramble(index_of(store_of(copy)) / "data_level0.bin")
    with pytest.raises(DataError, match="SIGSEGV") as error:
        copy.run()
    assert "pipesched rebuild, in which nothing is known" not in error.value.hint
    assert "pipesched rebuild" in error.value.hint
    assert copy.run(rebuild=True).stats.chunks_embedded == 0
    assert same(copy.rows(), large.rows())


def test_a_document_that_fails_while_the_index_is_torn_is_named_and_comes_back(
    large: Index, copy: Index
) -> None:
    shutil.copytree(large.posts, copy.posts, dirs_exist_ok=True)
    copy.options = replace(copy.options, data_dir=str(copy.posts), force_recreate=False)
    copy.run(force_recreate=True)
    good = (copy.posts / "3/3.md").read_text()
    (copy.posts / "3/3.md").write_text("---\ntitle: [\n---\nx")
    for file in store_of(copy).glob("*/data_level0.bin"):  # the replaced generation's too
        scramble(file)
    out = copy.run()
    assert (out.exit_code, out.stats.failed_documents) == (3, 1)
    assert any("cannot be carried over" in error.message for error in out.errors), out
    assert len(copy.rows()) == 1_199
    (copy.posts / "3/3.md").write_text(good)
    assert copy.run().exit_code == 0
    assert len(copy.rows()) == 1_200


def test_a_store_is_examined_by_our_code_whatever_lies_in_the_current_folder(
    copy: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    DAMAGE["vectors scrambled"](store_of(copy))
    (copy.home / "json.py").write_text("raise SystemExit('an example in a post')")
    monkeypatch.chdir(copy.home)
    found = stores.examine(copy.options.storage_path, ["posts"], stop=threading.Event())
    assert "SIGSEGV" in found.collections["posts"]


def test_a_healthy_store_is_not_examined_unless_a_writer_died(copy: Index) -> None:
    examined: list[list[str]] = []

    def examine(storage_path: str, collections: Sequence[str], *, stop: threading.Event) -> Examined:
        examined.append(list(collections))
        return stores.examine(storage_path, collections, stop=stop)

    def run_(**options: Any) -> Outcome:
        copy.now += timedelta(minutes=1)
        return run(
            replace(copy.options, **options),
            index_dir=copy.index_dir,
            now=lambda: copy.now,
            backends=replace(copy.backends, examine=examine),
        )

    assert run_(index_drafts=True).status == "succeeded"
    assert run_(blog_base_url="https://blog.example").stats.modified_documents == 1_200
    assert not examined
    WritingNote(copy.options.storage_path).make()
    assert run_(blog_base_url="https://blog.example").stats.unchanged_documents == 1_200
    assert not examined, "what need not be opened need not be examined"
    assert run_(blog_base_url="").stats.modified_documents == 1_200
    assert examined == [["posts"]]
    assert run_(blog_base_url="https://blog.example").stats.modified_documents == 1_200
    assert len(examined) == 1


def test_the_note_stays_when_a_writer_dies_or_its_disk_is_full(index: Index) -> None:
    note = store_of(index) / NAME
    assert not note.exists()
    index.write("0.md", "Another text.")
    environment = pytest.MonkeyPatch()
    environment.setenv(faults.VARIABLE, "upserted:raise")
    with environment.context(), pytest.raises(faults.FaultReached):
        index.run()
    environment.undo()
    assert note.exists()
    assert index.run().status == "succeeded"
    assert not note.exists()


def command(index: Index, *arguments: str, level: str = "warning") -> Result:
    """The installed command on `index`, whose state folder must be named as the command expects it."""
    if not (index.home / "index").exists():
        (index.home / "state").rename(index.home / "index")
    options = ["--data-dir", index.options.data_dir, "--storage-path", "store", "--collection-name", "posts"]
    return pipesched(
        *arguments,
        *options,
        "--json",
        cwd=index.home,
        env={"PIPESCHED_STATE_DIR": str(index.home), "LOG_LEVEL": level},
    )


@pytest.mark.parametrize(
    ("arguments", "damage"),
    [
        (("search", "a number"), "vectors scrambled"),
        (("verify", "--deep"), "vectors scrambled"),
        (("search", "a number"), "header overwritten"),
        (("verify",), "header overwritten"),
    ],
    ids=["search-dies", "verify-dies", "search-fails", "verify-fails"],
)
def test_a_command_that_reads_a_torn_index_says_so_and_what_to_do(
    copy: Index, arguments: tuple[str, ...], damage: str
) -> None:
    sound = command(copy, *arguments)
    assert sound.code == 0, sound.out + sound.err
    DAMAGE[damage](store_of(copy))
    done = command(copy, *arguments)
    assert done.code == 65, done.out + done.err
    assert done.json["error"]["code"] == "store_damaged"
    assert ("SIGSEGV" in done.json["error"]["message"]) == (damage == "vectors scrambled")
    assert "pipesched rebuild" in done.json["error"]["hint"]


@pytest.mark.parametrize("arguments", [("search", "a number"), ("verify",)], ids=["search", "verify"])
def test_a_panic_in_chroma_is_told_once_by_our_error_and_in_its_own_words_at_debug(
    copy: Index, arguments: tuple[str, ...]
) -> None:
    with closing(sqlite3.connect(store_of(copy) / "chroma.sqlite3")) as connection, connection:
        connection.execute("UPDATE collections SET dimension = 'no number'")
    done = command(copy, *arguments)
    assert (done.code, done.json["error"]["code"], done.err) == (65, "store_damaged", "")
    assert "ColumnDecode" in done.json["error"]["message"]
    told = command(copy, *arguments, level="debug")
    assert told.code == 65
    assert "panicked at" in told.err


def test_repair_mends_what_verify_died_of(copy: Index) -> None:
    DAMAGE["vectors scrambled"](store_of(copy))
    done = command(copy, "verify", "--deep", "--repair")
    assert done.code == 0, done.out + done.err
    assert "SIGSEGV" in done.json["message"]
    assert done.json["ok"] is True


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
