"""A collection for programs that ask it while pipesched keeps it: found by name, over every swap, and never half filled.

    from pipesched.reader import open_collection

    with open_collection("db/vector_store", "blog_posts") as posts:
        vector = embed(posts.query_prefix + question)  # with posts.model
        found = posts.query(query_embeddings=[vector], n_results=5)

See docs/readers.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from pipesched.errors import CollectionNotOurs, PipeschedError, ServiceUnavailable
from pipesched.options import is_server
from pipesched.pipeline.canary import base
from pipesched.pipeline.stores.chroma import ChromaStore
from pipesched.pipeline.stores.mark import Mark
from pipesched.pipeline.stores.vendor_errors import no_collection, translated

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

__all__ = ["ReadCollection", "open_collection"]

T = TypeVar("T")

_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.002
"""Between two tries when the name is not there: the two renames of a swap lie about 3 ms apart."""


def open_collection(storage_path: str, name: str) -> ReadCollection:
    """Open the collection `name` in `storage_path`, a folder or http(s)://host:port, to read it.

    Raises NotFound (code collection_not_found) where there is none, ServiceUnavailable (code collection_filling) while the first
    run fills it or the server does not answer, CollectionNotOurs where pipesched did not make it, DataError for a damaged store.
    """
    found = ReadCollection(storage_path, name)
    try:
        found.refresh()
    except BaseException:
        found.close()
        raise
    return found


class ReadCollection:
    """One collection, whichever generation of it is live. Safe to use from several threads, one call at a time.

    Each call looks the name up, which costs under a millisecond in a folder and some on a server, and goes on with the
    generation that it had while a swap is under way. `count`, `get` and `query` are those of chromadb's Collection, with the
    same arguments. Open one of them for each store in a process: clients of one folder share what they have read.
    """

    def __init__(self, storage_path: str, name: str) -> None:
        self.storage_path = storage_path
        self.name = name
        self._lock = threading.RLock()
        self._store: ChromaStore | None = None
        self._held: tuple[Collection, Mark] | None = None

    # what it says of itself

    @property
    def model(self) -> str:
        """What a question must be embedded with, as `onnx:NAME` or `ollama:NAME`."""
        return self._mark().model

    @property
    def query_prefix(self) -> str:
        """What goes before a question, and never before a document; "" for models that want none."""
        return self._mark().query_prefix

    @property
    def dimensions(self) -> int:
        return self._mark().dimensions

    @property
    def fingerprint(self) -> str:
        """Of the weights; another one wants questions embedded with the model as it is then."""
        return base(self._mark().fingerprint)

    @property
    def generation(self) -> int:
        """Goes up with each swap."""
        return self._mark().generation

    @property
    def changed(self) -> str:
        """When a run last changed it, RFC 3339."""
        return self._mark().changed

    # asking it

    def count(self) -> int:
        """Rows. Nothing is said to be empty before its name has been looked up once more."""
        return self._call(lambda collection: collection.count()) or self._call(
            lambda collection: collection.count()
        )

    def get(self, **arguments: Any) -> Any:
        """As chromadb's Collection.get."""
        return self._call(lambda collection: collection.get(**arguments))

    def query(self, **arguments: Any) -> Any:
        """As chromadb's Collection.query; give `query_embeddings`, because the collection embeds nothing itself."""
        return self._call(lambda collection: collection.query(**arguments))

    def refresh(self) -> bool:
        """Look the name up now; whether there is another generation, or one that a run has changed. Raises as open_collection does."""
        with self._lock:
            before = self._held[1] if self._held else None
            self._resolve()
            return self._held is not None and self._held[1] != before

    def close(self) -> None:
        """Let go of the client, and of the collection, which would ask the closed client for ever; a later call opens both anew."""
        with self._lock:
            self._held = None
            if self._store is not None:
                self._store.close()
                self._store = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mark(self) -> Mark:
        with self._lock:
            return self._resolve()[1]

    def _call(self, ask: Callable[[Collection], T]) -> T:
        """Ask the live generation; one that went between the look and the question, or an old view of it, is asked anew."""
        with self._lock:
            collection, _ = self._resolve()
            try:
                return ask(collection)
            except (ValueError, TypeError, KeyboardInterrupt, SystemExit):
                raise  # the caller's arguments, or a signal
            except BaseException:  # noqa: BLE001  whatever Chroma says of what is not there any more; a panic is no Exception
                self.close()
                collection, _ = self._resolve()
                with translated(self.storage_path):
                    return ask(collection)

    def _resolve(self) -> tuple[Collection, Mark]:
        """The live generation's collection and mark."""
        found = self._look()
        if found is None or found[1].filling:
            if self._held is not None and self._is_there(self._held[0]):
                return self._held  # a swap is under way
            self._held = None
            found = found or self._look()
            if found is None:
                raise no_collection(self.name, self.storage_path)
        if found[1].filling:
            raise ServiceUnavailable(
                f"the collection {self.name} is being filled for the first time",
                hint="wait for the run: pipesched status",
                code="collection_filling",
            )
        if self._held is None:
            self._held = found
        elif (self._held[0].id, self._held[1].changed) != (found[0].id, found[1].changed):
            if not is_server(self.storage_path):
                # A client keeps the index of a folder as it read it.
                self.close()
                return self._resolve()
            self._held = found
        return self._held

    def _look(self) -> tuple[Collection, Mark] | None:
        """By name, for 10 ms; then the newest whole generation, because a run may have died in the middle of its swap."""
        from chromadb.errors import NotFoundError

        client = self._open().client
        with translated(self.storage_path):
            for attempt in range(_TRIES):
                if attempt:
                    time.sleep(_PAUSE_SECONDS)
                with suppress(NotFoundError):
                    return self._marked(client.get_collection(self.name, embedding_function=None))
            if self._held is not None:
                return None
            generations = [
                (collection, mark)
                for collection in client.list_collections()
                if collection.name.startswith(f"{self.name}__g")
                and (mark := _mark_of(collection)) is not None
                and not mark.filling
            ]
        return max(generations, key=lambda found: found[1].generation) if generations else None

    def _marked(self, collection: Collection) -> tuple[Collection, Mark]:
        mark = _mark_of(collection)
        if mark is None:
            raise CollectionNotOurs(
                f"the collection {self.name} was not made by pipesched, so that its model is not known",
                hint="name one of pipesched's",
            )
        return collection, mark

    def _is_there(self, collection: Collection) -> bool:
        try:
            with translated(self.storage_path):
                collection.count()
        except PipeschedError:
            return False
        return True

    def _open(self) -> ChromaStore:
        if self._store is None:
            self._store = ChromaStore.open(self.storage_path, create=False)
        return self._store


def _mark_of(collection: Collection) -> Mark | None:
    metadata = collection.metadata or {}
    return Mark.from_metadata({key: value for key, value in metadata.items() if value is not None})
