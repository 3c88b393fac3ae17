"""The pipeline's vocabulary: files, documents, chunks, models, vectors, and the two Protocols.

numpy is imported for types only: what reads a manifest does not need it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

OTHER_DIMENSIONS: Final = "other_dimensions"
"""The code of the ServiceUnavailable that an embedder raises when vectors have not the dimensions of its spec."""

MetadataValue = str | int | float | bool | list[str]
Metadata = Mapping[str, MetadataValue]

METADATA_KEYS: Final = (
    "source",
    "url",
    "post_slug",
    "post_title",
    "date",
    "description",
    "categories",
    "cover_image",
    "cover_video",
    "reading_time",
    "published",
    "content_length",
    "content_checksum",
    "file_modified_time",
    "indexed_timestamp",
    "chunk_index",
    "chunk_count",
)
"""Every key a chunk can bear; one without a value is absent."""


class Stamp(NamedTuple):
    """What stat(2) says of a file; trusted only with the racy rule (see plan.py).

    This, Found and the plan's RecordedFile exist once a file in every run: a tuple is made in a third of the time that a
    frozen dataclass takes.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


class Found(NamedTuple):
    """A regular file that the scan met. `source`: its path below the data folder, "/" between parts, always valid UTF-8."""

    source: str
    path: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is left out on purpose, with the reason (draft, unpublished, link out of the folder, not text...).

    `suspicious`: a file that was indexed before and now looks like this has been damaged rather than withdrawn, so that
    what is indexed of it stays (a crash leaves files full of NUL).
    """

    source: str
    reason: str
    suspicious: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that could not be read or parsed; what is indexed of it stays."""

    source: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Scan:
    """The data folder at one moment; all three sorted by source. `clock_ns`: the file system's own time at the start."""

    files: tuple[Found, ...]
    skipped: tuple[Skipped, ...]
    failures: tuple[Failure, ...]
    clock_ns: int


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed document.

    `text` is without front matter; `metadata` has every document-level key of METADATA_KEYS, all but indexed_timestamp,
    chunk_index and chunk_count. `raw_hash`: sha256 hex of the file's bytes.
    """

    source: str
    text: str
    metadata: Metadata
    raw_hash: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What decides a vector besides its text.

    `fingerprint` changes whenever the same text could get another vector. `max_tokens`: the model's window, its special
    tokens left out. `query_prefix` goes before a query, never before a document.
    """

    model: str
    fingerprint: str
    dimensions: int
    max_tokens: int
    query_prefix: str = ""


@dataclass(frozen=True, slots=True)
class EmbeddingFailure:
    """One text that the model could not embed."""

    code: str
    message: str


class Embedder(Protocol):
    """Texts to vectors. Every returned vector was checked: dimension, finite, not zero, unit length, float32."""

    @property
    def spec(self) -> ModelSpec: ...

    def embed(self, texts: Sequence[str]) -> list[Vector | EmbeddingFailure]:
        """One entry a text, in order, each the same whatever its batch-mates.

        A text over the window is embedded in pieces, as their length-weighted mean, so that nothing is cut. One poison
        text is one EmbeddingFailure. Raises ServiceUnavailable (69) or ModelMissing when the service itself fails.
        """
        ...

    def embed_query(self, text: str) -> Vector: ...

    def close(self) -> None: ...


TokenCounter = Callable[[str], int]
"""Tokens of a text without special tokens; an upper bound where the model's tokenizer cannot be had."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a collection."""

    id: str
    text: str
    metadata: Metadata
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result; `score` is the cosine similarity, -1..1."""

    score: float
    record: Record


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """`uuid` stays over a rename; `metadata` is the collection's own; `count` is -1 where a damaged index cannot tell."""

    name: str
    uuid: str
    metadata: Mapping[str, str | int | float | bool]
    count: int


class VectorStore(Protocol):
    """One open store. Vendor errors arrive as ServiceUnavailable, InputOutputError or DataError."""

    def collections(self) -> list[CollectionInfo]: ...

    def find(self, name: str) -> CollectionInfo | None: ...

    def create(self, name: str, metadata: Mapping[str, str | int | float | bool]) -> CollectionInfo: ...

    def set_metadata(self, name: str, metadata: Mapping[str, str | int | float | bool]) -> None: ...

    def rename(self, old: str, new: str) -> None:
        """`new` must be free."""
        ...

    def drop(self, name: str) -> None: ...

    def ids(self, name: str) -> set[str]: ...

    def get(self, name: str, ids: Sequence[str], *, vectors: bool = False) -> list[Record]:
        """Those of `ids` that exist, any number of them, in the order asked for."""
        ...

    def pages(self, name: str, *, vectors: bool = False) -> Iterator[list[Record]]:
        """Every row, page by page, in bounded memory."""
        ...

    def upsert(self, name: str, records: Sequence[Record], *, fresh: Container[str] = ()) -> None:
        """Any number of records, each with its vector; metadata is *replaced*: a key of METADATA_KEYS that is absent goes.

        `fresh`: ids that are not in the collection, so that nothing of them has to go; it saves a sixth of Chroma's time.
        """
        ...

    def update_metadata(self, name: str, changes: Sequence[tuple[str, Metadata]]) -> None:
        """Replace the metadata of existing rows; text and vector stay."""
        ...

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Ids that do not exist are fine."""
        ...

    def query(
        self, name: str, vector: Vector, *, limit: int, where: Mapping[str, str | int | float | bool]
    ) -> list[Hit]: ...

    def close(self) -> None: ...
