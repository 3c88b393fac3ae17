"""What a run stands on, as parameters: the embedder, the store, and whom it tells how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipesched.pipeline import embedders, stores
from pipesched.pipeline.model import Embedder, ModelSpec, TokenCounter, VectorStore
from pipesched.pipeline.stores import Probe, WritingNote

if TYPE_CHECKING:
    from pipesched.pipeline.stores.examination import Examined


class Progress(Protocol):
    """Told from one thread at a time."""

    def phase(self, name: str) -> None: ...

    def total(self, documents: int) -> None: ...

    def advance(self, documents: int, chunks: int) -> None: ...


class NoProgress:
    def phase(self, name: str) -> None: ...

    def total(self, documents: int) -> None: ...

    def advance(self, documents: int, chunks: int) -> None: ...


class Identify(Protocol):
    def __call__(
        self, model: str, *, recorded: ModelSpec | None = None, offline: bool = False
    ) -> ModelSpec: ...


class OpenStore(Protocol):
    def __call__(self, storage_path: str, *, create: bool = True) -> VectorStore: ...


class Examine(Protocol):
    def __call__(
        self, storage_path: str, collections: Sequence[str], *, stop: threading.Event
    ) -> Examined: ...


class Note(Protocol):
    """See WritingNote."""

    def is_left(self) -> bool: ...

    def make(self) -> None: ...

    def clear(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Backends:
    """The real ones; a test that is about something else brings cheaper ones."""

    identify: Identify = embedders.identify
    token_counter: Callable[[ModelSpec], TokenCounter] = embedders.token_counter
    open_embedder: Callable[[ModelSpec], Embedder] = embedders.open_embedder
    open_store: OpenStore = stores.open_store
    probe: Callable[[str], dict[str, Probe] | None] = stores.probe
    database_trouble: Callable[[str], str] = stores.database_trouble
    sweep: Callable[[str], list[Path]] = stores.sweep
    examine: Examine = stores.examine
    note: Callable[[str], Note] = WritingNote
