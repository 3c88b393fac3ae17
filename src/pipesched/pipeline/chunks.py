"""Text to chunks: Markdown-aware, deterministic, and never longer than the model's window. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pipesched.pipeline.model import TokenCounter

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter

CHUNKER_VERSION: Final = "1"
"""Part of the settings: raised when the same text and sizes give other chunks."""

SECTION: Final = 256 * 1024
"""Characters given to the splitter at once: on one huge text it is superlinear (4 MB: 2 s)."""

_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)


@dataclass(frozen=True)
class Chunker:
    """How documents are split.

    `size` and `overlap` in characters; `whole`: a document is one chunk, whatever its length. `max_tokens` and
    `count_tokens` bound a chunk by the model's window as well.
    """

    size: int
    overlap: int
    whole: bool = False
    max_tokens: int | None = None
    count_tokens: TokenCounter | None = None

    def split(self, text: str) -> list[str]:
        """The chunks of `text`, in order, none empty; all of its characters but white space are in some chunk."""
        if not text.strip():
            return []
        if self.whole:
            return [text]
        return [
            piece
            for section in _sections(text)
            for chunk in self._splitter.chunks(section)
            for piece in self._fitting(chunk)
            if piece.strip()
        ]

    @cached_property
    def _splitter(self) -> MarkdownSplitter:
        from semantic_text_splitter import MarkdownSplitter

        return MarkdownSplitter(self.size, overlap=self.overlap)

    def _fitting(self, chunk: str) -> Iterator[str]:
        """`chunk`, or the smaller chunks of it that fit the window."""
        if self.max_tokens is None or self.count_tokens is None or len(chunk) <= self.max_tokens:
            yield chunk  # a token has one character at least
            return
        tokens = self.count_tokens(chunk)
        if tokens <= self.max_tokens:
            yield chunk
            return
        from semantic_text_splitter import MarkdownSplitter

        capacity = max(1, min(len(chunk) - 1, len(chunk) * self.max_tokens // tokens))
        for piece in MarkdownSplitter(capacity).chunks(chunk):
            yield from self._fitting(piece)


def _sections(text: str) -> Iterator[str]:
    """`text` cut at headings, else blank lines, into parts of about SECTION characters."""
    start = 0
    while len(text) - start > SECTION:
        window = text[start : start + SECTION]
        headings = [match.start() for match in _HEADING.finditer(window) if match.start() > 0]
        cut = headings[-1] if headings else window.rfind("\n\n") + 2
        if cut < SECTION // 8:
            cut = window.rfind(" ") + 1 or SECTION
        yield text[start : start + cut]
        start += cut
    yield text[start:]
