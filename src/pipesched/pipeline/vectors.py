"""Where vectors come from: the cache, rows that already have the text, and only then the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipesched.pipeline import faults
from pipesched.pipeline.cache import EmbeddingCache
from pipesched.pipeline.drift import intact
from pipesched.pipeline.model import Embedder, EmbeddingFailure, ModelSpec

if TYPE_CHECKING:
    from pipesched.pipeline.mode import Generation
    from pipesched.pipeline.model import Vector
    from pipesched.pipeline.session import Session

EMBED_AT_ONCE = 128
"""Texts between two commits of the cache, at most: what a crash can cost, and what a stop may have to wait for."""

FIRST_AT_ONCE = 4
"""While nobody knows how long the model takes; twice as many each time."""

SECONDS_AT_ONCE = 4.0
"""What a commit may have to wait for: who stops a run kills it after ten seconds, and a large model takes one for each text."""


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
    clock: Callable[[], float] = time.monotonic
    at_once: int = FIRST_AT_ONCE
    pace: float = 0.0
    """Seconds that a character took last time."""

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
        lengths = [len(texts[digest]) for digest in missing]
        done = 0
        while done < len(missing):
            if done:
                self.pause()
            portion = self._portion(lengths[done:])
            part = missing[done : done + portion]
            embedder = self.embedder()
            begun = self.clock()
            results = dict(zip(part, embedder.embed([texts[digest] for digest in part]), strict=True))
            self.pace = (self.clock() - begun) / max(1, sum(lengths[done : done + portion]))
            self.at_once = min(2 * self.at_once, EMBED_AT_ONCE)
            done += portion
            good = {key: value for key, value in results.items() if not isinstance(value, EmbeddingFailure)}
            self.embedded += len(good)
            self.cache.put(self.spec, good)
            faults.reach("cached")
            found.update(results)
        return found

    def _portion(self, lengths: Sequence[int]) -> int:
        """How many of the texts with these lengths go into the next commit: what takes SECONDS_AT_ONCE, as far as is known."""
        characters = 0
        for count, length in enumerate(lengths[: self.at_once]):
            characters += length
            if count and characters * self.pace > SECONDS_AT_ONCE:
                return count
        return min(self.at_once, len(lengths))


def stored_vectors(
    session: Session, live: Generation | None, spec: ModelSpec
) -> Callable[[Sequence[bytes]], Mapping[bytes, Vector]]:
    """Finds vectors in the live collection, if the same model made it."""

    def find(texts: Sequence[bytes]) -> Mapping[bytes, Vector]:
        if live is None or live.settings is None or live.settings.fingerprint != spec.fingerprint:
            return {}
        if live.name in session.damaged:
            return {}
        rows = session.manifest.rows_with_text(live.number, texts)
        if not rows:
            return {}
        records = session.store.get(live.name, list(rows.values()), vectors=True)
        by_id = {record.id: record for record in records}
        return {
            text: record.vector
            for text, row in rows.items()
            if (record := by_id.get(row)) is not None
            and record.vector is not None
            and intact(record, text, spec.dimensions)
        }

    return find
