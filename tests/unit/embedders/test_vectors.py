"""A vector is checked in one place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.pipeline.embedders.vectors import unencodable, unit, weighted_mean
from pipesched.pipeline.model import EmbeddingFailure


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3).filter(
        lambda values: sum(value * value for value in values) > 1e-6
    )
)
def test_any_direction_becomes_one_of_unit_length(values: list[float]) -> None:
    found = unit(values, 3)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    assert np.linalg.norm(found.astype(np.float64)) == pytest.approx(1, abs=1e-6)
    assert np.dot(found, np.array(values)) > 0


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([1.0, 2.0], "wrong_dimension"),
        ([1.0, 2.0, 3.0, 4.0], "wrong_dimension"),
        ([[1.0, 2.0, 3.0]], "wrong_dimension"),
        ([], "wrong_dimension"),
        ([1.0, float("nan"), 0.0], "not_finite"),
        ([1.0, float("inf"), 0.0], "not_finite"),
        ([1e200, 1e200, 1e200], "not_finite"),
        ([3e38, 3e38, 3e38], None),
        (["x", 1.0, 2.0], "not_finite"),
        ([0.0, 0.0, 0.0], "zero_vector"),
        ([1e-9, 0.0, 0.0], "zero_vector"),
    ],
)
def test_what_is_no_vector_says_why(values: list, code: str | None) -> None:
    found = unit(values, 3)
    assert (found.code if isinstance(found, EmbeddingFailure) else None) == code


def test_the_mean_of_pieces_is_weighted_by_their_length() -> None:
    east, north = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    mean = weighted_mean([east, north], [3, 1])
    assert mean == pytest.approx([3 / 10**0.5, 1 / 10**0.5], abs=1e-6)


def test_pieces_that_cancel_out_are_no_vector() -> None:
    east = np.array([1, 0], np.float32)
    failure = weighted_mean([east, -east], [1, 1])
    assert isinstance(failure, EmbeddingFailure)


def test_a_lone_surrogate_is_named_with_its_place() -> None:
    assert unencodable("fine 🚀") is None
    failure = unencodable("ab\ud83dc")
    assert failure is not None
    assert "character 2" in failure.message
