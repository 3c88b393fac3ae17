"""Text to chunks: Markdown-aware, deterministic, stable under edits, never longer than the model's window. Pure.

When the same text and sizes give other chunks, CHUNKER_VERSION of index_settings.py is raised.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from pipesched.pipeline.model import TokenCounter

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter

SECTION: Final = 16 * 1024
"""Characters given to the splitter at once: on one huge block its time grows with the square (a line of 256 KB: 1.4 s)."""

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"(#{1,6})(?:[ \t]|$)")
_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)]) ")
_LEADING_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_PARAGRAPH: Final = 7  # after the six levels of headings
_LIST_ITEM: Final = 8

# A dense text (hashes, addresses, Japanese) has more tokens a character and is cut smaller; in steps, so that an edit,
# which changes the density a little, seldom changes the step and with it every chunk.
_STEPS: Final = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)


@dataclass(frozen=True, slots=True)
class Chunker:
    """How documents are split.

    `size` and `overlap` in characters; `whole`: a document is one chunk, whatever its length. `max_tokens` and
    `count_tokens` bound a chunk by the model's window as well.

    What fits is one chunk. What does not is cut at the best boundary of its middle half, again and again, so that an edit
    changes the chunk that it is in and seldom a neighbour. A block that does not fit (a long paragraph, table or code fence)
    is split at sentences, lines or words. A chunk begins with the last whole blocks of the one before, as many as `overlap`
    allows and still fit; across a heading nothing overlaps.
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
        return [chunk for chunk in self._split(text) if chunk and not chunk.isspace()]

    def _split(self, text: str) -> Iterator[str]:
        blocks = _blocks(text)
        tokens = self._cumulated(text, blocks)
        pending = [(0, len(blocks.starts) - 1)]
        while pending:
            first, last = pending.pop()
            if self._fits(blocks, tokens, first, last):
                begin = self._overlapped(blocks, tokens, first, last)
                chunk = _trimmed(text[blocks.starts[begin] : blocks.starts[last]])
                # A sum may be a little off where a tokenizer looks over the end of a line.
                near = (tokens[last] - tokens[begin]) * 10 > (self.max_tokens or 0) * 9
                yield from self._fitting(chunk) if near else (chunk,)
            elif (cut := blocks.best_cut(first, last)) is not None:
                pending += [(cut, last), (first, cut)]
            elif not (block := text[blocks.starts[first] : blocks.starts[last]]).isspace():
                yield from self._block(block)

    def _cumulated(self, text: str, blocks: _Blocks) -> list[int]:
        """The tokens before each block: each is counted once, and what several have is their sum."""
        if self.count_tokens is None or self.max_tokens is None:
            return [0] * len(blocks.starts)
        counts = (self.count_tokens(text[start:end]) for start, end in pairwise(blocks.starts))
        return [0, *accumulate(counts)]

    def _fits(self, blocks: _Blocks, tokens: list[int], first: int, last: int) -> bool:
        length = blocks.starts[last] - blocks.starts[first]
        return length <= self.size and tokens[last] - tokens[first] <= (self.max_tokens or 0)

    def _overlapped(self, blocks: _Blocks, tokens: list[int], first: int, last: int) -> int:
        """The block with which the chunk of `first` to `last` begins once it repeats what it may of those before."""
        begin = first
        while (
            begin > 0
            and blocks.ranks[begin][0] >= _PARAGRAPH
            and blocks.ranks[begin - 1][0] >= _PARAGRAPH
            and blocks.starts[first] - blocks.starts[begin - 1] <= self.overlap
            and self._fits(blocks, tokens, begin - 1, last)
        ):
            begin -= 1
        return begin

    def _tokens(self, part: str) -> int:
        return self.count_tokens(part) if self.count_tokens is not None and self.max_tokens is not None else 0

    def _block(self, block: str) -> Iterator[str]:
        """The chunks of a block that has no boundary inside."""
        for section in _sections(_trimmed(block)):
            if section.isspace():
                continue
            density = self._tokens(section) / len(section)
            size = next(
                (
                    int(self.size / step)
                    for step in _STEPS
                    if density * self.size / step <= (self.max_tokens or 0)
                ),
                int(self.size / _STEPS[-1]),
            )
            for chunk in _splitter(max(1, size), self.overlap * size // self.size).chunks(section):
                yield from self._fitting(chunk)

    def _fitting(self, chunk: str) -> Iterator[str]:
        """`chunk`, or the smaller chunks of it that fit the window."""
        tokens = self._tokens(chunk)
        if tokens <= (self.max_tokens or 0) or len(chunk) == 1:
            yield chunk
            return
        size = max(1, min(len(chunk) - 1, len(chunk) * (self.max_tokens or 1) * 9 // (tokens * 10)))
        for piece in _splitter(size, 0).chunks(chunk):
            yield from self._fitting(piece)


@lru_cache(maxsize=256)
def _splitter(size: int, overlap: int) -> MarkdownSplitter:
    from semantic_text_splitter import MarkdownSplitter

    return MarkdownSplitter(size, overlap=overlap)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Where blocks begin, with the end of the text as the last; and how good a place each is to cut.

    The smaller a rank, the better: headings by their level, then by the line's hash, so that the choice depends on what
    stands there and not on how much stands before it.
    """

    starts: list[int]
    ranks: list[tuple[int, int]]

    def best_cut(self, first: int, last: int) -> int | None:
        """Of the blocks that begin in the middle half, else in nearly all of `first` to `last`, the best to cut before."""
        start, end = self.starts[first], self.starts[last]
        for margin in ((end - start) // 4, (end - start) // 10, 0):
            low = bisect_left(self.starts, start + margin, first + 1, last)
            high = bisect_right(self.starts, end - margin, low, last)
            if low < high:
                return min(range(low, high), key=self.ranks.__getitem__)
        return None


def _blocks(text: str) -> _Blocks:
    """Headings, paragraphs and list items at the left margin, outside code fences."""
    starts = [0]
    ranks = [(_PARAGRAPH, 0)]
    position = 0
    fence = ""
    after_blank = True
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if fence:
            rank = 0
            if mark and mark[1].startswith(fence) and line.strip() == mark[1]:
                fence = ""
        else:
            rank = _rank(line, after_blank=after_blank)
            fence = mark[1] if mark else ""
        if rank:
            place = (rank, zlib.crc32(line.encode("utf-8", "surrogatepass")))
            if position:
                starts.append(position)
                ranks.append(place)
            else:
                ranks[0] = place
        after_blank = not fence and not line.strip()
        position += len(line) + 1
    return _Blocks([*starts, len(text)], ranks)


def _rank(line: str, *, after_blank: bool) -> int:
    """0: no block begins here, or one that belongs to the block before."""
    if not line or line[0].isspace():
        return 0
    if heading := _HEADING.match(line):
        return len(heading[1])
    if after_blank:
        return _PARAGRAPH
    return _LIST_ITEM if _ITEM.match(line) else 0


def _trimmed(part: str) -> str:
    """`part` without blank lines around it; the first line keeps its indentation, which may mean code."""
    return _LEADING_BLANK_LINES.sub("", part).rstrip()


def _sections(text: str) -> Iterator[str]:
    """`text` in parts of at most SECTION characters, cut after lines, else after spaces, chosen by what follows them."""
    start = 0
    while len(text) - start > SECTION:
        window = text[start : start + SECTION]
        cut = _place(window, "\n") or _place(window, " ") or SECTION
        yield window[:cut]
        start += cut
    yield text[start:]


def _place(window: str, separator: str) -> int:
    """Behind which `separator` in the second half to cut: where the next characters have the smallest hash; 0: nowhere."""
    best, cut = 2**32, 0
    position = window.find(separator, SECTION // 2) + 1
    while position:
        place = zlib.crc32(window[position : position + 32].encode("utf-8", "surrogatepass"))
        if place < best:
            best, cut = place, position
        position = window.find(separator, position) + 1
    return cut
