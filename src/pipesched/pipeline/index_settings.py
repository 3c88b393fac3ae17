"""What decides chunk ids, texts and vectors: when any of it changes, the collection is built anew. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Final, Self

from pipesched.options import PipelineOptions
from pipesched.pipeline.documents import DocumentSettings
from pipesched.pipeline.model import ModelSpec

CHUNKER_VERSION: Final = "1"
"""Raised when chunks.py makes other chunks of the same text and sizes."""

PARSER_VERSION: Final = "1"
"""Raised when documents.py makes another text or other metadata of the same file."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """The settings of one generation; sizes are 0 where documents are not chunked."""

    model: str
    fingerprint: str
    dimensions: int
    max_tokens: int
    query_prefix: str
    use_chunking: bool
    chunk_size: int
    chunk_overlap: int
    chunker: str = CHUNKER_VERSION
    parser: str = PARSER_VERSION

    @classmethod
    def of(cls, options: PipelineOptions, spec: ModelSpec) -> Self:
        return cls(
            model=spec.model,
            fingerprint=spec.fingerprint,
            dimensions=spec.dimensions,
            max_tokens=spec.max_tokens,
            query_prefix=spec.query_prefix,
            use_chunking=options.use_chunking,
            chunk_size=options.chunk_size if options.use_chunking else 0,
            chunk_overlap=options.chunk_overlap if options.use_chunking else 0,
        )

    @classmethod
    def of_unknown(cls, spec: ModelSpec) -> Self:
        """Of a collection whose mark has another hash than any that we can make: the model is all that is known."""
        return cls(
            model=spec.model,
            fingerprint=spec.fingerprint,
            dimensions=spec.dimensions,
            max_tokens=spec.max_tokens,
            query_prefix=spec.query_prefix,
            use_chunking=True,
            chunk_size=0,
            chunk_overlap=0,
            chunker="",
            parser="",
        )

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(self.model, self.fingerprint, self.dimensions, self.max_tokens, self.query_prefix)

    @property
    def digest(self) -> str:
        """A hash of all but the model's name: the fingerprint says which model it is, by whatever name."""
        return _digest({key: value for key, value in asdict(self).items() if key != "model"})

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """None for settings that this version does not know."""
        try:
            values = json.loads(text)
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (ValueError, KeyError, TypeError):
            return None

    def differences(self, new: IndexSettings) -> list[str]:
        """In words, what of these settings is other in `new`."""
        if self.digest == new.digest:
            return []
        found = []
        if self.model != new.model:
            found.append(f"the model changed from {self.model} to {new.model}")
        elif self.fingerprint != new.fingerprint:
            found.append(f"the model {new.model} has other weights than before")
        if not self.chunker:
            return [*found, "the chunk settings are not those that the collection was made with"]
        for name in ("use_chunking", "chunk_size", "chunk_overlap"):
            old, now = getattr(self, name), getattr(new, name)
            if old != now and not (name != "use_chunking" and self.use_chunking != new.use_chunking):
                found.append(f"{name} changed from {str(old).lower()} to {str(now).lower()}")
        if self.chunker != new.chunker or self.parser != new.parser:
            found.append("this version of pipesched reads or splits documents in another way")
        return found or ["the model's window or prefix changed"]


def document_digest(settings: DocumentSettings) -> str:
    """A hash of what, besides a file's bytes, decides its text and metadata."""
    return _digest({"parser": PARSER_VERSION, **asdict(settings)})[:16]


def _digest(values: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
