"""Daemons whose clock is set and whose processes are pretended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.scheduling import Daemon


@pytest.fixture
def make_daemon(tmp_path: Path):
    made: list[Daemon] = []

    def make(**options: Any) -> Daemon:
        folder = tmp_path / "state"
        folder.mkdir(mode=0o700, exist_ok=True)
        made.append(Daemon(folder, **options))
        if len(made) > 1:  # a restart: time has gone on
            made[-1].clock = made[-2].clock
            made[-1].scheduler._clock = made[-2].clock
        return made[-1]

    yield make
    for daemon in made:
        daemon.ledger.close()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    return make_daemon()
