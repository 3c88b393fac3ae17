"""The embedded model: true to its weights, the same to the last bit, light until it is used."""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipesched.pipeline import embedders
from pipesched.pipeline.embedders import onnx, weights
from pipesched.pipeline.embedders.onnx import MAX_TOKENS, OnnxEmbedder
from pipesched.pipeline.model import EmbeddingFailure

WORDS = [
    "the",
    "a",
    "river",
    "compiler",
    "bread",
    "error",
    "garden",
    "index",
    "of",
    "and",
    "quickly",
    "unbelievable",
    "2026",
    ",",
    ".",
    "(",
    ")",
    "ß",
    "東",
    "é",
    "tokenization",
]


@pytest.fixture(scope="module")
def embedder() -> Iterator[OnnxEmbedder]:
    with OnnxEmbedder(threads=2) as opened:
        yield opened


def text_of(words: int, seed: int) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words))


def reference(texts: list[str]) -> np.ndarray:
    """The packaged model as it ships, one text at a time, mean over the tokens, as its makers describe."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(weights.packaged_file()), providers=["CPUExecutionProvider"])
    rows = []
    for text in texts:
        ids = np.array([weights.tokenizer().encode(text).ids], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = session.run(None, inputs)[0][0].mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows)


def vectors(embedder: OnnxEmbedder, texts: list[str]) -> np.ndarray:
    results = embedder.embed(texts)
    assert not [result for result in results if isinstance(result, EmbeddingFailure)]
    return np.array(results)


def test_vectors_are_those_of_the_packaged_model(embedder: OnnxEmbedder) -> None:
    texts = ["", "word", *(text_of(length, length) for length in (3, 8, 20, 50, 100, 150))]
    assert (vectors(embedder, texts) * reference(texts)).sum(axis=1).min() > 0.999999


def test_similarities_are_those_that_the_makers_publish_for_the_float_weights(embedder: OnnxEmbedder) -> None:
    # The quick start of sentence-transformers' documentation, which uses this model.
    weather, sunny, stadium = vectors(
        embedder, ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    assert [float(weather @ sunny), float(weather @ stadium), float(sunny @ stadium)] == pytest.approx(
        [0.6660, 0.1046, 0.1411], abs=0.004
    )


def test_shuffles_sizes_and_threads_change_no_bit(embedder: OnnxEmbedder) -> None:
    texts = [
        text_of(length, length) for length in (0, 1, 1, 2, 5, 5, 5, 9, 17, 17, 31, 60, 60, 110, 110, 300)
    ]
    expected = vectors(embedder, texts)
    draw = random.Random(3)
    with OnnxEmbedder(threads=1) as single, OnnxEmbedder(threads=3) as triple:
        for other in (embedder, single, triple, embedder, single):
            order = draw.sample(range(len(texts)), len(texts))
            size = draw.randint(1, len(texts))
            found: dict[int, np.ndarray] = {}
            for start in range(0, len(order), size):
                batch = order[start : start + size]
                found.update(zip(batch, vectors(other, [texts[at] for at in batch]), strict=True))
            assert all(np.array_equal(found[at], expected[at]) for at in found)


def test_many_texts_of_one_length_agree_with_each_alone(embedder: OnnxEmbedder) -> None:
    texts = [
        f"{word} {other}" for word in ("red", "blue", "green") for other in ("house", "car", "tree", "road")
    ]
    alone = np.array([vectors(embedder, [text])[0] for text in texts])
    assert np.array_equal(vectors(embedder, texts * 30), np.tile(alone, (30, 1)))


def test_the_window_is_used_to_its_last_token(embedder: OnnxEmbedder) -> None:
    fits = " ".join(["word"] * (MAX_TOKENS - 1) + ["penguin"])
    assert onnx.count_tokens(fits) == MAX_TOKENS
    assert (vectors(embedder, [fits]) * reference([fits])).sum() > 0.999999


def test_a_text_over_the_window_is_the_mean_of_its_pieces_by_their_length(embedder: OnnxEmbedder) -> None:
    # One space, where the cut then falls: 90 tokens before it and 210 after it.
    before, after = "一" * 90, "人" * 210
    assert (onnx.count_tokens(before), onnx.count_tokens(after)) == (90, 210)
    pieces = vectors(embedder, [before, after]).astype(np.float64)
    mean = 90 * pieces[0] + 210 * pieces[1]
    (found,) = vectors(embedder, [f"{before} {after}"])
    assert found == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_tokens_are_counted_without_the_special_ones() -> None:
    assert onnx.count_tokens("") == 0
    assert onnx.count_tokens("hello world") == 2
    assert onnx.count_tokens("tokenization") == 2
    assert onnx.count_tokens("word " * 1000) == 1000, "neither cut nor padded"
    assert onnx.count_tokens("\ud800") == 1


def test_the_fingerprint_covers_every_file() -> None:
    folder = Path(weights.__file__).parent / "minilm"
    for name, pinned in (
        ("graph.onnx", weights.GRAPH_SHA256),
        ("weights.json", weights.TABLE_SHA256),
        ("tokenizer.json", weights.TOKENIZER_SHA256),
    ):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == pinned
    assert hashlib.sha256(weights.packaged_file().read_bytes()).hexdigest() == weights.WEIGHTS_SHA256
    # Put the new value here together with whatever changed it: every index will be built anew.
    assert onnx.spec().fingerprint == "38f5d64334cac87baee55795ff6b6435ed59830e7a54321a591cfa1f0d9e4e19"


def test_opening_and_counting_load_no_model() -> None:
    script = (
        "import sys\nfrom pipesched.pipeline import embedders\n"
        "spec = embedders.identify('onnx:all-MiniLM-L6-v2')\n"
        "with embedders.open_embedder(spec) as opened:\n    opened.embed([])\n"
        "assert embedders.token_counter(spec)('two words') == 2\n"
        "heavy = {'onnxruntime', 'ollama', 'chromadb'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_another_process_on_one_core_gets_the_same_bits(embedder: OnnxEmbedder) -> None:
    texts = [text_of(length, length) for length in (1, 17, 110, 300)]
    script = (
        "import os, sys, json, hashlib\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from pipesched.pipeline import embedders\n"
        "e = embedders.open_embedder(embedders.identify('onnx:all-MiniLM-L6-v2'))\n"
        "vectors = e.embed(json.load(sys.stdin))\n"
        "print(hashlib.sha256(b''.join(v.tobytes() for v in vectors)).hexdigest())"
    )
    import json

    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    expected = hashlib.sha256(b"".join(vector.tobytes() for vector in vectors(embedder, texts))).hexdigest()
    assert done.stdout.strip() == expected


def test_open_embedder_gives_the_engine_of_the_spec() -> None:
    assert isinstance(embedders.open_embedder(onnx.spec()), OnnxEmbedder)
