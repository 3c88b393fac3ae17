"""What a collection of ours says about itself, for readers and for runs that lost their manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from pipesched.pipeline.model import ModelSpec

_PREFIX = "pipesched."
MARK_KEY = "pipesched.version"
MARK_VERSION = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """The collection's metadata under `pipesched.`: what built it, from where.

    `query_prefix` goes before a query's text; `settings` is a hash of all that decides ids, texts and vectors. `changed`: when
    a run last changed rows, told when it ends, so that readers know to look again. `filling`: it has never been whole yet.
    """

    generation: int
    settings: str
    model: str
    fingerprint: str
    dimensions: int
    max_tokens: int
    query_prefix: str
    data_dir: str
    data_dir_pattern: str
    changed: str = ""
    filling: bool = False

    def to_metadata(self) -> dict[str, str | int | float | bool]:
        values = {_PREFIX + key: value for key, value in asdict(self).items()}
        return {MARK_KEY: MARK_VERSION, **values}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str | int | float | bool]) -> Self | None:
        """None: pipesched did not make this collection."""
        if MARK_KEY not in metadata:
            return None

        def text(key: str) -> str:
            return str(metadata.get(_PREFIX + key, ""))

        def number(key: str) -> int:
            try:
                return int(metadata.get(_PREFIX + key, 0))
            except ValueError:
                return 0

        return cls(
            generation=number("generation"),
            settings=text("settings"),
            model=text("model"),
            fingerprint=text("fingerprint"),
            dimensions=number("dimensions"),
            max_tokens=number("max_tokens"),
            query_prefix=text("query_prefix"),
            data_dir=text("data_dir"),
            data_dir_pattern=text("data_dir_pattern"),
            changed=text("changed"),
            filling=metadata.get(_PREFIX + "filling") is True,
        )

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(
            model=self.model,
            fingerprint=self.fingerprint,
            dimensions=self.dimensions,
            max_tokens=self.max_tokens,
            query_prefix=self.query_prefix,
        )
