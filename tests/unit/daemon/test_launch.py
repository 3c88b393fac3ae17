"""What a run's process is started as."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from pipesched.daemon.launch import Launch, child_environment, pipesched_command
from pipesched.settings import Paths

PATHS = Paths(job_file=Path("/j/schedules.json"), state_dir=Path("/s"), output_dir=Path("/o"))
LAUNCH = Launch("20260301T000000.000Z-nightly-0a", "nightly", datetime(2026, 3, 1, 2, tzinfo=UTC), 2)


def test_a_run_is_the_command_that_a_person_could_type():
    assert pipesched_command(PATHS, log_level="DEBUG", log_format="json")(LAUNCH) == [
        sys.executable, "-P", "-m", "pipesched", "--file", "/j/schedules.json", "--state-dir", "/s", "--output-dir", "/o",
        "--log-level", "DEBUG", "--log-format", "json", "run", "nightly", "--run-id", LAUNCH.run_id,
        "--scheduled-for", "2026-03-01T02:00:00+00:00", "--attempt", "2",
    ]  # fmt: skip


def test_log_options_that_were_not_given_are_not_passed_on():
    assert "--log-level" not in pipesched_command(PATHS)(LAUNCH)
    assert "--log-format" not in pipesched_command(PATHS)(LAUNCH)


def test_the_child_knows_who_it_is_and_not_what_is_the_daemons_own():
    mine = {
        "PATH": "/bin",
        "OLLAMA_HOST": "x",
        "NOTIFY_SOCKET": "/run/n",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "2",
        "PIPESCHED_HTTP_TOKEN": "secret",
    }
    child = child_environment(mine, LAUNCH)

    assert child == {
        "PATH": "/bin",
        "OLLAMA_HOST": "x",
        "PIPESCHED_JOB_ID": "nightly",
        "PIPESCHED_RUN_ID": LAUNCH.run_id,
        "PIPESCHED_SCHEDULED_FOR": "2026-03-01T02:00:00+00:00",
        "PIPESCHED_ATTEMPT": "2",
        "PYTHONUNBUFFERED": "1",
    }
