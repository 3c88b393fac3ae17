"""How many texts are embedded between two commits of the cache."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipesched.errors import ServiceUnavailable
from pipesched.pipeline.cache import EmbeddingCache
from pipesched.pipeline.model import ModelSpec
from pipesched.pipeline.rows import text_hash
from pipesched.pipeline.vectors import EMBED_AT_ONCE, SECONDS_AT_ONCE, Vectors
from support.indexing import vector_of

SPEC = ModelSpec("onnx:m", "f", 8, 200)


class Slow:
    """Takes `seconds` a text, by its own clock; goes down at the call `down_at`."""

    spec = SPEC

    def __init__(self, seconds: Callable[[str], float], down_at: int = -1) -> None:
        self.seconds = seconds
        self.down_at = down_at
        self.now = 0.0
        self.portions: list[int] = []
        self.took: list[float] = []

    def embed(self, texts: Sequence[str]) -> list[Any]:
        if len(self.portions) == self.down_at:
            raise ServiceUnavailable("the model is down")
        took = sum(map(self.seconds, texts))
        self.now += took
        self.portions.append(len(texts))
        self.took.append(took)
        return [vector_of(text) for text in texts]

    def embed_query(self, text: str) -> Any:
        return vector_of(text)

    def close(self) -> None: ...


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    cache = EmbeddingCache.open(tmp_path)
    yield cache
    cache.close()


def vectors(cache: EmbeddingCache, model: Slow) -> Vectors:
    return Vectors(SPEC, cache, 0, lambda _: {}, lambda: model, lambda: None, clock=lambda: model.now)


def texts(count: int, words: int = 1) -> dict[bytes, str]:
    return {text_hash(text): text for text in (f"text {number} " * words for number in range(count))}


@pytest.mark.parametrize("seconds", [0.3, 1.0, 30.0])
def test_a_slow_model_commits_often_enough_to_be_stopped(cache: EmbeddingCache, seconds: float) -> None:
    model = Slow(lambda _: seconds)
    assert len(vectors(cache, model).of(texts(200))) == 200
    assert max(model.took) <= max(1.1 * SECONDS_AT_ONCE, 4 * seconds)


def test_longer_texts_that_come_later_make_smaller_portions(cache: EmbeddingCache) -> None:
    model = Slow(lambda text: len(text) / 100)
    work = vectors(cache, model)
    work.of(texts(100) | texts(100, words=12))
    assert max(model.took) <= 1.1 * SECONDS_AT_ONCE
    assert model.portions[-2] < max(model.portions)


def test_a_fast_model_is_soon_given_all_that_may_be_lost(cache: EmbeddingCache) -> None:
    model = Slow(lambda _: 0.0001)
    vectors(cache, model).of(texts(1000))
    assert model.portions[:6] == [4, 8, 16, 32, 64, EMBED_AT_ONCE]
    assert max(model.portions) == EMBED_AT_ONCE


def test_what_was_embedded_before_the_model_went_down_is_kept(cache: EmbeddingCache) -> None:
    model = Slow(lambda _: 0.5, down_at=3)
    wanted = texts(100)
    with pytest.raises(ServiceUnavailable):
        vectors(cache, model).of(wanted)
    assert len(cache.known(SPEC, list(wanted))) == sum(model.portions) > 0
