"""Programs that ask a collection while runs change, rebuild and swap it: `pipesched.reader`, in processes of their own."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipesched.errors import CollectionNotOurs, DataError, NotFound, PipeschedError, ServiceUnavailable
from pipesched.pipeline import faults
from pipesched.pipeline.stores import open_store
from pipesched.reader import ReadCollection, open_collection
from support.chroma_server import chroma_server
from support.command import clean_environment
from support.indexing import NOW, Index, vector_of

CHILD = str(Path(__file__).parents[1] / "support" / "reader_child.py")
RUNS = str(Path(__file__).parents[1] / "support" / "indexing_child.py")
TEXT = "Post number {} is about the number {}."


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path, real_store=True)
    for number in range(40):
        index.write(f"{number}.md", TEXT.format(number, number))
    return index


@contextmanager
def polling(index: Index, rows: int) -> Iterator[dict[str, Any]]:
    """A reader of `rows` rows that asks until the block ends; then its answer is in what is yielded."""
    wanted = next(row for row, value in index.rows().items() if value[0] == TEXT.format(7, 7))
    vector = json.dumps(vector_of(TEXT.format(7, 7)).tolist())
    answer: dict[str, Any] = {}
    with subprocess.Popen(
        [sys.executable, CHILD, index.options.storage_path, "posts", str(rows), wanted, vector],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        answer |= json.loads(child.stdout.readline())
        yield answer
        child.stdin.write("\n")
        child.stdin.close()
        answer |= json.loads(child.stdout.readline())


@contextmanager
def placed(index: Index, where: str) -> Iterator[None]:
    if where == "folder":
        yield
        return
    with chroma_server(index.home / "server") as (url, _):
        index.options = replace(index.options, storage_path=url)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "server"])
def test_a_reader_that_asks_all_the_time_misses_nothing_of_a_rebuild_in_another_process(
    index: Index, where: str
) -> None:
    with placed(index, where):
        index.run()
        with polling(index, rows=40) as answer:
            assert (answer["model"], answer["query_prefix"]) == ("onnx:hash", "query: ")
            for _ in range(2):
                assert index.run(rebuild=True).status == "succeeded"
                index.now = index.now.replace(hour=index.now.hour + 2)  # the old one is dropped by the next
            assert index.run().status == "succeeded"
            index.write("0.md", TEXT.format(0, 0), title="Only its title")
            assert index.run().stats.modified_documents == 1
    assert answer["wrong"] == []
    assert answer["generations"] == [1, 2, 3]
    assert answer["changes"] >= 3
    assert answer["asked"] >= 20


def ask(posts: ReadCollection, text: str) -> tuple[str, float]:
    found = posts.query(query_embeddings=[vector_of(text)], n_results=1)
    return found["documents"][0][0], found["distances"][0][0]


@pytest.mark.slow
def test_a_reader_finds_what_a_run_in_another_process_put_in(index: Index) -> None:
    """A client of Chroma's alone would go on searching the index as it read it."""
    index.run()
    with open_collection(index.options.storage_path, "posts") as posts:
        assert ask(posts, TEXT.format(7, 7))[1] == pytest.approx(0, abs=1e-6)
        before = posts.changed
        index.write("new.md", "A post that was not there before.")
        run_elsewhere(index)
        assert posts.count() == 41
        assert ask(posts, "A post that was not there before.")[1] == pytest.approx(0, abs=1e-6)
        assert posts.changed > before
        assert not posts.refresh()
        (index.posts / "7.md").unlink()
        run_elsewhere(index)
        assert ask(posts, TEXT.format(7, 7))[0] != TEXT.format(7, 7)


def run_elsewhere(index: Index, fault: str = "") -> int:
    """A run in a process of its own, an hour after the one before; its exit code, negative for a signal."""
    index.now += timedelta(hours=1)
    request = {
        "home": str(index.home),
        "log": str(index.home / "log"),
        "fault": fault,
        "options": {},
        "rebuild": False,
        "hours": (index.now - NOW) // timedelta(hours=1),
    }
    done = subprocess.run(
        [sys.executable, RUNS],
        input=json.dumps(request) + "\n",
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[1])


@pytest.mark.slow
def test_a_collection_that_is_filled_for_the_first_time_is_not_given_to_readers(index: Index) -> None:
    assert run_elsewhere(index, fault="upserted:kill") < 0
    store = open_store(index.options.storage_path)
    assert store.ids("posts"), "rows are in, and the run was killed"
    store.close()
    with pytest.raises(ServiceUnavailable) as error:
        open_collection(index.options.storage_path, "posts")
    assert error.value.code == "collection_filling"
    assert run_elsewhere(index) == 0
    with open_collection(index.options.storage_path, "posts") as posts:
        assert posts.count() == 40


@pytest.mark.slow
def test_a_reader_keeps_off_a_collection_that_is_put_in_again(index: Index) -> None:
    index.run()
    with open_collection(index.options.storage_path, "posts") as posts:
        assert posts.count() == 40
        store = open_store(index.options.storage_path)
        store.drop("posts")
        with pytest.raises(NotFound):
            posts.count()
        store.close()
        assert run_elsewhere(index, fault="upserted:kill") < 0
        with pytest.raises(ServiceUnavailable):
            posts.count()
        assert run_elsewhere(index) == 0
        assert posts.count() == 40


@pytest.mark.slow
def test_a_reader_that_comes_in_the_middle_of_a_swap_that_died_gets_the_new_generation(index: Index) -> None:
    index.run()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(faults.VARIABLE, "swap-half:raise")
        with pytest.raises(faults.FaultReached):
            index.run(rebuild=True)
    with open_collection(index.options.storage_path, "posts") as posts:
        assert (posts.generation, posts.count()) == (2, 40)
        assert index.run().status == "succeeded"
        assert (posts.generation, posts.count()) == (2, 40)


@pytest.mark.slow
def test_what_is_no_collection_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_collection(str(tmp_path / "nothing"), "posts")
    assert not (tmp_path / "nothing").exists()
    store = open_store(str(tmp_path / "store"))
    store.create("others", {"x": 1})
    with pytest.raises(CollectionNotOurs):
        open_collection(str(tmp_path / "store"), "others")
    with pytest.raises(NotFound):
        open_collection(str(tmp_path / "store"), "posts")
    store.close()


@pytest.mark.slow
def test_an_emptied_collection_counts_nothing_and_the_callers_mistakes_are_the_callers(index: Index) -> None:
    for path in index.posts.iterdir():
        path.unlink()
    index.run()
    with open_collection(index.options.storage_path, "posts") as posts:
        assert posts.count() == 0
        with pytest.raises((ValueError, TypeError)):
            posts.query(query_embeddings=[[1.0] * 8], n_results="many")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "server"])
def test_a_question_that_chroma_refuses_is_an_error_of_ours_and_the_next_one_is_answered(
    index: Index, where: str
) -> None:
    with placed(index, where):
        index.run()
        with open_collection(index.options.storage_path, "posts") as posts:
            for _ in range(2):
                with pytest.raises(PipeschedError, match="dimension"):
                    posts.query(query_embeddings=[[1.0] * 3], n_results=1)
            assert posts.count() == 40


@pytest.mark.slow
def test_a_panic_in_chroma_is_a_damaged_store(index: Index) -> None:
    index.run()
    database = Path(index.options.storage_path) / "chroma.sqlite3"
    with open_collection(index.options.storage_path, "posts") as posts:

        def count_what_is_torn_after_the_look(collection: Any) -> int:
            with closing(sqlite3.connect(database)) as connection, connection:
                connection.execute("UPDATE collections SET dimension = 'no number'")
            return collection.count()

        with pytest.raises(DataError, match="ColumnDecode"):
            posts._call(count_what_is_torn_after_the_look)


@pytest.mark.slow
def test_the_example_in_the_documentation_works(index: Index, capfd: pytest.CaptureFixture[str]) -> None:
    index.run()
    page = (Path(__file__).parents[2] / "docs" / "readers.md").read_text()
    example = page.split("```python\n")[1].split("```")[0]
    example = example.replace("db/vector_store", index.options.storage_path).replace("blog_posts", "posts")
    answers = {"embed": lambda model, text: vector_of(TEXT.format(7, 7)).tolist()}
    exec(compile(example, "docs/readers.md", "exec"), answers)
    assert "7.md" in capfd.readouterr().out
    shutil.rmtree(index.options.storage_path)
