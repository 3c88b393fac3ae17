"""The installed daemon and command tell real targets, and no secret is left anywhere."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from pipesched.jobs.model import JobPolicy
from support.command import pipesched, start
from support.shell_daemon import end_with_parent
from support.webhook import Webhook
from support.world import World

CANARY = "CaNaRy4711"


@contextmanager
def daemon(
    folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    with (folder.parent / f"{folder.name}.said").open("a") as said:
        process = start(
            "--log-level", "DEBUG", "daemon", *arguments, cwd=folder, env=env, stderr=said, stdout=said,
            preexec_fn=end_with_parent,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def said(folder: Path) -> str:
    return (folder.parent / f"{folder.name}.said").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


def arguments_of_all() -> bytes:
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes()
        except OSError:
            continue
    return found


def titles(hook: Webhook) -> list[str]:
    return [each.json["title"] for each in hook.requests if each.method == "POST"]


def page(url: str) -> str:
    """Whatever the status: a job that failed often enough makes /health a 503."""
    try:
        with urlopen(url) as answer:
            return answer.read().decode()
    except HTTPError as error:
        with error:
            return error.read().decode()


def until(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_job_that_fails_and_recovers_is_told_once_each_and_no_secret_is_left(folder: Path) -> None:
    with Webhook() as hook:
        secret = f"json://user:{CANARY}@{hook.address}/{CANARY}?+X-Token={CANARY}"
        added = pipesched(
            "add-interval", "often", "--every", "1s", "--data-dir", "posts", "--notify", secret, "--notify", "env:ALERTS",
            "--ping", f"http://user:{CANARY}@{hook.address}/ping-{CANARY}?key={CANARY}", "--json", cwd=folder,
        )  # fmt: skip
        env = {"ALERTS": f"json://dead:{CANARY}@127.0.0.1:1/{CANARY}", "PIPESCHED_HTTP_TOKEN": ""}
        seen = arguments_of_all()
        shown = added.out + added.err
        with daemon(folder, "--http", "127.0.0.1:0", env=env):
            until(lambda: titles(hook) == ["often failed"])
            seen += arguments_of_all()
            time.sleep(1.5)
            (folder / "posts").mkdir()
            (folder / "posts" / "one.md").write_text("# One")
            until(lambda: "often recovered" in titles(hook))
            seen += arguments_of_all()
            url = pipesched("status", "--json", cwd=folder).json["http"]
            for path in ("/", "/metrics", "/scheduler/jobs", "/scheduler/status", "/health"):
                shown += page(url + path)
        assert titles(hook) == ["often failed", "often recovered"]
        body = hook.requests[next(i for i, r in enumerate(hook.requests) if r.method == "POST")].json[
            "message"
        ]
        assert "Last error: the data folder" in body
        assert "Hint: name the folder of your posts with --data-dir" in body
        pings = [
            each.path.partition("?")[0].removeprefix(f"/ping-{CANARY}")
            for each in hook.requests
            if each.method == "GET"
        ]
        assert pings[:2] == ["/start", "/2"]
        assert "" in pings
        for command in (
            ("list", "--json"), ("show", "often"), ("show", "often", "--json"), ("health", "--no-scheduler"), ("status",),
            ("history",), ("logs", "often"), ("reports", "--json"), ("doctor", "--json"), ("notify-test", "often", "--json"),
            ("prune", "--dry-run", "--json"), ("add-cron", "often", "@daily", "--ping", f"http://h/{CANARY}", "--json"),
        ):  # fmt: skip
            done = pipesched(*command, cwd=folder, env=env)
            shown += done.out + done.err
        assert CANARY not in shown
        assert CANARY.encode() not in seen
        assert CANARY not in said(folder)
        assert said(folder).count("json://") == 0  # env:NAME is said by its name
        leaks = [p for p in folder.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]
        assert leaks == [folder / "schedules.json"]
        assert said(folder).count("env:ALERTS") == 1  # its failure is said once


@pytest.mark.slow
def test_targets_that_never_answer_delay_neither_the_schedule_nor_the_end(folder: Path) -> None:
    (folder / "posts").mkdir()
    (folder / "posts" / "one.md").write_text("# One")
    with Webhook(delay=600) as hook:
        tell = ("--notify", f"json://{hook.address}/?rto=600", "--ping", f"http://{hook.address}/ping")
        pipesched(
            "add-interval",
            "bad",
            "--every",
            "1s",
            "--data-dir",
            "none",
            "--storage-path",
            "a",
            *tell,
            cwd=folder,
        )
        pipesched(
            "add-interval",
            "good",
            "--every",
            "1s",
            "--data-dir",
            "posts",
            "--storage-path",
            "b",
            *tell,
            cwd=folder,
        )
        with daemon(folder, "--no-http", "--max-workers", "4"):
            hook.wait_for(2)
            time.sleep(6)
            began = time.monotonic()
        assert time.monotonic() - began < 16
    runs = pipesched("history", "--limit", "100", "--json", cwd=folder).json["runs"]
    started = [run for run in runs if run["started_at"] is not None]
    assert len(started) >= 6
    late = [
        (
            datetime.fromisoformat(run["started_at"]) - datetime.fromisoformat(run["scheduled_for"])
        ).total_seconds()
        for run in started
    ]
    assert sorted(late)[len(late) // 2] < 0.5
    assert {run["status"] for run in started if run["job_id"] == "good"} == {"succeeded"}


def test_once_still_tells_before_it_ends_and_another_daemon_does_not_tell_again(folder: Path) -> None:
    with Webhook() as hook:
        pipesched(
            "add-once", "launch", "--at", "2026-01-01 09:00", "--timezone", "UTC", "--if-past", "run", "--data-dir", "none",
            "--notify", f"json://{hook.address}/", cwd=folder,
        )  # fmt: skip
        assert pipesched("daemon", "--once", cwd=folder).code == 1
        assert titles(hook) == ["launch failed"]
        assert pipesched("daemon", "--once", cwd=folder).code == 0
        assert titles(hook) == ["launch failed"]


def test_a_run_that_no_daemon_watches_tells_itself(folder: Path) -> None:
    with Webhook() as hook:
        pipesched(
            "add-cron", "nightly", "0 2 * * *", "--data-dir", "posts", "--notify", f"json://{hook.address}/n",
            "--ping", f"http://{hook.address}/p", cwd=folder,
        )  # fmt: skip
        assert pipesched("run", "nightly", cwd=folder).code == 2
        assert pipesched("run", "nightly", "--run-id", "from-cron-1", cwd=folder).code == 2
        (folder / "posts").mkdir()
        assert pipesched("run", "nightly", "--dry-run", cwd=folder).code == 0
        assert pipesched("run", "nightly", cwd=folder).code == 0
        assert titles(hook) == ["nightly failed", "nightly recovered"]
        pings = [each.path.partition("?")[0] for each in hook.requests if each.method == "GET"]
        assert pings == ["/p/start", "/p/2", "/p/start", "/p/2", "/p/start", "/p"]


def test_a_run_is_none_the_worse_for_targets_that_do_not_work(folder: Path) -> None:
    (folder / "posts").mkdir()
    pipesched(
        "add-cron",
        "nightly",
        "0 2 * * *",
        "--data-dir",
        "posts",
        "--ping",
        f"http://127.0.0.1:1/{CANARY}",
        cwd=folder,
    )
    done = pipesched("run", "nightly", "--json", cwd=folder)
    assert (done.code, done.json["status"]) == (0, "succeeded")
    assert "the ping http://127.0.0.1:1/***: no connection" in done.err
    assert CANARY not in done.out + done.err


def test_a_run_is_none_the_worse_for_a_lock_that_cannot_be_looked_at(folder: Path) -> None:
    (folder / "posts").mkdir()
    pipesched(
        "add-cron", "nightly", "0 2 * * *", "--data-dir", "posts", "--notify", "json://127.0.0.1:1/", cwd=folder
    )  # fmt: skip
    (folder / ".pipesched" / "daemon.lock").mkdir(parents=True)
    (folder / ".pipesched").chmod(0o700)
    done = pipesched("run", "nightly", "--json", cwd=folder)
    assert (done.code, done.json["status"]) == (0, "succeeded")
    assert "notifications could not be sent: cannot lock" in done.err


def test_without_apprise_runs_go_on_and_it_is_said(folder: Path) -> None:
    (folder / "hidden").mkdir()
    # What `pip uninstall apprise` does, for one process tree: a module of None is not there.
    (folder / "hidden" / "sitecustomize.py").write_text("import sys; sys.modules['apprise'] = None\n")
    env = {"PYTHONPATH": str(folder / "hidden")}
    (folder / "posts").mkdir()
    pipesched(
        "add-cron",
        "nightly",
        "0 2 * * *",
        "--data-dir",
        "posts",
        "--notify",
        f"json://x:{CANARY}@h/",
        cwd=folder,
    )
    done = pipesched("run", "nightly", cwd=folder, env=env)
    assert done.code == 0
    assert done.err.count("Apprise is not installed") == 1
    health = pipesched("health", "--no-scheduler", "--json", cwd=folder, env=env)
    assert health.code == 0
    assert health.json["checks"]["notifications"]["hint"].startswith("pip install 'pipesched[notify]'")
    assert pipesched("notify-test", "nightly", "--json", cwd=folder, env=env).code == 78
    assert json.dumps(health.json).count(CANARY) == 0
    assert os.fspath(folder) in health.out


def test_missed_runs_and_a_job_that_paused_itself_are_told_by_the_installed_daemon(folder: Path) -> None:
    world = World(folder, now=datetime.now(UTC))
    with Webhook() as hook:
        told = {"notify": (f"json://{hook.address}/",)}
        hour_ago = world.now - timedelta(hours=1)
        world.job(
            "asleep", 600.0, since=hour_ago, created_at=hour_ago, policy=JobPolicy(catch_up="none", **told)
        )
        pipesched(
            "add-once", "broken", "--at", "2026-01-01 09:00", "--timezone", "UTC", "--if-past", "run", "--data-dir", "none",
            "--storage-path", "b", "--pause-after-failures", "1", "--notify", told["notify"][0], cwd=folder,
        )  # fmt: skip
        assert pipesched("daemon", "--once", cwd=folder).code == 1
        assert sorted(titles(hook)) == ["asleep missed runs", "broken is paused after failures"]
        paused = next(each.json["message"] for each in hook.requests if "paused" in each.json["title"])
        assert "pipesched --file" in paused
        assert "resume broken" in paused
        assert pipesched("daemon", "--once", cwd=folder).code == 0
        assert len(hook.requests) == 2, "neither is told again"


@pytest.mark.slow
def test_a_target_that_hangs_holds_up_the_end_of_a_run_by_hand_for_seconds_and_changes_nothing(
    folder: Path,
) -> None:
    with Webhook(delay=600) as hook:
        pipesched(
            "add-cron", "nightly", "0 2 * * *", "--data-dir", "none", "--notify", f"json://{hook.address}/?rto=600",
            "--ping", f"http://{hook.address}/p", cwd=folder,
        )  # fmt: skip
        began = time.monotonic()
        process = start("run", "nightly", "--json", cwd=folder)
        assert process.stdout is not None
        report = json.loads(process.stdout.readline())
        assert time.monotonic() - began < 5, "who reads the report waits for nobody"
        assert (report["status"], process.wait(30)) == ("failed", 2)
        process.communicate()
        assert time.monotonic() - began < 20
    history = pipesched("history", "--json", cwd=folder).json["runs"]
    assert [(run["status"], run["exit_code"]) for run in history] == [("failed", 2)]


def test_no_export_but_the_private_file_has_a_secret(folder: Path) -> None:
    secret = f"json://user:{CANARY}@h/{CANARY}"
    pipesched(
        "add-cron", "nightly", "0 2 * * *", "--data-dir", "posts", "--notify", secret,
        "--ping", f"https://u:{CANARY}@h/{CANARY}", cwd=folder,
    )  # fmt: skip
    for kind in ("json", "crontab", "systemd", "kubernetes"):
        shown = pipesched("export", "--format", kind, cwd=folder)
        assert shown.code == 0
        assert CANARY not in shown.out + shown.err
        written = pipesched("export", f"as-{kind}", "--format", kind, cwd=folder)
        assert CANARY not in written.out + written.err
        files = [path for path in folder.rglob(f"as-{kind}*") if path.is_file()]
        leaks = [path for path in files if CANARY in path.read_text()]
        assert leaks == (files if kind == "json" else [])
        assert all(path.stat().st_mode & 0o077 == 0 for path in leaks)
