"""What every embedder promises, asked of each."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from pipesched.pipeline import embedders
from pipesched.pipeline.embedders.ollama import Effort, OllamaEmbedder
from pipesched.pipeline.model import Embedder, EmbeddingFailure
from support.ollama_server import Model, OllamaServer

TEXTS = [
    "The borrow checker rejects aliasing of mutable references.",
    "Node streams read a file piece by piece.",
    "",
    " ",
    "a",
    "Grüße aus Zürich, 東京 and Київ 🚀 — e\u0301",
    "[SEP] literal [CLS] tokens [MASK]",
    "line\nbreaks\tand\u00a0spaces\x00nul",
    "supercalifragilistic" * 20,
    "A sentence about gardening. " * 12,
    "Ein Satz über Gärten. " * 30,
    "Bread needs time, flour, water and salt. " * 90,
    "数据库索引" * 150,
]


@pytest.fixture(scope="module", params=["onnx", "ollama"])
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    if request.param == "onnx":
        with embedders.open_embedder(embedders.identify("onnx:all-MiniLM-L6-v2")) as onnx:
            yield onnx
        return
    with OllamaServer(Model("snowflake-arctic-embed2:latest", dimensions=48, context=128)) as server:
        from pipesched.pipeline.embedders import ollama_api

        spec = ollama_api.identify("snowflake-arctic-embed2", host=server.url)
        with OllamaEmbedder(spec, host=server.url, effort=Effort(first_pause=0.01, jitter=0.0)) as served:
            yield served


def vectors(embedder: Embedder, texts: list[str]) -> np.ndarray:
    results = embedder.embed(texts)
    assert not [result for result in results if isinstance(result, EmbeddingFailure)]
    return np.array(results)


def test_each_text_gets_one_unit_vector_of_float32(embedder: Embedder) -> None:
    found = vectors(embedder, TEXTS)
    assert found.shape == (len(TEXTS), embedder.spec.dimensions)
    assert found.dtype == np.float32
    assert np.abs(np.linalg.norm(found.astype(np.float64), axis=1) - 1).max() < 1e-6


def test_nothing_in_gives_nothing(embedder: Embedder) -> None:
    assert embedder.embed([]) == []


def test_vectors_come_in_the_order_of_the_texts(embedder: Embedder) -> None:
    forth = vectors(embedder, TEXTS)
    back = vectors(embedder, TEXTS[::-1])
    assert np.array_equal(forth, back[::-1])


def test_a_vector_does_not_depend_on_its_batch_mates_to_the_last_bit(embedder: Embedder) -> None:
    alone = np.array([vectors(embedder, [text])[0] for text in TEXTS])
    draw = random.Random(7)
    for size in (2, 3, 5, 8, 16, 33, 40):
        picked = [draw.randrange(len(TEXTS)) for _ in range(size)]
        assert np.array_equal(vectors(embedder, [TEXTS[at] for at in picked]), alone[picked])


def test_the_end_of_a_text_far_over_the_window_counts(embedder: Embedder) -> None:
    long = "The history of the harbour is told in many volumes. " * 60
    first, second = vectors(embedder, [long + "It ends with penguins.", long + "It ends with tax law."])
    assert not np.array_equal(first, second)
    assert first @ second > 0.9


def test_a_long_text_is_near_what_it_is_about(embedder: Embedder) -> None:
    long, same, other = vectors(
        embedder,
        [
            "Whales sing songs in the deep ocean. " * 60,
            "Whales sing songs in the ocean",
            "Compiler error messages",
        ],
    )
    assert long @ same > long @ other + 0.2


def test_text_that_cannot_be_encoded_fails_alone(embedder: Embedder) -> None:
    good, bad, after = embedder.embed(["one", "two \ud800", "three"])
    assert isinstance(bad, EmbeddingFailure)
    assert bad.code == "not_unicode"
    assert np.array_equal(good, embedder.embed(["one"])[0])
    assert np.array_equal(after, embedder.embed(["three"])[0])


def test_a_text_that_cannot_be_encoded_may_be_the_only_one(embedder: Embedder) -> None:
    (failure,) = embedder.embed(["\udfff"])
    assert isinstance(failure, EmbeddingFailure)


def test_a_query_finds_the_text_about_it(embedder: Embedder) -> None:
    texts = vectors(embedder, ["How to bake bread at home", "A guide to tax law", "The borrow checker"])
    query = embedder.embed_query("bake bread")
    assert query.shape == (embedder.spec.dimensions,)
    assert int(np.argmax(texts @ query)) == 0


def test_a_query_bears_the_prefix_of_its_model(embedder: Embedder) -> None:
    prefix = embedder.spec.query_prefix
    assert np.array_equal(embedder.embed_query("penguins"), embedder.embed([prefix + "penguins"])[0])


def test_an_upper_bound_or_the_count_of_tokens_is_never_below_what_the_window_holds(
    embedder: Embedder,
) -> None:
    count = embedders.token_counter(embedder.spec)
    assert count("") <= 1
    assert count("two words") >= 2
    assert all(count(text) <= count(text + " more") for text in TEXTS)


def test_closing_twice_is_fine_and_it_opens_again(embedder: Embedder) -> None:
    before = vectors(embedder, ["again"])
    embedder.close()
    embedder.close()
    assert np.array_equal(vectors(embedder, ["again"]), before)
