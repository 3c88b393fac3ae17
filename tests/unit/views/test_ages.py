"""Durations in words."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.views.ages import ago, span, took

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (45, "45 s"),
        (60, "1 min"),
        (119, "1 min"),
        (3600, "1 h"),
        (3659, "1 h"),
        (3660, "1 h 01 min"),
        (7 * 3600 + 5 * 60, "7 h 05 min"),
        (86400, "1 d"),
        (86400 * 3 + 3600 * 4 + 59, "3 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert span(seconds) == words
    assert span(timedelta(seconds=seconds)) == words


def test_times_are_told_from_now() -> None:
    assert ago(NOW, NOW) == "just now"
    assert ago(NOW - timedelta(minutes=3), NOW) == "3 min ago"
    assert ago(NOW + timedelta(minutes=3), NOW) == "in 3 min"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.84, "0.84 s"),
        (9.5, "9.5 s"),
        (12.7, "12 s"),
        (214.2, "3 min 34 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_run_says_how_long_it_took(seconds: float | None, words: str) -> None:
    assert took(seconds) == words


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_words_never_claim_more_than_the_duration(one: int, other: int) -> None:
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}

    def back(words: str) -> int:
        parts = words.split()
        return sum(int(count) * units[unit] for count, unit in zip(parts[::2], parts[1::2], strict=True))

    assert back(span(one)) <= one
    if one <= other:
        assert back(span(one)) <= back(span(other))
