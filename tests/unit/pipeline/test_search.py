"""Conditions, prefixes, and which collection is asked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipesched.errors import CollectionNotOurs, ConfigurationError, InvalidValue, NotFound
from pipesched.pipeline.model import Hit
from pipesched.pipeline.search import Condition, parse_where, search
from support.indexing import Index, vector_of
from support.memory_store import MemoryStore


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path)
    index.write("one.md", "About whales.", title="Whales", categories="[sea, song]", readingTime=5)
    index.write("two.md", "About bread.", title="Bread", categories="[kitchen]", readingTime='"5 min"')
    index.write("three.md", "About tax.", title="Tax", readingTime=4.5)
    index.run(blog_base_url="https://blog.example")
    return index


def sources(index: Index, *where: str) -> set[str]:
    return {result.source for result in index.search("About whales.", 10, parse_where(where))}


def test_the_text_itself_finds_itself_first_with_everything_that_is_known_of_it(index: Index) -> None:
    first = index.search("About whales.")[0]
    assert first.score == pytest.approx(1.0, abs=1e-6)
    assert (first.source, first.title, first.url) == ("one.md", "Whales", "https://blog.example/one")
    assert (first.chunk_index, first.text) == (0, "About whales.")


@pytest.mark.parametrize(("score", "told"), [(1.0000012, 1.0), (-1.0000012, -1.0), (0.5, 0.5)])
def test_a_score_is_a_cosine_whatever_the_stores_floats_come_to(
    index: Index, score: float, told: float
) -> None:
    class Rough(MemoryStore):
        def query(self, name: str, vector: Any, *, limit: int, where: Mapping[str, Any]) -> list[Hit]:
            return [Hit(score, hit.record) for hit in super().query(name, vector, limit=limit, where=where)]

    backends = replace(index.backends, open_store=lambda *_, **__: Rough(index.disk))
    assert search(index.options, "whales", limit=1, backends=backends)[0].score == told


def test_as_many_as_asked_for_best_first(index: Index) -> None:
    found = index.search("About bread.", 2)
    assert next(result.source for result in found) == "two.md"
    assert len(found) == 2
    assert found[0].score >= found[1].score


def test_conditions_are_all_kept(index: Index) -> None:
    assert sources(index, "categories=sea") == {"one.md"}
    assert sources(index, "categories=sea", "title=Bread") == set()
    assert sources(index, "title=Bread") == {"two.md"}
    assert sources(index, "chunk_index=0") == {"one.md", "two.md", "three.md"}
    assert sources(index, "published=true") == {"one.md", "two.md", "three.md"}


def test_a_value_is_found_as_number_or_text(index: Index) -> None:
    assert sources(index, "reading_time=5") == {"one.md"}
    assert sources(index, "reading_time=5 min") == {"two.md"}
    assert sources(index, "reading_time=4.5") == {"three.md"}
    assert parse_where(["reading_time=5"]) == [Condition("reading_time", ("5", 5))]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("colour=red", "the keys"),
        ("titel=x", "post_title"),
        ("nonsense", "categories"),
        ("chunk_index=x", "chunk_index"),
        ("published=maybe", "published"),
    ],
)
def test_a_condition_that_nothing_can_fulfil_is_refused(text: str, hint: str) -> None:
    with pytest.raises(InvalidValue) as error:
        parse_where([text])
    assert hint in error.value.hint


def test_a_missing_collection_names_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as error:
        Index(tmp_path).search("x")
    assert (error.value.code, error.value.exit_code) == ("collection_not_found", 4)


def test_a_collection_of_others_is_not_asked(tmp_path: Path) -> None:
    index = Index(tmp_path)
    MemoryStore(index.disk).create("posts", {"who": "somebody"})
    with pytest.raises(CollectionNotOurs):
        index.search("x")


def test_a_model_that_changed_is_not_asked(index: Index) -> None:
    index.model.fingerprint = "other"
    with pytest.raises(ConfigurationError) as error:
        index.search("x")
    assert error.value.code == "model_changed"
    index.run(blog_base_url="https://blog.example")
    assert index.search("About tax.")[0].source == "three.md"


def test_the_collections_model_is_asked_whatever_the_options_say(index: Index) -> None:
    index.options = replace(index.options, embedding_model="ollama:something")
    assert index.search("About tax.")[0].source == "three.md"


def test_between_two_renames_of_a_swap_the_new_generation_is_asked(index: Index) -> None:
    index.run(rebuild=True, blog_base_url="https://blog.example")
    store = MemoryStore(index.disk)
    store.rename("posts", "posts__g2")
    assert index.search("About tax.")[0].source == "three.md"


def test_an_empty_query_is_refused(index: Index) -> None:
    with pytest.raises(InvalidValue):
        index.search("  ")


def test_vectors_of_the_test_model_tell_texts_apart() -> None:
    assert abs(float(vector_of("a") @ vector_of("b"))) < 0.99
