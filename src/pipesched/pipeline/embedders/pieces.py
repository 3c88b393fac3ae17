"""PURE: where to cut a text that is longer than a model's window."""

from __future__ import annotations

from collections.abc import Sequence


def token_cuts(offsets: Sequence[tuple[int, int]], words: Sequence[int | None], window: int) -> list[slice]:
    """Consecutive ranges of tokens, each at most `window` long, about equally long, that cover all tokens.

    `offsets` are the tokens' character ranges, `words` the number of the word that each belongs to. A cut falls where
    whitespace is, else between two words, near the even place; only a word longer than the window is cut itself.
    """
    cuts: list[slice] = []
    start, count = 0, len(offsets)
    while count - start > window:
        rest = count - start
        even = -(-rest // -(-rest // window))
        last = min(start + window, count - 1)
        cut = _near(start + even, start + 1, last, offsets, words)
        cuts.append(slice(start, cut))
        start = cut
    cuts.append(slice(start, count))
    return cuts


def _near(
    wanted: int, first: int, last: int, offsets: Sequence[tuple[int, int]], words: Sequence[int | None]
) -> int:
    """The best cut in first..last: the whitespace nearest `wanted` but not over half a piece away, else a word's start."""
    reach = max(1, (wanted - first) // 2)
    places = sorted(
        range(max(first, wanted - reach), min(last, wanted + reach) + 1), key=lambda at: abs(at - wanted)
    )
    for at in places:
        if offsets[at][0] > offsets[at - 1][1]:
            return at
    for at in places:
        if words[at] != words[at - 1]:
            return at
    return min(wanted, last)


def halves(text: str) -> tuple[str, str] | None:
    """`text` cut near its middle, at a line break or else a space of its middle half; None if it has under two characters.

    Whitespace around the cut is dropped; nothing else is.
    """
    if len(text) < 2:
        return None
    middle, low, high = len(text) // 2, len(text) // 4, len(text) - len(text) // 4
    for mark in ("\n\n", "\n", " "):
        before, after = text.rfind(mark, low, middle), text.find(mark, middle, high)
        found = [at for at in (before, after) if at >= 0]
        if found:
            at = min(found, key=lambda place: abs(place - middle))
            left, right = text[:at].rstrip(), text[at:].lstrip()
            if left and right:
                return left, right
    return text[:middle], text[middle:]
