"""The one place where a vector from a model is checked and made float32 of unit length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pipesched.pipeline.model import EmbeddingFailure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pipesched.pipeline.model import Vector

SMALLEST_NORM: Final = 1e-6
"""A shorter vector has no direction that means anything; a model's own vectors are 1 long or of the order of 1."""


def unit(values: ArrayLike, dimensions: int) -> Vector | EmbeddingFailure:
    """`values` as a float32 vector of length 1, or why they are none (`wrong_dimension`, `not_finite`, `zero_vector`).

    Every vector is normalised, in float64, whatever length it came with: direction is all that cosine similarity uses, and
    models served by Ollama that are not normalised are then as good as those that are.
    """
    import numpy as np

    try:
        wide = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return EmbeddingFailure("not_finite", "the model returned something else than numbers")
    if wide.ndim != 1 or wide.shape[0] != dimensions:
        got = wide.shape[0] if wide.ndim == 1 else f"{wide.ndim}-dimensional"
        return EmbeddingFailure(
            "wrong_dimension", f"the model returned {got} numbers instead of {dimensions}"
        )
    # NaN compares false; a number over float32's range is infinity to the model.
    if not (np.abs(wide) <= np.finfo(np.float32).max).all():
        return EmbeddingFailure("not_finite", "the model returned NaN or infinity for this text")
    norm = float(np.linalg.norm(wide))
    if norm < SMALLEST_NORM:
        return EmbeddingFailure("zero_vector", "the model returned a vector of zeros for this text")
    return (wide / norm).astype(np.float32)


def weighted_mean(vectors: Sequence[Vector], weights: Sequence[int]) -> Vector | EmbeddingFailure:
    """The unit vector of the mean of unit `vectors`: what a long text gets from its pieces, weighted by their length."""
    import numpy as np

    total = np.zeros(vectors[0].shape[0], dtype=np.float64)
    for vector, weight in zip(vectors, weights, strict=True):
        total += vector.astype(np.float64) * weight
    return unit(total / sum(weights), total.shape[0])


def unencodable(text: str) -> EmbeddingFailure | None:
    """A failure for text with lone surrogates, which neither a tokenizer nor JSON over HTTP can carry."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return EmbeddingFailure("not_unicode", f"the text has a lone surrogate at character {error.start}")
    return None
