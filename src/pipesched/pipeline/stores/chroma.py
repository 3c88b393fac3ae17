"""Chroma as a VectorStore: cosine space, explicit unit vectors, every call paged, vendor errors made ours."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pipesched.errors import InvalidValue, NotFound, ServiceUnavailable
from pipesched.options import is_server
from pipesched.pipeline.model import METADATA_KEYS, CollectionInfo, Hit, Metadata, Record
from pipesched.pipeline.stores.vendor_errors import no_collection, translated

if TYPE_CHECKING:
    import httpx
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

    from pipesched.pipeline.model import Vector

BATCH = 1000
"""Rows a call, the most: a batch of the pipeline and what its last document brings. As fast as 500; 2,000 and more are slower."""

_REQUEST_SECONDS = 120.0
_CONNECT_SECONDS = 10.0

PAGE = 5_000
"""Rows a page when reading everything; above 32,766 SQLite runs out of variables."""


class ChromaStore:
    """A Chroma folder (PersistentClient) or server (HttpClient)."""

    def __init__(self, client: ClientAPI, where: str) -> None:
        self._client = client
        self._where = where

    @classmethod
    def open(cls, storage_path: str, *, create: bool) -> Self:
        if is_server(storage_path):
            with translated(storage_path):
                return cls(_server(storage_path), storage_path)
        try:
            storage_path.encode()
        except UnicodeEncodeError as error:
            raise InvalidValue(
                f"--storage-path {storage_path!r} is not UTF-8, which Chroma needs", hint="rename that folder"
            ) from error
        folder = Path(storage_path)
        with translated(storage_path):
            # An empty file is what a crash at the very start leaves; to open it would fill it.
            if not create and not ((file := folder / "chroma.sqlite3").exists() and file.stat().st_size):
                raise NotFound(
                    f"there is no vector store in {folder}",
                    hint="index something first: pipesched run",
                    code="collection_not_found",
                )
            import chromadb

            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.R_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "the folder cannot be read")
            path = os.fspath(folder)
            try:
                return cls(chromadb.PersistentClient(path=path, settings=_settings()), storage_path)
            except BaseException:
                _forget(path)
                raise

    @property
    def client(self) -> ClientAPI:
        """Chroma's own, for readers that know it."""
        return self._client

    def collections(self) -> list[CollectionInfo]:
        with translated(self._where):
            found = []
            offset = 0
            while page := self._client.list_collections(limit=1000, offset=offset):
                found += [_info(collection) for collection in page]
                offset += len(page)
            return found

    def find(self, name: str) -> CollectionInfo | None:
        from chromadb.errors import NotFoundError

        with translated(self._where):
            try:
                return _info(self._client.get_collection(name, embedding_function=None))
            except NotFoundError:
                return None

    def create(self, name: str, metadata: Mapping[str, str | int | float | bool]) -> CollectionInfo:
        with translated(self._where):
            return _info(
                self._client.create_collection(
                    name,
                    metadata=dict(metadata),
                    embedding_function=None,
                    configuration={"hnsw": {"space": "cosine"}},
                    get_or_create=False,
                )
            )

    def set_metadata(self, name: str, metadata: Mapping[str, str | int | float | bool]) -> None:
        with self._collection(name) as collection:
            collection.modify(metadata=dict(metadata))

    def rename(self, old: str, new: str) -> None:
        with self._collection(old) as collection:
            collection.modify(name=new)

    def drop(self, name: str) -> None:
        with self._collection(name):
            self._client.delete_collection(name)

    def ids(self, name: str) -> set[str]:
        with self._collection(name) as collection:
            found: set[str] = set()
            while page := collection.get(limit=PAGE * 4, offset=len(found), include=[])["ids"]:
                found.update(page)
            return found

    def get(self, name: str, ids: Sequence[str], *, vectors: bool = False) -> list[Record]:
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Record] = {}
        with self._collection(name) as collection:
            for start in range(0, len(wanted), BATCH):
                page = collection.get(ids=wanted[start : start + BATCH], include=_include(vectors=vectors))
                found.update((record.id, record) for record in _records(page, vectors=vectors))
        return [found[row] for row in wanted if row in found]

    def pages(self, name: str, *, vectors: bool = False) -> Iterator[list[Record]]:
        with self._collection(name) as collection:
            offset = 0
            while True:
                page = _records(
                    collection.get(limit=PAGE, offset=offset, include=_include(vectors=vectors)),
                    vectors=vectors,
                )
                if not page:
                    return
                offset += len(page)
                yield page

    def upsert(self, name: str, records: Sequence[Record], *, fresh: Container[str] = ()) -> None:
        last = list({record.id: record for record in records}.values())
        vectors = [_required(record) for record in last]
        with self._collection(name) as collection:
            for start in range(0, len(last), BATCH):
                batch = last[start : start + BATCH]
                collection.upsert(
                    ids=[record.id for record in batch],
                    embeddings=vectors[start : start + BATCH],  # type: ignore[arg-type]  # a list of arrays is taken
                    documents=[record.text for record in batch],
                    metadatas=[
                        _present(record.metadata) if record.id in fresh else _whole(record.metadata)
                        for record in batch
                    ],
                )

    def update_metadata(self, name: str, changes: Sequence[tuple[str, Metadata]]) -> None:
        last = list(dict(changes).items())
        with self._collection(name) as collection:
            for start in range(0, len(last), BATCH):
                batch = last[start : start + BATCH]
                collection.update(
                    ids=[row for row, _ in batch], metadatas=[_whole(metadata) for _, metadata in batch]
                )

    def delete(self, name: str, ids: Sequence[str]) -> None:
        gone = list(dict.fromkeys(ids))
        with self._collection(name) as collection:
            for start in range(0, len(gone), BATCH):
                collection.delete(ids=gone[start : start + BATCH])

    def query(
        self, name: str, vector: Vector, *, limit: int, where: Mapping[str, str | int | float | bool]
    ) -> list[Hit]:
        with self._collection(name) as collection:
            if limit < 1:
                return []
            found: Any = collection.query(
                query_embeddings=[vector],  # type: ignore[arg-type]  # a list of arrays is taken
                n_results=limit,
                where=_where(where),
                include=["documents", "metadatas", "distances"],
            )
        rows = zip(
            found["ids"][0], found["documents"][0], found["metadatas"][0], found["distances"][0], strict=True
        )
        return [
            Hit(score=1.0 - float(distance), record=Record(id=row, text=text or "", metadata=metadata or {}))
            for row, text, metadata, distance in rows
        ]

    def close(self) -> None:
        """Let go of the store's files or connections; clients of one folder share them, and the last one closes."""
        with contextlib.suppress(Exception):  # a broken store must not hide the error that told us
            for session in _sessions(self._client):
                session.close()
            self._client.close()  # type: ignore[attr-defined]  # missing from the abstract client

    @contextlib.contextmanager
    def _collection(self, name: str) -> Iterator[Collection]:
        from chromadb.errors import NotFoundError

        with translated(self._where):
            try:
                collection = self._client.get_collection(name, embedding_function=None)
            except NotFoundError as error:
                raise no_collection(name, self._where) from error
            yield collection


def _settings(**given: Any) -> Any:
    """Chroma's settings without the `.env` file of the current folder, which belongs to somebody else."""
    from chromadb.config import Settings

    return Settings(_env_file=None, anonymized_telemetry=False, **given)  # type: ignore[call-arg]  # pydantic-settings takes it


def _forget(path: str) -> None:
    """Chroma keeps what it could not start, and would hand it out when the folder, mended, is opened again."""
    from chromadb.api.shared_system_client import SharedSystemClient

    if path not in SharedSystemClient._identifier_to_refcount:  # noqa: SLF001  nothing public tells or forgets
        SharedSystemClient._identifier_to_system.pop(path, None)  # noqa: SLF001


def _server(url: str) -> ClientAPI:
    """The client of a server that answers; Chroma's own waits for ever for one that does not."""
    import chromadb
    import httpx

    from pipesched.pipeline.stores.server import answers

    if problem := answers(url):
        raise ServiceUnavailable(
            f"the Chroma server {url}: {problem}", hint="is it up? chroma run --path db/vector_store"
        )
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    client = chromadb.HttpClient(
        host=host,
        port=port,
        ssl=parts.scheme == "https",
        settings=_settings(chroma_server_host=host, chroma_server_http_port=port),
    )
    for session in _sessions(client):
        session.timeout = httpx.Timeout(_REQUEST_SECONDS, connect=_CONNECT_SECONDS)
    return client


def _sessions(client: ClientAPI) -> list[httpx.Client]:
    """The HTTP connections of a server's client, its own and its administrator's: Chroma neither bounds their time nor closes them."""
    owners = (client, getattr(client, "_admin_client", None))
    sessions = (getattr(getattr(owner, "_server", None), "_session", None) for owner in owners)
    return [session for session in sessions if session is not None and hasattr(session, "timeout")]


def _info(collection: Collection) -> CollectionInfo:
    from chromadb.errors import InternalError

    try:
        count = collection.count()
    except InternalError:  # a torn index; what the collection says of itself is needed to mend it
        count = -1
    return CollectionInfo(
        name=collection.name,
        uuid=str(collection.id),
        metadata={key: value for key, value in (collection.metadata or {}).items() if value is not None},
        count=count,
    )


def _include(*, vectors: bool) -> Any:
    return ["documents", "metadatas", "embeddings"] if vectors else ["documents", "metadatas"]


def _records(page: Any, *, vectors: bool) -> list[Record]:
    import numpy as np

    embeddings = page["embeddings"] if vectors else [None] * len(page["ids"])
    return [
        Record(
            id=row,
            text=text or "",
            metadata=metadata or {},
            vector=None if embedding is None else np.asarray(embedding, dtype=np.float32),
        )
        for row, text, metadata, embedding in zip(
            page["ids"], page["documents"], page["metadatas"], embeddings, strict=True
        )
    ]


def _required(record: Record) -> Vector:
    if record.vector is None:
        raise ValueError(f"record {record.id} has no vector")
    return record.vector


def _whole(metadata: Metadata) -> Any:
    """`metadata` with None for every key of ours that it lacks: Chroma merges, and a dropped key would stay."""
    return {key: metadata.get(key) for key in METADATA_KEYS}


def _present(metadata: Metadata) -> Any:
    return {key: metadata[key] for key in METADATA_KEYS if key in metadata}


def _where(where: Mapping[str, str | int | float | bool]) -> Any:
    """All of `where`; `categories` is a list, and asked whether it contains the value."""
    conditions: list[dict[str, Any]] = [
        {key: {"$contains": value}} if key == "categories" else {key: {"$eq": value}}
        for key, value in where.items()
    ]
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}
