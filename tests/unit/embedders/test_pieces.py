"""Long texts are cut so that nothing is lost."""

from hypothesis import given
from hypothesis import strategies as st

from pipesched.pipeline.embedders.pieces import halves, token_cuts


def _tokens(words: list[str]) -> tuple[list[tuple[int, int]], list[int]]:
    """Tokens of two characters, of words with a space between them."""
    offsets, numbers, at = [], [], 0
    for number, word in enumerate(words):
        for start in range(0, len(word), 2):
            offsets.append((at + start, at + min(start + 2, len(word))))
            numbers.append(number)
        at += len(word) + 1
    return offsets, numbers


@given(st.lists(st.text("ab", min_size=1, max_size=30), min_size=1, max_size=80), st.integers(1, 40))
def test_the_cuts_cover_every_token_once_and_fit_the_window(words: list[str], window: int) -> None:
    offsets, numbers = _tokens(words)
    cuts = token_cuts(offsets, numbers, window)
    assert [at for cut in cuts for at in range(cut.start, cut.stop)] == list(range(len(offsets)))
    assert all(0 < cut.stop - cut.start <= window for cut in cuts)


def test_a_text_that_fits_is_one_piece() -> None:
    offsets, numbers = _tokens(["ab"] * 10)
    assert token_cuts(offsets, numbers, 10) == [slice(0, 10)]


def test_pieces_are_about_equally_long() -> None:
    offsets, numbers = _tokens(["ab"] * 260)
    assert token_cuts(offsets, numbers, 254) == [slice(0, 130), slice(130, 260)]


def test_a_cut_falls_between_words() -> None:
    offsets, numbers = _tokens(["abcdef"] * 40)
    cuts = token_cuts(offsets, numbers, 50)
    assert len(cuts) == 3
    assert all(numbers[cut.start] != numbers[cut.start - 1] for cut in cuts[1:])


def test_whitespace_is_preferred_to_a_nearer_boundary_without() -> None:
    # Twenty tokens of one character; every token is a word, as with Chinese, and there is one space, after the eighth.
    offsets = [(at + (at >= 8), at + (at >= 8) + 1) for at in range(20)]
    assert token_cuts(offsets, list(range(20)), 14) == [slice(0, 8), slice(8, 20)]


def test_a_word_over_the_window_is_cut_itself() -> None:
    offsets, numbers = _tokens(["a" * 60])
    assert token_cuts(offsets, numbers, 20) == [slice(0, 15), slice(15, 30)]


@given(st.text(min_size=2, max_size=300))
def test_halves_lose_nothing_but_whitespace_at_the_cut(text: str) -> None:
    cut = halves(text)
    assert cut is not None
    left, right = cut
    assert text.startswith(left)
    assert text.endswith(right)
    assert not text[len(left) : len(text) - len(right)].strip()
    assert left
    assert right


def test_halves_prefer_a_paragraph_to_a_line_to_a_word() -> None:
    assert halves("aaaa bbbb\n\ncccc\ndddd eeee") == ("aaaa bbbb", "cccc\ndddd eeee")
    assert halves("aaaa bbbb\ncccc dddd") == ("aaaa bbbb", "cccc dddd")
    assert halves("aaaa bbbb cccc") == ("aaaa bbbb", "cccc")
    assert halves("aaaabbbb") == ("aaaa", "bbbb")


def test_one_character_has_no_halves() -> None:
    assert halves("a") is None
    assert halves("") is None
