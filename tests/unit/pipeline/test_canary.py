"""A model that changes under the same digest is noticed as soon as something is embedded, and its index made anew."""

from pathlib import Path

import numpy as np
import pytest

from pipesched.errors import ServiceUnavailable
from pipesched.pipeline import canary
from pipesched.pipeline.cache import FILE, EmbeddingCache
from pipesched.pipeline.model import EmbeddingFailure, ModelSpec
from support.indexing import Index, difference, same, vector_of


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path)
    for number in range(6):
        index.write(f"{number}.md", f"Post number {number} is about the number {number}.")
    index.run()
    index.model.texts.clear()
    return index


def as_fresh(index: Index) -> None:
    ours, wanted = index.rows(), index.fresh()
    assert same(ours, wanted), difference(ours, wanted)


def test_hidden_new_weights_make_a_new_generation_that_says_why(index: Index) -> None:
    index.model.hidden = "!"
    index.write("new.md", "A new post, so that something is embedded.")
    out = index.run()
    assert out.status == "succeeded"
    assert "gives other vectors than before (cosine " in out.mode_reason
    assert "though its digest is the same" in out.mode_reason
    assert "a new generation" in out.mode_reason
    assert out.stats.chunks_embedded == 7
    as_fresh(index)
    assert index.run().mode_reason == "the settings agree with the manifest"
    assert index.verify().ok
    assert index.search("anything")
    planned = index.run(dry_run=True)
    assert planned.mode_reason == "the settings agree with the manifest"


def test_weights_that_come_back_find_their_old_vectors_in_the_cache(index: Index) -> None:
    for hidden, embedded in (("!", 7), ("", 2), ("!", 1)):
        index.model.hidden = hidden
        index.write(f"new{hidden}{embedded}.md", f"A new post {hidden} {embedded}.")
        before = sum(index.model.texts.values())
        out = index.run()
        assert "gives other vectors" in out.mode_reason
        assert sum(index.model.texts.values()) - before >= embedded
        as_fresh(index)
    assert max(index.model.texts.values()) == 1, "each text once with each weights"


def test_a_run_that_embeds_nothing_asks_the_model_nothing(index: Index) -> None:
    index.model.hidden = "!"
    index.write("0.md", "Post number 0 is about the number 0.", title="Another title")
    out = index.run()
    assert (out.stats.modified_documents, out.mode) == (1, "incremental")
    assert not index.model.texts


def test_the_revision_is_still_known_when_the_cache_is_lost(index: Index) -> None:
    index.model.hidden = "!"
    index.write("new.md", "A new post, so that something is embedded.")
    index.run()
    (index.index_dir / FILE).unlink()
    index.model.texts.clear()
    assert index.run().mode_reason == "the settings agree with the manifest"
    index.write("another.md", "Another post.")
    out = index.run()
    assert (out.mode, out.stats.chunks_embedded) == ("incremental", 1)
    as_fresh(index)


def test_the_revision_is_still_known_when_all_state_is_lost(index: Index) -> None:
    index.model.hidden = "!"
    index.write("new.md", "A new post, so that something is embedded.")
    index.run()
    index.model.texts.clear()
    for path in index.index_dir.iterdir():
        path.unlink()
    assert index.run().stats.chunks_embedded == 0
    assert not index.model.texts


def test_a_generation_that_was_begun_with_the_old_weights_is_not_gone_on_with(index: Index) -> None:
    paragraphs = [f"Paragraph {number} of a long post, with words of its own." for number in range(4)]
    index.write("long.md", "\n\n".join(paragraphs))
    index.run()
    index.model.on_embed = lambda: setattr(index.model, "down", True)
    with pytest.raises(ServiceUnavailable):
        index.run(chunk_size=50)
    index.model.on_embed, index.model.down, index.model.hidden = None, False, "!"
    out = index.run(chunk_size=50)
    assert "gives other vectors" in out.mode_reason
    ours, wanted = index.rows(), index.fresh(chunk_size=50)
    assert same(ours, wanted), difference(ours, wanted)


class Drifting:
    """An embedder whose vectors are `angle` off."""

    def __init__(self, spec: ModelSpec, cosine: float = 1.0) -> None:
        self.spec = spec
        self.cosine = cosine

    def embed(self, texts):
        results = []
        for text in texts:
            vector, other = vector_of(text), vector_of(text + "!")
            other = other - (other @ vector) * vector
            other /= np.linalg.norm(other)
            turned = self.cosine * vector + (1 - self.cosine**2) ** 0.5 * other
            results.append(turned.astype(np.float32))
        return results


@pytest.mark.parametrize(
    ("model", "cosine", "changed"),
    [
        ("onnx:m", 0.99995, False),
        ("onnx:m", 0.9998, True),
        ("ollama:m", 0.9995, False),
        ("ollama:m", 0.998, True),
    ],
)
def test_how_far_off_is_another_model(tmp_path: Path, model: str, cosine: float, changed: bool) -> None:
    spec = ModelSpec(model, "f", 8, 200)
    cache = EmbeddingCache.open(tmp_path)
    canary.check(Drifting(spec), spec, cache)
    if changed:
        with pytest.raises(canary.ModelChanged) as raised:
            canary.check(Drifting(spec, cosine), spec, cache)
        assert canary.base(raised.value.spec.fingerprint) == "f"
        assert cache.revision("f") == raised.value.spec.fingerprint != "f"
        canary.check(Drifting(spec, cosine), raised.value.spec, cache)
    else:
        canary.check(Drifting(spec, cosine), spec, cache)
        assert cache.revision("f") == "f"
    cache.close()


def test_a_model_that_cannot_embed_its_canary_is_out_of_order(tmp_path: Path) -> None:
    class Broken(Drifting):
        def embed(self, texts):
            return [EmbeddingFailure("not_finite", "NaN") for _ in texts]

    spec = ModelSpec("ollama:m", "f", 8, 200)
    cache = EmbeddingCache.open(tmp_path)
    with pytest.raises(ServiceUnavailable, match="cannot embed a text that every model can: NaN"):
        canary.check(Broken(spec), spec, cache)
    cache.close()


@pytest.mark.slow
def test_the_packaged_model_gives_its_canary_the_same_bits_again(tmp_path: Path) -> None:
    from pipesched.pipeline.embedders import identify, open_embedder

    spec = identify("onnx:all-MiniLM-L6-v2")
    cache = EmbeddingCache.open(tmp_path)
    for _ in range(2):
        embedder = open_embedder(spec)
        canary.check(embedder, spec, cache)
        (kept,) = cache.canaries(spec.fingerprint, len(canary.TEXTS), spec.dimensions).values()
        assert all(
            (one == other).all() for one, other in zip(kept, embedder.embed(canary.TEXTS), strict=True)
        )
        embedder.close()
    cache.close()
