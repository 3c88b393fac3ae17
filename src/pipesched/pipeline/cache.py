"""The embedding cache: a vector for each (model, exact text), so that no text is ever embedded twice.

One file for all collections of a state folder, apart from the manifests: the same text in two collections costs one
embedding, and a manifest that is made anew keeps its vectors. It is the only way back from a ruined store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pipesched.pipeline.database import Damaged, Database
from pipesched.pipeline.model import ModelSpec

if TYPE_CHECKING:
    from pipesched.pipeline.model import Vector

FILE: Final = "embeddings.sqlite3"

MIGRATIONS: Final = (
    """
    CREATE TABLE models (
        id INTEGER PRIMARY KEY,
        fingerprint TEXT NOT NULL UNIQUE,
        model TEXT NOT NULL,
        spec TEXT NOT NULL
    );
    CREATE TABLE vectors (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        model INTEGER NOT NULL REFERENCES models (id),
        text_hash BLOB NOT NULL,
        vector BLOB NOT NULL,
        UNIQUE (model, text_hash)
    )
    """,
    """
    CREATE TABLE unreferenced (
        number INTEGER PRIMARY KEY,
        since INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE canaries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        told TEXT NOT NULL,
        fingerprint TEXT NOT NULL UNIQUE,
        vectors BLOB NOT NULL
    )
    """,
)


class EmbeddingCache:
    """Vectors are float32, little-endian, `dimensions` of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._models: dict[str, int] = {}

    @classmethod
    def open(cls, index_dir: Path) -> Self:
        """For writing, made if needed. Raises Damaged and what else Database.open raises."""
        return cls(Database.open(index_dir / FILE, MIGRATIONS))

    @classmethod
    def open_to_read(cls, index_dir: Path) -> Self:
        """Without writing a byte; a damaged file, which the next run makes anew, reads as an empty one."""
        path = index_dir / FILE
        try:
            return cls(Database.open_to_read(path, MIGRATIONS))
        except Damaged:
            return cls(Database.empty(path, MIGRATIONS))

    def spec(self, model: str) -> ModelSpec | None:
        """The latest that is known of `model`."""
        found = self._database.rows(
            "SELECT spec FROM models WHERE model IN (?, ?) ORDER BY id DESC LIMIT 1",
            (model, f"{model}:latest"),
        )
        return ModelSpec(**json.loads(found[0][0])) if found else None

    def last_number(self) -> int:
        """What is put in from now on has a higher number."""
        found = self._database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'")
        return int(found[0][0]) if found else 0

    def known(self, spec: ModelSpec, texts: Sequence[bytes], *, after: int = 0) -> set[bytes]:
        """Those of the text hashes whose vectors are here, put in after the number `after`."""
        return {row[0] for row in self._find("text_hash", spec, texts, after)}

    def get(self, spec: ModelSpec, texts: Sequence[bytes], *, after: int = 0) -> dict[bytes, Vector]:
        import numpy as np

        size = spec.dimensions * 4
        return {
            text: np.frombuffer(vector, dtype="<f4")
            for text, vector in self._find("text_hash, vector", spec, texts, after)
            if len(vector) == size
        }

    def put(self, spec: ModelSpec, vectors: Mapping[bytes, Vector]) -> None:
        """Durable when it returns; a text that is here gets the new vector."""
        if not vectors:
            return
        with self._database.transaction():
            model = self._model(spec)
            self._database.execute_many(
                "INSERT OR REPLACE INTO vectors (model, text_hash, vector) VALUES (?, ?, ?)",
                [(model, text, vector.astype("<f4").tobytes()) for text, vector in vectors.items()],
            )

    # revisions of a model whose engine tells no difference (see canary.py); the last one put in is what it is now

    def revision(self, told: str) -> str | None:
        """The fingerprint that the model has now, which its engine tells as `told`; None where nothing was embedded with it yet."""
        if not self._database.rows("SELECT 1 FROM sqlite_master WHERE name = 'canaries'"):
            return None  # an older version's, which is only read here
        found = self._database.rows(
            "SELECT fingerprint FROM canaries WHERE told = ? ORDER BY number DESC LIMIT 1", (told,)
        )
        return str(found[0][0]) if found else None

    def canaries(self, told: str, texts: int, dimensions: int) -> dict[str, list[Vector]]:
        """The vectors of each revision, by its fingerprint; those that cannot be compared are left out."""
        import numpy as np

        return {
            fingerprint: list(np.frombuffer(vectors, dtype="<f4").reshape(texts, dimensions))
            for fingerprint, vectors in self._database.rows(
                "SELECT fingerprint, vectors FROM canaries WHERE told = ?", (told,)
            )
            if len(vectors) == texts * dimensions * 4
        }

    def put_canary(self, told: str, fingerprint: str, vectors: Sequence[Vector]) -> None:
        """`fingerprint` is what the model is now."""
        self._database.execute(
            "INSERT OR REPLACE INTO canaries (told, fingerprint, vectors) VALUES (?, ?, ?)",
            (told, fingerprint, b"".join(vector.astype("<f4").tobytes() for vector in vectors)),
        )

    def close(self) -> None:
        self._database.close()

    def _find(
        self, columns: str, spec: ModelSpec, texts: Sequence[bytes], after: int
    ) -> list[tuple[bytes, ...]]:
        return self._database.rows_in(
            f"SELECT {columns} FROM vectors WHERE model = (SELECT id FROM models WHERE fingerprint = ?)"  # noqa: S608  constants
            " AND number > ? AND text_hash IN",
            (spec.fingerprint, after),
            texts,
        )

    def _model(self, spec: ModelSpec) -> int:
        if spec.fingerprint not in self._models:
            self._database.execute(
                "INSERT OR IGNORE INTO models (fingerprint, model, spec) VALUES (?, ?, ?)",
                (spec.fingerprint, spec.model, json.dumps(asdict(spec))),
            )
            row = self._database.rows("SELECT id FROM models WHERE fingerprint = ?", (spec.fingerprint,))
            self._models[spec.fingerprint] = int(row[0][0])
        return self._models[spec.fingerprint]
