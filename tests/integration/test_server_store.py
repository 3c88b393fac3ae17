"""A Chroma server is an equal store: a life of collections on a real `chroma run`, and its one writer."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pipesched.errors import Busy, ServiceUnavailable
from pipesched.pipeline import faults
from pipesched.pipeline.model import Record
from pipesched.pipeline.run import run
from pipesched.pipeline.stores import StoreLock, open_store
from pipesched.pipeline.stores.lock import server_lock_path
from pipesched.pipeline.stores.mark import Mark
from support.chroma_server import chroma_server
from support.indexing import Index, difference, same


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chroma_server(tmp_path_factory.mktemp("served") / "data") as (url, _):
        yield url


@pytest.fixture
def index(url: str, tmp_path: Path) -> Index:
    """Eight posts in a collection of their own on the server."""
    store = open_store(url)
    for info in store.collections():
        store.drop(info.name)
    store.close()
    index = Index(tmp_path, real_store=True)
    for number in range(8):
        index.write(f"{number}.md", f"Post number {number} is about {number}.", title=f"Post {number}")
    index.options = replace(index.options, storage_path=url)
    assert index.run().stats.new_documents == 8
    index.model.texts.clear()
    return index


def as_fresh(index: Index) -> None:
    ours = index.rows()
    folder = replace(index, options=replace(index.options, storage_path=str(index.home / "store")))
    wanted = folder.fresh()
    assert same(ours, wanted), difference(ours, wanted)


def mark(index: Index, name: str = "posts") -> Mark:
    store = open_store(index.options.storage_path)
    try:
        info = store.find(name)
        assert info is not None
        found = Mark.from_metadata(info.metadata)
        assert found is not None
        return found
    finally:
        store.close()


@pytest.mark.slow
def test_a_collection_on_a_server_is_kept_in_step_like_one_in_a_folder(tmp_path: Path) -> None:
    index = Index(tmp_path, real_store=True)
    for number in range(8):
        index.write(f"{number}.md", f"Post number {number} is about {number}.", title=f"Post {number}")
    folder = index.options
    with chroma_server(tmp_path / "server") as (url, _):
        index.options = replace(folder, storage_path=url)
        assert index.run().stats.new_documents == 8
        assert index.run().stats.unchanged_documents == 8
        (index.posts / "1.md").rename(index.posts / "moved.md")
        (index.posts / "2.md").unlink()
        assert index.run().stats.renamed_documents == 1
        store = open_store(url)
        store.delete("posts", sorted(store.ids("posts"))[:1])
        store.close()
        assert "1 row missing" in index.run().message
        assert index.verify(deep=True).ok
        assert index.run(rebuild=True).status == "succeeded"
        index.now += timedelta(hours=2)
        assert index.run().status == "succeeded"
        ours = index.rows()
        assert set(index.model.texts.values()) == {1}
    with pytest.raises(ServiceUnavailable):
        index.run()
    index.options = folder
    assert same(ours, index.fresh())


@pytest.mark.slow
def test_a_run_without_change_opens_no_connection_through_chroma(index: Index) -> None:
    def refuse(storage_path: str, *, create: bool = True) -> None:
        raise AssertionError("nothing changed")

    out = run(
        index.options,
        index_dir=index.index_dir,
        now=lambda: index.now + timedelta(hours=1),
        backends=replace(index.backends, open_store=refuse),  # type: ignore[arg-type]
    )
    assert out.stats.unchanged_documents == 8


@pytest.mark.slow
def test_rows_that_others_changed_on_a_server_are_told_by_verify_and_repaired(index: Index) -> None:
    store = open_store(index.options.storage_path)
    rows = [record for page in store.pages("posts", vectors=True) for record in page]
    turned = np.roll(rows[0].vector, 1)
    store.upsert("posts", [replace(rows[0], vector=turned), replace(rows[1], text="another")])
    store.upsert("posts", [Record("foreign", "not ours", {"source": "x.md"}, turned)])
    store.delete("posts", [rows[2].id])
    store.close()
    found = index.verify(deep=True)
    assert found.drift.bad_vectors == [rows[0].id]
    assert found.drift.changed == [rows[1].id]
    assert (found.drift.extra, found.drift.missing) == (["foreign"], [rows[2].id])
    assert index.verify(deep=True, repair=True).ok
    assert not index.model.texts
    as_fresh(index)


@pytest.mark.slow
def test_a_collection_that_was_deleted_on_a_server_is_put_in_again_without_embedding(index: Index) -> None:
    store = open_store(index.options.storage_path)
    store.drop("posts")
    store.close()
    out = index.run()
    assert out.status == "succeeded"
    assert "the collection was gone" in out.message
    assert not index.model.texts
    assert not mark(index).filling
    as_fresh(index)


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        "generation-recorded",
        "created",
        "upserted",
        "swap-recorded",
        "swap-half",
        "swap-done",
        "swap-committed",
    ],
)
def test_a_run_that_dies_while_it_makes_a_new_generation_on_a_server_is_mended_by_the_next(
    index: Index, point: str
) -> None:
    index.write("new.md", "A post that is only in the new generation.")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(faults.VARIABLE, f"{point}:raise")
        with pytest.raises(faults.FaultReached):
            index.run(rebuild=True)
    assert index.run().status == "succeeded"
    as_fresh(index)
    assert max(index.model.texts.values()) == 1
    index.now += timedelta(hours=2)
    assert index.run().status == "succeeded"
    store = open_store(index.options.storage_path)
    assert [info.name for info in store.collections()] == ["posts"]
    store.close()


@pytest.mark.slow
def test_state_that_is_lost_is_read_back_from_a_server(index: Index) -> None:
    shutil.rmtree(index.index_dir)
    out = index.run()
    assert "the manifest was lost" in out.mode_reason
    assert not index.model.texts
    as_fresh(index)


@pytest.mark.slow
def test_a_server_that_goes_away_in_mid_run_is_an_unavailable_service_and_the_next_run_mends(
    tmp_path: Path,
) -> None:
    import os
    import signal

    index = Index(tmp_path, real_store=True)
    for number in range(300):
        index.write(f"{number}.md", f"Post number {number} is about {number}.")
    with chroma_server(tmp_path / "server") as (url, pid):
        index.options = replace(index.options, storage_path=url)
        index.model.on_embed = lambda: os.killpg(pid, signal.SIGKILL)
        with pytest.raises(ServiceUnavailable):
            index.run()
    index.model.on_embed = None
    port = int(url.rpartition(":")[2])
    with chroma_server(tmp_path / "server", port=port):
        assert index.run().status == "succeeded"
        assert len(index.rows()) == 300
    assert max(index.model.texts.values()) == 1


# one writer


@pytest.mark.slow
def test_a_run_with_another_state_folder_on_the_same_server_is_told_who_writes(index: Index) -> None:
    """As it is for a folder, whose lock lies beside it."""
    started, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        go_on.wait(30)

    index.model.on_embed = wait
    index.write("new.md", "A post that is being embedded.")
    thread = threading.Thread(target=index.run)
    thread.start()
    try:
        assert started.wait(30)
        port = index.options.storage_path.rpartition(":")[2]
        for same_server in (index.options.storage_path, f"http://localhost:{port}/"):
            with pytest.raises(Busy, match=r"pid \d+ \(run test\)"):
                run(
                    replace(index.options, storage_path=same_server),
                    index_dir=index.home / "other-state",
                    now=lambda: index.now,
                    backends=index.backends,
                )
        with pytest.raises(Busy):
            index.verify()
    finally:
        go_on.set()
        thread.join()
    assert not StoreLock(index.options.storage_path, index.home / "other-state").is_held()
    assert index.run().status == "succeeded"


def test_one_server_has_one_lock_however_its_url_is_written() -> None:
    one = server_lock_path("http://localhost:8000")
    assert one == server_lock_path("http://127.0.0.1:8000/") == server_lock_path("http://LOCALHOST:8000")
    assert server_lock_path("https://a.example") == server_lock_path("https://A.example:443/")
    others = {"http://localhost:8001", "http://a.example:8000", "http://localhost:8000/other"}
    assert len({one, *map(server_lock_path, others)}) == 4


def test_the_machine_wide_lock_is_in_a_folder_that_only_its_user_can_enter(tmp_path: Path) -> None:
    url = "http://nowhere.example:1"
    with StoreLock(url, tmp_path) as lock:
        assert lock.try_acquire()
        assert server_lock_path(url).parent.stat().st_mode & 0o777 == 0o700
        assert not StoreLock(url, tmp_path / "..").try_acquire()
        assert StoreLock(url, tmp_path / "..").is_held()
    assert not StoreLock(url, tmp_path).is_held()
    server_lock_path(url).unlink()
