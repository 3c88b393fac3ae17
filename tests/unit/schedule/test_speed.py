"""What a fire costs, in processor time."""

import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from pipesched.schedule.parse import cron, interval

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
EXPRESSIONS = [
    "* * * * *",
    "30 2 * * *",
    "*/7 9-17 * * mon-fri",
    "0 0 1 1 *",
    "0 0 13 * fri",
    "0 0 29 2 *",
    "0 0 * 2 1#5",
    "59 23 31 12 sun#5",
    "H H L * *",
]


def costs(schedule, count=300):
    """Microseconds of each of `count` fires at random times within two years, best of three."""
    dice = random.Random(7)
    found = []
    for _ in range(count):
        at = BEGIN + timedelta(seconds=dice.randrange(730 * 86_400))
        schedule.next(at)  # the zone's table is made once
        best = float("inf")
        for _ in range(3):
            begin = time.thread_time_ns()
            schedule.next(at)
            best = min(best, time.thread_time_ns() - begin)
        found.append(best / 1000)
    return sorted(found)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_fire_costs_microseconds(expression):
    found = costs(cron(expression, zone="America/New_York", job_id="job"))
    assert found[len(found) // 2] < 40
    assert found[int(len(found) * 0.99)] < 120


def test_a_fire_of_an_interval_costs_less():
    found = costs(interval(90.0, BEGIN))
    assert found[len(found) // 2] < 20


def test_a_common_schedule_does_not_load_croniter():
    script = (
        "import sys; from pipesched.schedule.parse import cron; from pipesched.schedule.words import explain;"
        "cron('0 2 * * *', zone='Europe/Berlin', job_id='job'); cron('H 3 * * 0', zone='UTC', job_id='job');"
        "explain('30 * 1 * *'); sys.exit('croniter' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
