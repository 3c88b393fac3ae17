"""Clock jumps."""

from datetime import UTC, datetime, timedelta

import pytest

from pipesched.daemon.clock import JumpDetector

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wall_seconds", "monotonic_seconds", "jump"),
    [
        (30.0, 30.0, None),
        (31.5, 30.0, None),
        (30.0 - 7200, 30.0, -7200.0),
        (30.0 + 10_800, 30.0, 10_800.0),
        (3600.0, 1.0, 3599.0),
    ],
)
def test_the_wall_clock_is_compared_with_the_time_that_passed(wall_seconds, monotonic_seconds, jump):
    detector = JumpDetector(START, 100.0)
    found = detector.jump(START + timedelta(seconds=wall_seconds), 100.0 + monotonic_seconds)

    assert (found.total_seconds() if found else None) == jump


def test_a_jump_is_told_once():
    detector = JumpDetector(START, 0.0)

    assert detector.jump(START + timedelta(hours=3), 1.0) is not None
    assert detector.jump(START + timedelta(hours=3, seconds=1), 2.0) is None
