"""Where vectors come from: the cache, rows that already have the text, and only then the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipesched.pipeline import faults
from pipesched.pipeline.cache import EmbeddingCache
from pipesched.pipeline.model import Embedder, EmbeddingFailure, ModelSpec

if TYPE_CHECKING:
    from pipesched.pipeline.model import Vector

EMBED_AT_ONCE = 128
"""Texts between two commits of the cache: what a crash can cost, and how long a stop may have to wait."""


@dataclass
class Vectors:
    """`after`: cached vectors up to this number are not taken (see EmbeddingCache.known).

    `stored` finds the vectors of rows in the live collection by their text hash, for a cache that was lost. `embedder`
    opens the model, at the first text that needs it. `pause` is called between two commits, and may raise.
    """

    spec: ModelSpec
    cache: EmbeddingCache
    after: int
    stored: Callable[[Sequence[bytes]], Mapping[bytes, Vector]]
    embedder: Callable[[], Embedder]
    pause: Callable[[], None]
    embedded: int = 0

    def of(self, texts: Mapping[bytes, str]) -> dict[bytes, Vector | EmbeddingFailure]:
        """The vector of each text, by its hash. Durable in the cache when it returns."""
        found: dict[bytes, Vector | EmbeddingFailure] = dict(
            self.cache.get(self.spec, list(texts), after=self.after)
        )
        missing = [digest for digest in texts if digest not in found]
        if missing and not self.after:
            rows = self.stored(missing)
            self.cache.put(self.spec, rows)
            found.update(rows)
            missing = [digest for digest in missing if digest not in rows]
        # Neighbours in length go together: engines that pad, or that batch by length, are faster so.
        missing.sort(key=lambda digest: len(texts[digest]))
        for start in range(0, len(missing), EMBED_AT_ONCE):
            if start:
                self.pause()
            part = missing[start : start + EMBED_AT_ONCE]
            results = dict(zip(part, self.embedder().embed([texts[digest] for digest in part]), strict=True))
            good = {key: value for key, value in results.items() if not isinstance(value, EmbeddingFailure)}
            self.embedded += len(good)
            self.cache.put(self.spec, good)
            faults.reach("cached")
            found.update(results)
        return found
