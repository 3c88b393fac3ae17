"""A daemon that has lived through a day of runs holds no more memory, threads, files or disk than before."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.soak import Sample, leaks

CHILD = str(Path(__file__).parents[2] / "support" / "soak_child.py")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: thousands of syncs cost nothing there."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as made:
        yield Path(made)


@pytest.mark.slow
def test_a_day_of_two_thousand_runs_leaves_nothing_behind(folder: Path) -> None:
    lived = subprocess.run([sys.executable, CHILD, str(folder)], capture_output=True, text=True, check=False)
    assert lived.returncode == 0, lived.stderr
    day = json.loads(lived.stdout)
    samples = [Sample(**sample) for sample in day["samples"]]
    assert (day["status"], day["handler_is_back"]) == (0, True)
    assert len(samples) == 24
    assert samples[-1].fires > 1900
    assert leaks(samples) == []


BASE = Sample(
    hours=0, fires=0, kilobytes=50_000, blocks=170_000, threads=7, handles=28, database=4_000_000, files=50
)


@pytest.mark.parametrize(
    ("measure", "an_hour"),
    [("kilobytes", 200), ("blocks", 85), ("threads", 1), ("handles", 1), ("database", 200_000), ("files", 5)],
)
def test_what_grows_with_each_hour_is_a_leak_and_what_is_made_once_or_for_a_moment_is_not(
    measure: str, an_hour: int
) -> None:
    def lived(grown: list[int]) -> list[str]:
        value = getattr(BASE, measure)
        return leaks(
            [
                replace(BASE, hours=hour, fires=85 * hour, **{measure: value + more})
                for hour, more in enumerate(grown)
            ]
        )

    (found,) = lived([an_hour * hour for hour in range(24)])
    assert found.startswith(f"{measure} grew from ")
    assert lived([0, *[an_hour * 100] * 23]) == []
    assert lived([an_hour * 20 * (hour % 6 == 0) for hour in range(24)]) == []
