"""A folder of posts, a store and a model that cost nothing, and runs over them; for what is about the pipeline itself."""

import hashlib
import os
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipesched.errors import ServiceUnavailable
from pipesched.options import PipelineOptions
from pipesched.pipeline.backends import Backends
from pipesched.pipeline.canary import TEXTS
from pipesched.pipeline.model import EmbeddingFailure, ModelSpec, Record, VectorStore
from pipesched.pipeline.run import run
from pipesched.pipeline.search import Result, search
from pipesched.pipeline.stores import Probe
from pipesched.pipeline.stores.examination import Examined
from pipesched.pipeline.verify import Verified, verify
from pipesched.report import Outcome
from support.memory_store import MemoryStore

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
OLD = 1_700_000_000
"""When posts were written, unless said otherwise: long before any run, in whole seconds."""


def vector_of(text: str, fingerprint: str = "one", dimensions: int = 8) -> np.ndarray:
    """A unit vector that only this text has with this model."""
    seed = hashlib.sha256(f"{fingerprint}\n{text}".encode()).digest()
    values = np.random.default_rng(int.from_bytes(seed[:8])).normal(size=dimensions)
    return (values / np.linalg.norm(values)).astype(np.float32)


@dataclass
class Model:
    """A model, and what it was asked: `texts` counts each text that it embedded. A text with POISON in it fails.

    `hidden`: weights that changed without another fingerprint.
    """

    fingerprint: str = "one"
    hidden: str = ""
    dimensions: int = 8
    down: bool = False
    texts: Counter[str] = field(default_factory=Counter)
    log: Path | None = None
    on_embed: Callable[[], None] | None = None

    @property
    def weights(self) -> str:
        return self.fingerprint + self.hidden

    def spec(self, model: str) -> ModelSpec:
        return ModelSpec(model, self.fingerprint, self.dimensions, 200, "query: ")


class HashEmbedder:
    """Texts to unit vectors by their hash."""

    def __init__(self, model: Model, spec: ModelSpec) -> None:
        self.model = model
        self._spec = spec

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def embed(self, texts: Sequence[str]) -> list[Any]:
        if self.model.down:
            raise ServiceUnavailable("the model is down")
        if tuple(texts) == TEXTS:  # by which a run knows the model again; not counted
            return [vector_of(text, self.model.weights, self._spec.dimensions) for text in texts]
        if self.model.on_embed is not None:
            self.model.on_embed()
        if self.model.down:
            raise ServiceUnavailable("the model is down")
        if self.model.log is not None:
            with self.model.log.open("a") as log:
                log.writelines(hashlib.sha256(text.encode()).hexdigest() + "\n" for text in texts)
        results: list[Any] = []
        for text in texts:
            if "POISON" in text:
                results.append(EmbeddingFailure("not_finite", "the model returned NaN"))
            else:
                self.model.texts[f"{self._spec.fingerprint}\n{text}"] += 1
                results.append(vector_of(text, self.model.weights, self._spec.dimensions))
        return results

    def embed_query(self, text: str) -> np.ndarray:
        return vector_of(text, self.model.weights, self._spec.dimensions)

    def close(self) -> None: ...


def hash_backends(model: Model, **others: Any) -> Backends:
    """The real store with the model that costs nothing, unless `others` say otherwise."""

    def identify(name: str, *, recorded: ModelSpec | None = None, offline: bool = False) -> ModelSpec:
        if offline:
            return recorded if recorded and recorded.model == name else ModelSpec(name, "", 0, 200)
        if model.down:
            raise ServiceUnavailable("the model is down")
        return model.spec(name)

    def count(text: str) -> int:
        return len(text) // 4 + 1

    return Backends(
        identify=identify,
        token_counter=lambda _: count,
        open_embedder=lambda spec: HashEmbedder(model, spec),
        **others,
    )


class LossyStore(MemoryStore):
    """Loses a row of every upsert, and says nothing."""

    def upsert(self, name: str, records: Sequence[Record], *, fresh: Container[str] = ()) -> None:
        super().upsert(name, records[1:], fresh=fresh)


class NoNote:
    """A store in memory cannot be torn."""

    def __init__(self, storage_path: str) -> None: ...

    def is_left(self) -> bool:
        return False

    def make(self) -> None: ...

    def clear(self) -> None: ...


def nothing_wrong(storage_path: str, collections: Sequence[str], *, stop: threading.Event) -> Examined:
    return Examined()


def memory_backends(model: Model, disk: dict[str, Any], breaks_at: str = "") -> Backends:
    """Nothing real: for tests that make hundreds of runs. `breaks_at`: the operation at which the store fails, or "lossy"."""

    def break_down(operation: str, collection: str) -> None:
        if operation == breaks_at:
            raise ServiceUnavailable(f"the store fails at {operation}")

    def open_store(storage_path: str, *, create: bool = True) -> VectorStore:
        store = LossyStore(disk) if breaks_at == "lossy" else MemoryStore(disk)
        store.before_write = break_down
        return store

    def probe(storage_path: str) -> dict[str, Probe]:
        return {
            name: Probe(found.uuid, len(found.rows), zlib.crc32(repr(sorted(found.rows.items())).encode()))
            for name, found in disk.items()
        }

    return hash_backends(
        model, open_store=open_store, probe=probe, sweep=lambda _: [], examine=nothing_wrong, note=NoNote
    )


Rows = dict[str, tuple[str, dict[str, Any], np.ndarray]]


@dataclass
class Index:
    """A folder of posts and a collection of them. `now` goes on by a minute with every run."""

    home: Path
    model: Model = field(default_factory=Model)
    disk: dict[str, Any] = field(default_factory=dict)
    real_store: bool = False
    breaks_at: str = ""
    now: datetime = NOW
    options: PipelineOptions = field(default_factory=PipelineOptions)

    def __post_init__(self) -> None:
        self.posts.mkdir(parents=True, exist_ok=True)
        self.options = replace(
            self.options,
            data_dir=str(self.posts),
            storage_path=str(self.home / "store"),
            collection_name="posts",
            embedding_model="onnx:hash",
            chunk_size=120,
            chunk_overlap=0,
        )

    @property
    def posts(self) -> Path:
        return self.home / "posts"

    @property
    def index_dir(self) -> Path:
        return self.home / "state"

    @property
    def backends(self) -> Backends:
        return (
            hash_backends(self.model)
            if self.real_store
            else memory_backends(self.model, self.disk, self.breaks_at)
        )

    def write(self, source: str, text: str, *, age: int = 0, **front: Any) -> Path:
        """A post, written `age` seconds before OLD; its front matter from `front`."""
        path = self.posts / source
        path.parent.mkdir(parents=True, exist_ok=True)
        head = "".join(f"{key}: {value}\n" for key, value in front.items())
        path.write_text(f"---\n{head}---\n{text}" if front else text)
        os.utime(path, (OLD - age, OLD - age))
        return path

    def run(
        self,
        *,
        rebuild: bool = False,
        stop: threading.Event | None = None,
        check: Any = "probe",
        wait_seconds: float = 0.0,
        **changes: Any,
    ) -> Outcome:
        self.now += timedelta(minutes=1)
        return run(
            replace(self.options, **changes),
            index_dir=self.index_dir,
            now=lambda: self.now,
            run_id="test",
            rebuild=rebuild,
            stop=stop,
            check=check,
            wait_seconds=wait_seconds,
            backends=self.backends,
        )

    def verify(self, *, deep: bool = True, repair: bool = False, **changes: Any) -> Verified:
        return verify(
            replace(self.options, **changes),
            index_dir=self.index_dir,
            now=lambda: self.now,
            deep=deep,
            repair=repair,
            backends=self.backends,
        )

    def search(self, query: str, limit: int = 5, where: Sequence[Any] = ()) -> list[Result]:
        return search(self.options, query, limit=limit, where=where, backends=self.backends)

    def rows(self, collection: str = "posts") -> Rows:
        """What the collection holds, indexed_timestamp apart."""
        store = self.backends.open_store(self.options.storage_path)
        try:
            return {
                record.id: (
                    record.text,
                    {key: value for key, value in record.metadata.items() if key != "indexed_timestamp"},
                    record.vector,
                )
                for page in store.pages(collection, vectors=True)
                for record in page
            }
        finally:
            store.close()

    def timestamps(self) -> dict[str, Any]:
        return {row.id: row.metadata["indexed_timestamp"] for row in self.disk["posts"].rows.values()}

    def collections(self) -> set[str]:
        return set(self.disk)

    def fresh(self, **changes: Any) -> Rows:
        """What a new collection of the same folder would hold."""
        other = Index(
            self.home / "fresh",
            model=replace(self.model, texts=Counter(), log=None, down=False, on_embed=None),
            options=self.options,
        )
        other.options = replace(
            self.options, storage_path=str(self.home / "fresh" / "store"), dry_run=False, force_recreate=False
        )
        run(
            replace(other.options, **changes),
            index_dir=self.home / f"fresh-{os.urandom(4).hex()}",
            now=lambda: self.now,
            backends=other.backends,
        )
        return other.rows()


def same(left: Rows, right: Rows) -> bool:
    """Equal ids, texts and metadata, and vectors within 1e-6 a component."""
    return left.keys() == right.keys() and all(
        left[row][:2] == right[row][:2] and float(np.abs(left[row][2] - right[row][2]).max()) <= 1e-6
        for row in left
    )


def difference(left: Rows, right: Rows) -> str:
    """The first rows that are not equal, for a failing test's message."""
    out = [f"only left: {left[row][:2]}" for row in left.keys() - right.keys()]
    out += [f"only right: {right[row][:2]}" for row in right.keys() - left.keys()]
    out += [
        f"{left[row][:2]} != {right[row][:2]}"
        for row in left.keys() & right.keys()
        if left[row][:2] != right[row][:2]
    ]
    return "\n".join(out[:5])
