"""What the pipeline asks of every vector store, asked of each implementation: in memory, a Chroma folder, a Chroma server."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipesched.errors import CannotCreate, DataError, NotFound
from pipesched.pipeline.model import METADATA_KEYS, Record, VectorStore
from pipesched.pipeline.stores import open_store
from support.chroma_server import chroma_server
from support.memory_store import MemoryStore

Reopen = Callable[[], VectorStore]
"""Closes the store that is open, if any, and opens the same data again."""

WIDTH = 4


def unit(*values: float) -> np.ndarray:
    vector = np.zeros(WIDTH, dtype=np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


def record(row: str, text: str = "some text", vector: np.ndarray | None = None, **metadata: object) -> Record:
    whole = {"source": f"{row}.md", "chunk_index": 0} | metadata
    return Record(id=row, text=text, metadata=whole, vector=unit(1, 2) if vector is None else vector)  # type: ignore[arg-type]


@pytest.fixture(
    params=["memory", "folder", pytest.param("server", marks=pytest.mark.slow)],
    scope="module",
)
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reopen]:
    folder = tmp_path_factory.mktemp(request.param) / "store"
    opened: list[VectorStore] = []
    disk: dict = {}

    def reopen(where: str) -> VectorStore:
        while opened:
            opened.pop().close()
        opened.append(MemoryStore(disk) if request.param == "memory" else open_store(where))
        return opened[-1]

    if request.param == "server":
        with chroma_server(folder) as (url, _):
            yield lambda: reopen(url)
            opened.pop().close()
    else:
        yield lambda: reopen(str(folder))
        opened.pop().close()


@pytest.fixture
def store(opener: Reopen) -> VectorStore:
    """Opened, and empty."""
    store = opener()
    for info in store.collections():
        store.drop(info.name)
    return store


@pytest.fixture
def posts(store: VectorStore) -> VectorStore:
    store.create("posts", {"pipesched.version": 1})
    return store


def test_a_new_store_has_no_collections(store: VectorStore) -> None:
    assert store.collections() == []
    assert store.find("posts") is None


def test_a_created_collection_is_found_with_its_metadata_of_every_scalar_type(store: VectorStore) -> None:
    metadata = {"text": "żółw 🐢", "whole": 3, "real": 0.5, "yes": True, "no": False, "empty": ""}
    created = store.create("posts", metadata)
    assert store.find("posts") == created
    assert store.collections() == [created]
    assert dict(created.metadata) == metadata
    assert (created.name, created.count) == ("posts", 0)


def test_a_name_that_is_taken_is_refused_and_what_has_it_stays(posts: VectorStore) -> None:
    posts.upsert("posts", [record("a")])
    with pytest.raises(CannotCreate):
        posts.create("posts", {"pipesched.version": 2})
    assert posts.ids("posts") == {"a"}


def test_a_collections_metadata_is_replaced_as_a_whole(posts: VectorStore) -> None:
    posts.set_metadata("posts", {"other": "value"})
    found = posts.find("posts")
    assert found is not None
    assert dict(found.metadata) == {"other": "value"}


def test_a_renamed_collection_keeps_its_uuid_and_its_rows(posts: VectorStore) -> None:
    before = posts.find("posts")
    posts.upsert("posts", [record("a")])
    posts.rename("posts", "articles")
    after = posts.find("articles")
    assert before is not None
    assert after is not None
    assert after.uuid == before.uuid
    assert posts.find("posts") is None
    assert posts.ids("articles") == {"a"}


def test_a_rename_onto_a_taken_name_is_refused_and_both_stay(posts: VectorStore) -> None:
    posts.create("articles", {"x": 1})
    posts.upsert("articles", [record("a")])
    with pytest.raises(CannotCreate):
        posts.rename("posts", "articles")
    assert posts.ids("articles") == {"a"}
    assert posts.ids("posts") == set()


def test_two_collections_can_swap_their_places_by_renames(posts: VectorStore) -> None:
    posts.create("posts__g2", {"x": 2})
    posts.upsert("posts", [record("old")])
    posts.upsert("posts__g2", [record("new")])
    posts.rename("posts", "posts__g1")
    posts.rename("posts__g2", "posts")
    assert posts.ids("posts") == {"new"}
    assert posts.ids("posts__g1") == {"old"}


def test_a_dropped_collection_is_gone_and_its_name_is_free(posts: VectorStore) -> None:
    posts.upsert("posts", [record("a")])
    posts.drop("posts")
    assert posts.find("posts") is None
    posts.create("posts", {"x": 1})
    assert posts.ids("posts") == set()


CALLS: dict[str, Callable[[VectorStore], object]] = {
    "ids": lambda store: store.ids("nothing"),
    "get": lambda store: store.get("nothing", ["a"]),
    "pages": lambda store: list(store.pages("nothing")),
    "upsert": lambda store: store.upsert("nothing", [record("a")]),
    "update": lambda store: store.update_metadata("nothing", [("a", {"source": "a"})]),
    "delete": lambda store: store.delete("nothing", ["a"]),
    "query": lambda store: store.query("nothing", unit(1), limit=1, where={}),
    "drop": lambda store: store.drop("nothing"),
    "rename": lambda store: store.rename("nothing", "something"),
    "set_metadata": lambda store: store.set_metadata("nothing", {"x": 1}),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_collection_that_is_not_there_is_named(store: VectorStore, call: str) -> None:
    with pytest.raises(NotFound, match="nothing") as raised:
        CALLS[call](store)
    assert raised.value.code == "collection_not_found"


def test_a_row_comes_back_as_it_was_given(posts: VectorStore) -> None:
    given = record(
        "a",
        "Über 金継ぎ 🐢\nsecond line\0with NUL",
        unit(1, 2, 3),
        url="https://blog.example/a",
        categories=["ßig", "zwei", "ßig"],
        reading_time=3.5,
        published=True,
        content_length=2**53 + 1,
        description='"; DROP TABLE x; --',
    )
    posts.upsert("posts", [given])
    [back] = posts.get("posts", ["a"], vectors=True)
    assert replace(back, vector=None) == replace(given, vector=None)
    assert back.vector is not None
    assert back.vector.dtype == np.float32
    np.testing.assert_allclose(back.vector, unit(1, 2, 3), atol=1e-6)


def test_vectors_are_read_only_when_asked_for(posts: VectorStore) -> None:
    posts.upsert("posts", [record("a")])
    assert posts.get("posts", ["a"])[0].vector is None
    assert [row.vector for page in posts.pages("posts") for row in page] == [None]


def test_upserting_replaces_text_vector_and_metadata_and_drops_the_keys_that_went(posts: VectorStore) -> None:
    posts.upsert("posts", [record("a", description="old", categories=["x", "y"], cover_image="c.png")])
    posts.upsert("posts", [record("a", "new text", unit(0, 0, 1), categories=["z"])])
    [row] = posts.get("posts", ["a"], vectors=True)
    assert row.text == "new text"
    assert row.metadata == {"source": "a.md", "chunk_index": 0, "categories": ["z"]}
    assert row.vector is not None
    np.testing.assert_allclose(row.vector, unit(0, 0, 1), atol=1e-6)


def test_rows_said_to_be_fresh_are_as_any_others_beside_rows_that_are_not(posts: VectorStore) -> None:
    posts.upsert("posts", [record("old", description="old", cover_image="c.png")])
    posts.upsert("posts", [record("new", description="new"), record("old")], fresh={"new"})
    found = {row.id: row.metadata for row in posts.get("posts", ["new", "old"])}
    assert found == {
        "new": {"source": "new.md", "chunk_index": 0, "description": "new"},
        "old": {"source": "old.md", "chunk_index": 0},
    }


def test_metadata_alone_can_be_replaced(posts: VectorStore) -> None:
    posts.upsert("posts", [record("a", "kept", unit(3, 4), description="old", categories=["x"])])
    posts.update_metadata("posts", [("a", {"source": "b.md", "date": "2026-01-18"})])
    [row] = posts.get("posts", ["a"], vectors=True)
    assert row.text == "kept"
    assert row.metadata == {"source": "b.md", "date": "2026-01-18"}
    assert row.vector is not None
    np.testing.assert_allclose(row.vector, unit(3, 4), atol=1e-6)


def test_metadata_for_a_row_that_is_not_there_makes_no_row(posts: VectorStore) -> None:
    posts.update_metadata("posts", [("ghost", {"source": "x.md"})])
    assert posts.ids("posts") == set()


def test_of_an_id_given_twice_the_last_one_holds(posts: VectorStore) -> None:
    posts.upsert("posts", [record("a", "first"), record("b"), record("a", "last")])
    posts.update_metadata("posts", [("b", {"source": "1"}), ("b", {"source": "2"})])
    assert [row.text for row in posts.get("posts", ["a", "a"])] == ["last"]
    assert posts.get("posts", ["b"])[0].metadata == {"source": "2"}
    posts.delete("posts", ["a", "a"])
    assert posts.ids("posts") == {"b"}


def test_rows_come_in_the_order_asked_for_and_those_that_lack_are_left_out(posts: VectorStore) -> None:
    posts.upsert("posts", [record(row) for row in "abcde"])
    assert [row.id for row in posts.get("posts", ["d", "x", "a", "c"])] == ["d", "a", "c"]
    assert posts.get("posts", []) == []


def test_deleting_is_exact_and_an_id_that_is_not_there_is_fine(posts: VectorStore) -> None:
    posts.upsert("posts", [record(row) for row in "abc"])
    posts.delete("posts", ["b", "never"])
    posts.delete("posts", [])
    assert posts.ids("posts") == {"a", "c"}
    found = posts.find("posts")
    assert found is not None
    assert found.count == 2


def test_the_nearest_come_first_with_their_cosine(posts: VectorStore) -> None:
    posts.upsert(
        "posts",
        [
            record("same", vector=unit(1, 0)),
            record("near", vector=unit(3, 4)),
            record("square", vector=unit(0, 1)),
            record("opposite", vector=unit(-1, 0)),
        ],
    )
    hits = posts.query("posts", unit(1, 0), limit=10, where={})
    assert [hit.record.id for hit in hits] == ["same", "near", "square", "opposite"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.6, 0.0, -1.0], abs=1e-5)
    assert hits[0].record.text == "some text"
    assert hits[0].record.metadata["source"] == "same.md"
    assert len(posts.query("posts", unit(1, 0), limit=2, where={})) == 2
    assert posts.query("posts", unit(1, 0), limit=0, where={}) == []


def test_an_empty_collection_answers_a_query_with_nothing(posts: VectorStore) -> None:
    assert posts.query("posts", unit(1), limit=5, where={}) == []


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, {"a", "b", "c"}),
        ({"post_slug": "one"}, {"a", "c"}),
        ({"post_slug": "one", "published": True}, {"a"}),
        ({"categories": "x"}, {"a", "b"}),
        ({"categories": "y", "post_slug": "two"}, {"b"}),
        ({"reading_time": 3}, {"b"}),
        ({"post_slug": "three"}, set()),
        ({"categories": "z"}, set()),
    ],
)
def test_a_query_can_be_limited_to_what_has_these_values(
    posts: VectorStore, where: dict[str, str | int | bool], expected: set[str]
) -> None:
    posts.upsert(
        "posts",
        [
            record("a", post_slug="one", published=True, categories=["x"]),
            record("b", post_slug="two", published=True, categories=["x", "y"], reading_time=3),
            record("c", post_slug="one", published=False),
        ],
    )
    assert {hit.record.id for hit in posts.query("posts", unit(1), limit=10, where=where)} == expected


@pytest.mark.parametrize("value", [[], ["a", 1], [["a"]], {"a": 1}, b"a"], ids=str)
def test_what_no_store_can_keep_is_refused_and_nothing_is_written(posts: VectorStore, value: object) -> None:
    with pytest.raises((DataError, TypeError)):
        posts.upsert("posts", [record("a", description=value)])
    assert posts.ids("posts") == set()


def test_a_vector_of_another_dimension_or_that_is_not_finite_is_refused(posts: VectorStore) -> None:
    posts.upsert("posts", [record("a")])
    with pytest.raises(DataError):
        posts.upsert("posts", [record("b", vector=np.ones(WIDTH + 1, dtype=np.float32))])
    with pytest.raises(DataError):
        posts.query("posts", np.ones(WIDTH + 1, dtype=np.float32), limit=1, where={})
    with pytest.raises(DataError):
        posts.upsert("posts", [record("b", vector=np.full(WIDTH, np.nan, dtype=np.float32))])
    assert posts.ids("posts") == {"a"}


def test_what_was_written_is_there_when_the_store_is_opened_again(opener: Reopen, posts: VectorStore) -> None:
    posts.upsert("posts", [record("a", categories=["x"]), record("b", vector=unit(0, 1))])
    posts.delete("posts", ["a"])
    before = posts.find("posts")
    again = opener()
    assert again.find("posts") == before
    [row] = again.get("posts", ["a", "b"], vectors=True)
    assert row.id == "b"
    assert [hit.record.id for hit in again.query("posts", unit(0, 1), limit=3, where={})] == ["b"]


def test_more_rows_than_a_call_may_have_are_written_read_changed_and_deleted(posts: VectorStore) -> None:
    # Chroma takes 5,461 rows a call.
    rows = [
        record(f"row-{number}", f"text {number}", unit(1, number, number % 7), chunk_index=number)
        for number in range(6_000)
    ]
    posts.upsert("posts", rows)
    wanted = [row.id for row in rows]
    assert posts.ids("posts") == set(wanted)
    assert [row.text for row in posts.get("posts", wanted)] == [row.text for row in rows]
    paged = [row for page in posts.pages("posts", vectors=True) for row in page]
    assert sorted(row.id for row in paged) == sorted(wanted)
    assert all(row.vector is not None for row in paged)
    posts.update_metadata("posts", [(row, {"source": "moved.md"}) for row in wanted])
    assert {row.metadata["source"] for row in posts.get("posts", wanted)} == {"moved.md"}
    posts.delete("posts", wanted[:5_900])
    assert posts.ids("posts") == set(wanted[5_900:])


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
values = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    # Chroma keeps 15 digits of a number; metadata.py gives it no more.
    st.decimals(-(10**9), 10**9, places=4).map(lambda value: float(value) + 0.0),
    st.lists(texts, min_size=1, max_size=5),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    versions=st.lists(
        st.dictionaries(st.sampled_from(METADATA_KEYS), values, max_size=6), min_size=1, max_size=4
    ),
    text=texts,
)
def test_whatever_the_metadata_was_before_the_last_version_holds(
    store: VectorStore, versions: list[dict], text: str
) -> None:
    if store.find("laws") is None:
        store.create("laws", {"x": 1})
    for metadata in versions:
        store.upsert("laws", [Record("a", text, metadata, unit(1))])
    [row] = store.get("laws", ["a"])
    assert (row.text, dict(row.metadata)) == (text, versions[-1])
    store.update_metadata("laws", [("a", versions[0])])
    assert dict(store.get("laws", ["a"])[0].metadata) == versions[0]
