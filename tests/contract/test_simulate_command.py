"""`simulate`: what people and programs see of the coming days."""

import contextlib
import json
import os
import pty
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.runs.ledger import Ledger, new_run_id
from pipesched.settings import Paths
from support.command import PIPESCHED, clean_environment

KEYS = {
    "schema_version", "from", "until", "complete", "timezone", "fires", "days", "overlaps", "stores", "dependencies",
    "load", "assumed",
}  # fmt: skip


@pytest.fixture
def two_jobs(run, tmp_path: Path) -> Path:
    """One store, two jobs at two in the morning, of which one has taken 90 s and 11 minutes."""
    assert run("add-cron", "nightly", "0 2 * * *", "--timezone", "UTC").code == 0
    assert run("add-cron", "often", "*/10 * * * *", "--timezone", "UTC").code == 0
    ledger_of("often", [90.0] * 18 + [660.0] * 2, tmp_path)
    return tmp_path


def ledger_of(job_id: str, lengths: list[float], folder: Path) -> None:
    """Runs in the past that took so many seconds."""
    at = datetime.now(UTC) - timedelta(days=2)
    with Ledger.open(Paths.resolve(environ={}, cwd=folder).ledger, create=True) as ledger:
        for seconds in lengths:
            run_id = new_run_id(job_id, at)
            ledger.begin_manual(run_id, job_id, now=at, pid=os.getpid(), dry_run=False)
            at += timedelta(seconds=seconds)
            ledger.finish(run_id, status="succeeded", exit_code=0, now=at)


def test_programs_get_fires_overlaps_stores_and_load_by_the_ledger_s_durations(run, two_jobs: Path) -> None:
    done = run("simulate", "--days", "2", "--timezone", "UTC", "--assume", "5m", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert set(document) == KEYS
    assert document["timezone"] == "UTC"
    assert document["fires"] == sum(sum(day["hours"]) for day in document["days"]) == 2 * 145
    assert document["assumed"] == {"seconds": 300.0, "jobs": ["nightly"]}
    (overlap,) = document["overlaps"]
    assert overlap["job_id"] == "often"
    assert overlap["p95"]["count"] > 100 > overlap["p50"]["count"]
    pairs = {(row["job_id"], row["waits_for"]): row for row in document["stores"]}
    assert pairs["often", "nightly"]["p50"]["longest_seconds"] == 300.0
    assert pairs["often", "nightly"]["store"] == str(two_jobs / "db" / "vector_store")
    assert document["load"]["max_workers"] == 2


def test_people_get_plain_words_in_a_pipe(run, two_jobs: Path) -> None:
    out = run("simulate", "--timezone", "UTC").out
    assert out.isascii()
    assert re.search(r"^day +00 +01 .* 23 +fires$", out, re.MULTILINE)
    assert re.search(
        r"^often +\w{3} \d\d-\d\d \d\d:\d\d +never +\d+, up to \d+m +it is skipped$", out, re.MULTILINE
    )
    assert "no run to go by, taken to last 1m (--assume): nightly" in out


def test_no_jobs_and_nothing_to_fire_are_said(run) -> None:
    assert "no jobs yet" in run("simulate").err
    assert run("add-cron", "a", "0 2 * * *", "--paused").code == 0
    done = run("simulate")
    assert (done.code, done.out) == (0, "")
    assert "nothing will fire" in done.err


def test_jobs_that_cannot_be_used_are_not_called_no_jobs(run, tmp_path: Path) -> None:
    assert run("add-cron", "odd", "@daily").code == 0
    path = tmp_path / "schedules.json"
    path.write_text(path.read_text().replace("@daily", "61 * * * *"))
    for command in ("list", "next", "simulate"):
        done = run(command)
        assert (done.code, "warning: schedules.json: " in done.err) == (0, True), done
        assert "no jobs yet" not in done.err


@pytest.mark.parametrize(
    ("extra", "darkest"),
    [({}, "█"), ({"PYTHONIOENCODING": "ascii"}, "#"), ({"LANG": "C"}, "#")],
    ids=["blocks", "ascii", "C"],
)
def test_a_terminal_gets_a_heat_map_that_fits_it(
    run, two_jobs: Path, extra: dict[str, str], darkest: str
) -> None:
    ours, theirs = pty.openpty()
    environment = clean_environment(
        {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "40", "LANG": "C.UTF-8", **extra}
    )
    with subprocess.Popen(
        [PIPESCHED, "simulate", "--timezone", "UTC"],
        cwd=two_jobs, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        sent = b""
        with contextlib.suppress(OSError):
            while part := os.read(ours, 65536):
                sent += part
        os.close(ours)
    assert process.returncode == 0, sent
    rows = [line for line in sent.decode().splitlines() if re.match(r"\w{3} \d\d-\d\d", line)]
    assert len(rows) == 8
    assert max(map(len, rows)) <= 40
    assert rows[1].count(darkest) == 24
    assert f"{darkest} 6-7" in sent.decode()
