"""A month of a daemon that crashes, is edited, and whose clock jumps: every occurrence is accounted for exactly once."""

import logging
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.simulation import Faults, Simulation, random_jobs, random_trigger

HOURS = (4, 6, 8, 12, 24)
SEED = 4


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: what a process leaves when it dies is the same there, and 20,000 syncs cost nothing."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as made:
        yield Path(made) / "state"


@pytest.mark.slow
def test_in_a_month_of_crashes_every_occurrence_is_accounted_for_exactly_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    simulation = Simulation(
        folder,
        random_jobs(random.Random(SEED), 100, hours=HOURS),
        seed=SEED,
        workers=8,
        lasting=lambda dice: dice.choice([20, 60, 300, 1200, 3 * 3600]) * dice.uniform(0.5, 1.5),
        faults=Faults(),
        new_trigger=lambda dice: random_trigger(dice, hours=HOURS),
    )
    try:
        simulation.live(days=30)
        found = simulation.audit()
        counters = simulation.shell.counters()
    finally:
        simulation.close()

    # It was a bad month, and of everything there was something.
    assert all(
        simulation.happened[what] >= 5 for what in ("died in mid-step", "edit", "pause", "remove", "jump")
    )
    assert all(
        found[state]
        for state in ("succeeded", "failed", "timeout", "lost", "missed", "skipped", "started again")
    )
    assert found["succeeded"] > 3000
    # Slots of a job are skipped or missed as often as the ledger has counted, but for retries that were superseded.
    assert counters.missed == found["missed"]
    assert counters.skipped >= found["skipped"]
