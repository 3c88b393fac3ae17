"""Two texts that are embedded again whenever something is, to catch a model that changed under the same digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipesched.errors import ServiceUnavailable
from pipesched.pipeline.cache import EmbeddingCache
from pipesched.pipeline.model import Embedder, EmbeddingFailure, ModelSpec

if TYPE_CHECKING:
    from pipesched.pipeline.model import Vector

TEXTS: Final = (
    "A weblog post about baking bread at home, with flour, water, salt and time.",
    "def main() -> None: the service restarts after a crash; see the journal.",
)

SAME: Final = 0.9999
SAME_OVER_HTTP: Final = 0.999
"""The cosine from which on two vectors of a text are the same. A served model may run on another GPU or in other batches."""

_REVISION: Final = "~"
"""Between a fingerprint and what tells the revision of its vectors. Without it: as the model was when it was first met."""


class ModelChanged(Exception):
    """The model gives other vectors than it did under the same fingerprint. Caught by the run, never shown."""

    def __init__(self, spec: ModelSpec, how: str) -> None:
        self.spec = spec
        self.reason = f"the model {spec.model} gives {how}, though its digest is the same"
        super().__init__(self.reason)


def base(fingerprint: str) -> str:
    """What the engine said of the model, without the revision that we found."""
    return fingerprint.partition(_REVISION)[0]


def as_told(spec: ModelSpec | None) -> ModelSpec | None:
    """As the engine would tell it."""
    return None if spec is None else replace(spec, fingerprint=base(spec.fingerprint))


def current(told: ModelSpec, recorded: ModelSpec | None, revision: str | None) -> ModelSpec:
    """`told` by the engine, in the revision last met: as the cache has it, or else as the collection was made with."""
    if revision is None and recorded is not None and base(recorded.fingerprint) == told.fingerprint:
        revision = recorded.fingerprint
    return told if revision is None else replace(told, fingerprint=revision)


def check(embedder: Embedder, spec: ModelSpec, cache: EmbeddingCache) -> None:
    """Compare the model with what it was; the first time, record it.

    A model that is again as it once was has that revision again, and with it the cached vectors of then. Raises ModelChanged
    (the cache knows by then), ServiceUnavailable.
    """
    found: list[Vector] = []
    for result in embedder.embed(TEXTS):
        if isinstance(result, EmbeddingFailure):
            raise ServiceUnavailable(
                f"{spec.model} cannot embed a text that every model can: {result.message}",
                hint="check the model, or choose another one with --embedding-model",
            )
        found.append(result)
    told = base(spec.fingerprint)
    known = cache.canaries(told, len(TEXTS), spec.dimensions)
    if spec.fingerprint not in known:
        cache.put_canary(told, spec.fingerprint, found)
        return
    enough = SAME if spec.model.startswith("onnx:") else SAME_OVER_HTTP
    cosine = _cosine(known[spec.fingerprint], found)
    if cosine >= enough:
        return
    best = max(known, key=lambda revision: _cosine(known[revision], found))
    if _cosine(known[best], found) < enough:
        digest = hashlib.sha256(b"".join(vector.astype("<f4").tobytes() for vector in found)).hexdigest()
        best = f"{told}{_REVISION}{digest[:16]}"
    cache.put_canary(told, best, found)
    raise ModelChanged(replace(spec, fingerprint=best), f"other vectors than before (cosine {cosine:.4f})")


def _cosine(left: Sequence[Vector], right: Sequence[Vector]) -> float:
    """Of the text that differs most; all are of unit length."""
    return min(float(one @ other) for one, other in zip(left, right, strict=True))
