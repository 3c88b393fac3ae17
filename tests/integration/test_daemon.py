"""The daemon through the installed command: the whole story with real posts, the real model and real Chroma."""

import json
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipesched.files import KernelLock
from support.command import Result, pipesched, start

POSTS = {
    "bread.md": "---\ntitle: Sourdough\n---\n# Sourdough\n\nFeed the starter with flour and water, and bake bread.\n",
    "units.md": "---\ntitle: Systemd units\n---\n# Units\n\nA service unit starts a daemon when the machine boots.\n",
}


@pytest.fixture
def blog(tmp_path: Path) -> Path:
    (tmp_path / "posts").mkdir()
    for name, text in POSTS.items():
        (tmp_path / "posts" / name).write_text(text)
    return tmp_path


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def ended(blog: Path, job: str) -> list[dict[str, Any]]:
    runs = pipesched("history", job, "--json", cwd=blog).json["runs"]
    return [run for run in runs if run["status"] not in {"queued", "running"}]


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.loads(answer.read())


@pytest.mark.slow
def test_a_job_fires_and_indexes_edits_are_followed_and_sigterm_ends_it(blog):
    assert pipesched("add-once", "first", "--at", "+2s", "--data-dir", "posts", cwd=blog).code == 0
    with (blog / "said").open("w") as said:
        daemon = start("daemon", "--http", "127.0.0.1:0", cwd=blog, stdout=said, stderr=said)
    try:
        (run,) = wait_for(lambda: ended(blog, "first"), "the first run")
        assert (run["status"], run["exit_code"], run["trigger"]) == ("succeeded", 0, "schedule")
        found = pipesched("search", "baking bread", "-n", "1", "--json", cwd=blog).json["results"]
        assert [each["source"] for each in found] == ["bread.md"]
        assert pipesched("logs", "first", cwd=blog).out.startswith("succeeded")

        # A job that is added while the daemon runs fires within seconds.
        (blog / "posts" / "new.md").write_text("# Bees\n\nThe beekeeper harvests honey in summer.\n")
        assert pipesched("add-interval", "often", "--every", "2s", "--data-dir", "posts", cwd=blog).code == 0
        wait_for(lambda: ended(blog, "often"), "the run of the new job", 15)
        found = pipesched("search", "honey", "-n", "1", "--json", cwd=blog).json["results"]
        assert [each["source"] for each in found] == ["new.md"]

        status = pipesched("status", "--json", cwd=blog).json
        assert (status["scheduler_running"], status["pid"], status["jobs_failed"]) == (True, daemon.pid, 0)
        assert get(f"{status['http']}/scheduler/status")["jobs_executed"] >= 2
        assert {job["id"] for job in get(f"{status['http']}/scheduler/jobs")["jobs"]} == {"first", "often"}
        assert get(f"{status['http']}/health")["status"] in {"pass", "warn"}

        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0, (blog / "said").read_text()
    finally:
        daemon.kill()
        daemon.wait()
    status = pipesched("status", "--json", cwd=blog).json
    assert (status["scheduler_running"], status["pid"], status["running"]) == (False, None, [])
    assert not {run["status"] for run in ended(blog, "often")} - {"succeeded", "skipped"}


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_runs_go_on_with_the_last_good_jobs_while_the_job_file_is(harm, tmp_path):
    (tmp_path / "posts").mkdir()
    assert pipesched("add-interval", "often", "--every", "1s", "--data-dir", "posts", cwd=tmp_path).code == 0
    with (tmp_path / "said").open("w") as said:
        daemon = start("daemon", "--no-http", cwd=tmp_path, stdout=said, stderr=said)
    try:
        wait_for(lambda: ended(tmp_path, "often"), "a run before the harm")
        if harm == "damaged":
            (tmp_path / "schedules.json").write_text('{"jobs": {')
        else:
            (tmp_path / "schedules.json").unlink()
        before = len(ended(tmp_path, "often"))
        wait_for(lambda: len(ended(tmp_path, "often")) >= before + 4, "runs after the harm")
        assert not {run["status"] for run in ended(tmp_path, "often")} & {"failed", "lost"}
        said_by = pipesched("health", "--json", cwd=tmp_path).json["checks"]["job_file"]
        assert said_by["status"] != "pass", said_by
    finally:
        daemon.terminate()
        daemon.wait(30)


def test_no_job_file_is_exit_78_and_says_init(tmp_path):
    done = pipesched("daemon", "--no-http", cwd=tmp_path)

    assert done.code == 78
    assert "pipesched init" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_job_file_is_exit_65_and_stays_as_it_is(tmp_path):
    (tmp_path / "schedules.json").write_text("{")

    assert pipesched("daemon", "--no-http", cwd=tmp_path).code == 65
    assert (tmp_path / "schedules.json").read_text() == "{"


def test_a_second_daemon_is_exit_75_and_names_the_first(blog):
    pipesched("add-cron", "yearly", "@yearly", "--data-dir", "posts", cwd=blog)
    with (blog / "said").open("w") as said:
        first = start("daemon", "--no-http", cwd=blog, stdout=said, stderr=said)
    try:
        wait_for(lambda: pipesched("status", "--json", cwd=blog).json["pid"] == first.pid, "the first daemon")
        second: Result = pipesched("daemon", "--no-http", "--json", cwd=blog)
        assert second.code == 75
        assert second.json["error"]["code"] == "busy"
        assert f"pid {first.pid}" in second.json["error"]["message"]
    finally:
        first.terminate()
    assert first.wait(20) == 0


def test_once_with_nothing_due_exits_at_once(blog):
    pipesched("add-cron", "yearly", "@yearly", "--data-dir", "posts", cwd=blog)

    assert pipesched("daemon", "--once", cwd=blog, timeout=20).code == 0
    assert not pipesched("status", "--json", cwd=blog).json["scheduler_running"]


def test_a_port_that_is_taken_ends_the_daemon_with_a_clear_error(blog):
    pipesched("add-cron", "yearly", "@yearly", "--data-dir", "posts", cwd=blog)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = pipesched("daemon", "--http", f"127.0.0.1:{port}", cwd=blog, timeout=20)

    assert done.code == 75
    assert str(port) in done.err


def test_an_address_for_others_needs_a_token(blog):
    pipesched("add-cron", "yearly", "@yearly", "--data-dir", "posts", cwd=blog)

    assert pipesched("daemon", "--http", "0.0.0.0:0", cwd=blog, timeout=20).code == 78


@pytest.mark.parametrize(
    "arguments", [("--max-workers", "0"), ("--drain-timeout", "soon"), ("--http", "nowhere")]
)
def test_a_bad_option_is_exit_2(blog, arguments):
    pipesched("add-cron", "yearly", "@yearly", "--data-dir", "posts", cwd=blog)

    assert pipesched("daemon", *arguments, cwd=blog, timeout=20).code == 2


def test_cancel_of_an_unknown_run_is_exit_4_and_of_an_ended_one_exit_2(blog):
    unknown = pipesched("cancel", "nothing", "--json", cwd=blog)
    assert (unknown.code, unknown.json["error"]["code"]) == (4, "run_not_found")
    assert not (blog / ".pipesched").exists()

    run = pipesched("run", "--data-dir", "missing", "--json", cwd=blog).json
    again = pipesched("cancel", run["run_id"], cwd=blog)
    assert again.code == 2
    assert "failed already" in again.err


@pytest.mark.slow
def test_cancel_ends_a_run_by_hand(blog):
    lock = KernelLock(blog / "store.lock", what="a test")
    assert lock.try_acquire()
    with lock:
        run = start("run", "--data-dir", "posts", "--storage-path", "store", "--wait", "60s", cwd=blog)
        (row,) = wait_for(lambda: pipesched("history", "--json", cwd=blog).json["runs"], "the run")
        assert row["status"] == "running"
        done = pipesched("cancel", row["run_id"], "--json", cwd=blog)

    assert done.code == 0
    assert done.json["run"]["status"] == "interrupted"
    assert run.wait(10) in {143, -signal.SIGKILL}
    run.communicate()
    assert [each["status"] for each in pipesched("history", "--json", cwd=blog).json["runs"]] == [
        "interrupted"
    ]
