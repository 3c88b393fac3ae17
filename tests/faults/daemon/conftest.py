"""Real daemons."""

import pytest

from support.shell_daemon import ShellDaemon


@pytest.fixture
def daemon(tmp_path):
    daemon = ShellDaemon(tmp_path)
    yield daemon
    daemon.end()
