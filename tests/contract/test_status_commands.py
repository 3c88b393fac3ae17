"""`status` and `health` as commands: watching, asking an endpoint, damaged files, and what they cost."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.files import KernelLock
from pipesched.http.server import StatusServer
from pipesched.views.scheduler import DaemonFile
from support.command import PIPESCHED, clean_environment, pipesched, start
from support.world import World, WorldSource

FRESHNESS = {
    "job_id", "state", "next_run_time", "last_status", "last_success", "age_seconds", "documents", "chunks",
    "failures_in_row", "success_rate", "duration_p50_seconds", "duration_p95_seconds",
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, now=datetime.now(UTC))
    made.job("hourly", 3600.0, since=made.now - timedelta(hours=2))
    made.ran("hourly", made.now - timedelta(minutes=20), documents={"unchanged": 12, "chunks": 19})
    return made


@contextmanager
def endpoint(world: World, token: str | None = None) -> Iterator[str]:
    server = StatusServer("127.0.0.1:0", token=token, source=WorldSource(world))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def test_status_says_how_fresh_each_job_is(world: World) -> None:
    [job] = pipesched("status", "--json", cwd=world.home).json["jobs"]
    assert job.keys() >= FRESHNESS
    assert (job["documents"], job["chunks"], job["last_status"]) == (12, 19, "succeeded")
    assert (job["success_rate"], job["duration_p50_seconds"], job["duration_p95_seconds"]) == (1.0, 2.0, 2.0)
    assert 1100 < job["age_seconds"] < 1400
    plain = pipesched("status", cwd=world.home)
    assert plain.out.startswith("scheduler: not running")
    assert "hourly" in plain.out
    assert "\x1b" not in plain.out


def test_show_says_how_a_jobs_runs_went(world: World) -> None:
    world.ran("hourly", world.now - timedelta(minutes=5), "failed", took=3600)
    shown = pipesched("show", "hourly", "--json", cwd=world.home).json["job"]
    assert shown["statistics"] == {
        "success_rate": 0.5,
        "duration_p50_seconds": 2.0,
        "duration_p95_seconds": 2.0,
        "totals": {"succeeded": 1, "failed": 1},
    }
    plain = pipesched("show", "hourly", cwd=world.home).out
    assert "runs       50% of the last 20 succeeded; half took at most 2s, 95% at most 2s\n" in plain


def test_status_as_json_is_what_the_endpoint_gives(world: World) -> None:
    from urllib.request import urlopen

    with endpoint(world) as url, urlopen(f"{url}/scheduler/status") as answer:
        served = json.load(answer)
    printed = pipesched("status", "--json", cwd=world.home).json
    for document in (served, printed):
        for aging in (*document["jobs"], *document["collections"]):
            aging.pop("age_seconds")
    assert served == printed


def test_a_damaged_job_file_is_exit_65_for_status_and_a_failed_check_for_health(world: World) -> None:
    world.paths.job_file.write_bytes(b'{"jobs": ')
    status = pipesched("status", "--json", cwd=world.home)
    assert (status.code, status.json["error"]["code"]) == (65, "data_error")
    health = pipesched("health", "--no-scheduler", "--json", cwd=world.home)
    assert (health.code, health.json["status"]) == (1, "fail")
    assert "schedules.json" in health.json["checks"]["job_file"]["message"]
    assert world.paths.job_file.read_bytes() == b'{"jobs": '


def test_status_shows_what_is_known_beside_a_damaged_job_file(world: World) -> None:
    world.paths.job_file.write_bytes(b'{"jobs": ')
    told = pipesched("status", "--json", cwd=world.home).json
    assert (told["scheduler_running"], told["jobs_executed"], told["jobs"]) == (False, 1, [])
    assert told["job_file_error"] == told["error"]
    plain = pipesched("status", cwd=world.home)
    assert plain.code == 65
    assert plain.out.startswith("scheduler: not running")
    assert f"\njob file:  {told['error']['message']}\n" in plain.out
    assert "\nruns:      1 done, 0 failed" in plain.out
    assert plain.out.splitlines()[-1].split()[:3] == ["hourly", "succeeded", "20"]
    assert plain.err == f"error: {told['error']['message']}\nhint: {told['error']['hint']}\n"


def test_status_names_the_scheduler_that_goes_on_beside_a_damaged_job_file(world: World) -> None:
    world.paths.job_file.write_bytes(b'{"jobs": ')
    DaemonFile(os.getpid(), world.now, http="http://127.0.0.1:1").write(world.paths)
    lock = KernelLock(world.paths.daemon_lock)
    assert lock.try_acquire()
    with lock:
        told = pipesched("status", "--json", cwd=world.home)
        assert (told.code, told.json["scheduler_running"]) == (65, True)
        said = pipesched("status", cwd=world.home).out
    assert "; the scheduler goes on with the last good jobs: http://127.0.0.1:1\n" in said


def test_status_says_that_the_job_file_is_gone_under_a_scheduler(world: World) -> None:
    world.paths.job_file.unlink()
    lock = KernelLock(world.paths.daemon_lock)
    assert lock.try_acquire()
    with lock:
        said = pipesched("status", cwd=world.home)
        refused = pipesched("init", "--json", cwd=world.home)
        assert (refused.code, refused.json["error"]["code"]) == (73, "cannot_create")
        assert "init --force" in refused.json["error"]["hint"]
        assert not world.paths.job_file.exists()
    assert said.code == 0
    assert (
        f"\njob file:  {world.paths.job_file} is gone; the scheduler goes on with the last good jobs; put it"
        in said.out
    )


def test_a_watch_goes_on_with_the_last_good_jobs(world: World) -> None:
    with start("status", "--watch", "--json", cwd=world.home) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["job_file_error"] is None
        world.paths.job_file.write_bytes(b'{"jobs": ')
        told = json.loads(watching.stdout.readline())
        watching.send_signal(signal.SIGINT)
    assert told["job_file_error"]["code"] == "data_error"
    assert [each["job_id"] for each in told["jobs"]] == ["hourly"]


def test_a_damaged_ledger_is_a_failed_check(world: World) -> None:
    world.paths.ledger.write_bytes(b"this is no ledger" * 1000)
    health = pipesched("health", "--no-scheduler", "--json", cwd=world.home)
    assert (health.code, list(health.json["checks"])) == (1, ["ledger"])


def test_health_prints_each_check_with_its_hint(world: World) -> None:
    ill = pipesched("health", cwd=world.home)
    assert ill.code == 1
    assert "fail  scheduler: 1 job enabled and no scheduler running" in ill.out
    assert "      hint: start it: pipesched daemon" in ill.out
    assert ill.out.endswith("health: fail\n")
    assert pipesched("health", "--no-scheduler", cwd=world.home).code == 0


def test_a_warning_is_exit_0(tmp_path: Path) -> None:
    warned = pipesched("health", "--json", cwd=tmp_path)
    assert (warned.code, warned.json["status"]) == (0, "warn")
    assert warned.json["checks"]["job_file"]["hint"].startswith("pipesched init")


def test_health_asks_an_endpoint_with_the_token_from_the_environment(world: World, tmp_path: Path) -> None:
    with endpoint(world, token="s3cret") as url:
        refused = pipesched("health", "--url", url, "--json", cwd=tmp_path)
        assert (refused.code, list(refused.json["checks"])) == (1, ["endpoint"])
        asked = pipesched(
            "health", "--url", url, "--json", cwd=tmp_path, env={"PIPESCHED_HTTP_TOKEN": "s3cret"}
        )
    assert asked.json["checks"]["scheduler"]["status"] == "fail"
    assert "job_file" in asked.json["checks"]


def test_an_endpoint_that_is_not_there_is_exit_1_with_a_message(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        gone = pipesched("health", "--url", url, "--json", cwd=tmp_path)
    assert gone.code == 1
    assert "unreachable" in gone.json["checks"]["endpoint"]["message"]
    assert pipesched("health", "--url", "nonsense://", cwd=tmp_path).code == 2


def test_watching_as_json_gives_one_document_a_line(world: World) -> None:
    with start("status", "--watch", "--json", cwd=world.home) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["schema_version"] == 1
        assert json.loads(process.stdout.readline())["jobs"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_watching_in_a_pipe_prints_one_glance_after_another(world: World) -> None:
    with start("status", "--watch", cwd=world.home) as process:
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            assert "\x1b" not in line
            seen += line.startswith("scheduler: not running")
            if seen == 2:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def watching(world: World, **environment: str) -> tuple[int, int]:
    """The pid, and the terminal that controls it, so that Ctrl-C is a signal."""
    settings = clean_environment({"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"} | environment)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(world.home)
        os.execve(PIPESCHED, [PIPESCHED, "status", "--watch"], settings)
    return pid, terminal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_watch_that_is_ended_from_elsewhere_gives_the_terminal_back(
    world: World, number: signal.Signals
) -> None:
    pid, terminal = watching(world)
    before = termios.tcgetattr(terminal)[3]
    read_until(terminal, b"q ends")
    assert not termios.tcgetattr(terminal)[3] & (termios.ICANON | termios.ECHO)
    os.kill(pid, number)
    rest = read_until(terminal, b"\x1b[?1049l")
    assert b"\x1b[?25h" in rest, "the cursor is back"
    assert b"Traceback" not in rest
    _, status = os.waitpid(pid, 0)
    assert termios.tcgetattr(terminal)[3] == before
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 128 + number


def test_a_terminal_that_cannot_redraw_gets_one_glance_after_another(world: World) -> None:
    pid, terminal = watching(world, TERM="dumb")
    seen = read_until(terminal, b"scheduler: not") + read_until(terminal, b"scheduler: not")
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert b"\x1b" not in seen
    assert seen.count(b"scheduler: not") == 2
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_watching_on_a_terminal_redraws_and_ends_with_a_key(world: World, key: bytes) -> None:
    pid, terminal = watching(world)
    seen = read_until(terminal, b"q ends")
    assert b"hourly" in seen
    assert b"\x1b[?1049h" in seen, "on a screen of its own"
    os.write(terminal, key)
    rest = read_until(terminal, b"\x1b[?1049l")
    assert b"\x1b[?25h" in rest, "the cursor is back"
    assert b"Traceback" not in seen + rest
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0


def read_until(terminal: int, end: bytes, seconds: float = 15) -> bytes:
    seen, until = b"", time.monotonic() + seconds
    while end not in seen and time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                break
    return seen


def test_status_and_health_import_nothing_heavy(world: World) -> None:
    for command in (["status", "--json"], ["health", "--json"]):
        done = subprocess.run(
            [PIPESCHED, *command],
            cwd=world.home,
            env=clean_environment({"PYTHONPROFILEIMPORTTIME": "1"}),
            capture_output=True,
            text=True,
            check=False,
        )
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "pipesched.views.snapshot" in imported
        heavy = {
            "chromadb",
            "onnxruntime",
            "ollama",
            "prometheus_client",
            "rich",
            "asyncio",
            "http.server",
            "urllib.request",
        }
        assert not imported & heavy


def test_a_job_file_that_is_gone_is_to_be_put_back_and_not_made_anew(world: World) -> None:
    world.paths.job_file.unlink()
    health = pipesched("health", "--no-scheduler", "--json", cwd=world.home)
    check = health.json["checks"]["job_file"]
    assert (health.code, check["status"], "put it back" in check["hint"]) == (1, "fail", True)
    said = [
        pipesched(command, cwd=world.home)
        for command in ("health", "status", "list", "next", "simulate", "doctor")
    ]
    for each in said:
        assert "is gone" in each.out + each.err, each
        assert "pipesched init" not in each.out + each.err
    assert pipesched("init", cwd=world.home).code == 0, "nobody runs with the old jobs"


def test_a_run_of_no_job_does_not_make_init_refuse(tmp_path: Path) -> None:
    assert pipesched("run", cwd=tmp_path).code == 2, "there is no data folder"
    assert pipesched("history", "--json", cwd=tmp_path).json["runs"]
    assert "pipesched init" in pipesched("list", cwd=tmp_path).err
    assert pipesched("init", cwd=tmp_path).code == 0
