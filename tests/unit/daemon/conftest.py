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
        """A further one is a restart, for which time has gone on."""
        folder = tmp_path / "state"
        folder.mkdir(mode=0o700, exist_ok=True)
        made.append(Daemon(folder, clock=made[-1].clock if made else None, **options))
        return made[-1]

    yield make
    for daemon in made:
        daemon.ledger.close()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    return make_daemon()
