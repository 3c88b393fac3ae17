"""What became of each document between two generations. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipesched.pipeline.plan import CONTENT_CHANGED, NO_TEXT, RecordedFile


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of a document between two generations; `change` None: nothing."""

    source: str
    change: Literal["new", "modified", "renamed", "deleted", "skipped"] | None
    reason: str
    chunks: int


def why_new(recorded: RecordedFile | None, chunks: int) -> str:
    """What there is to say of a document that was not in the collection; `recorded`: what was known of it."""
    if not chunks:
        return NO_TEXT
    return "it was left out before" if recorded is not None and recorded.state == "skipped" else ""


def document_differences(
    before: Mapping[str, RecordedFile], after: Mapping[str, RecordedFile]
) -> list[Difference]:
    """Every document of either, by source."""
    gone: dict[str, list[str]] = defaultdict(list)
    for source in sorted(before, reverse=True):
        if before[source].state == "indexed" and source not in after and before[source].raw_hash:
            gone[before[source].raw_hash].append(source)
    found: list[Difference] = []
    renamed: set[str] = set()
    for source, file in after.items():
        old = before.get(source)
        if file.state == "skipped":
            found.append(Difference(source, "skipped", file.reason, old.chunks if old else 0))
        elif old is not None and old.state == "indexed":
            same = old.raw_hash in ("", file.raw_hash)
            found.append(Difference(source, None if same else "modified", CONTENT_CHANGED, file.chunks))
        elif gone.get(file.raw_hash):
            was = gone[file.raw_hash].pop()
            renamed.add(was)
            reason = f"was {was}" if file.chunks else NO_TEXT
            found.append(Difference(source, "renamed", reason, file.chunks))
        else:
            found.append(Difference(source, "new", why_new(old, file.chunks), file.chunks))
    found += [
        Difference(source, "deleted", "its file is gone", file.chunks)
        for source, file in before.items()
        if file.state == "indexed" and source not in after and source not in renamed
    ]
    return sorted(found, key=lambda difference: difference.source)
