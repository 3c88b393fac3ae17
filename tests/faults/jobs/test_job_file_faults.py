"""The job file under faults that are really caused: kills, full disks, damage, two writers, other versions, no permission."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipesched.errors import DataError, InputOutputError, NotPermitted, PipeschedError
from pipesched.jobs.model import CronTrigger, Job
from pipesched.jobs.store import JobStore
from support.command import PIPESCHED, clean_environment, pipesched
from support.disk import fill, small_disk
from support.machine import bound_by_permissions, program

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def job(job_id: str, **values) -> Job:
    given = {"timezone": "UTC", "trigger": CronTrigger(expression="0 2 * * *"), "since": NOW} | values
    return Job(id=job_id, **given)


def raw(path: Path) -> dict:
    return json.loads(path.read_text())


# ---- 1: killed while saving


def _save_until_killed(path: Path, acknowledge: int) -> None:
    store = JobStore(path)
    for number in range(10_000):
        store.add([job(f"j{number}")], NOW)
        os.write(acknowledge, b".")


@pytest.mark.parametrize("seed", range(4))
def test_a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    for trial in range(10):
        path = tmp_path / f"{trial}" / "schedules.json"
        path.parent.mkdir()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _save_until_killed(path, writer)
            finally:
                os._exit(1)
        os.close(writer)
        assert os.read(reader, 1) == b"."  # the first save is done
        time.sleep(draw.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        saved = 1
        while got := os.read(reader, 65536):
            saved += len(got)
        os.close(reader)
        jobs = JobStore(path).load().jobs
        assert list(jobs) == [f"j{number}" for number in range(len(jobs))]
        assert len(jobs) in {saved, saved + 1}, (
            "a save that was acknowledged is lost, or one is there that was not made"
        )
        # Nothing has to be cleaned by hand: the lock is free, and the next save sweeps what was left.
        JobStore(path).add([job("after")], NOW)
        assert sorted(each.name for each in path.parent.iterdir()) == [
            ".schedules.json.lock",
            "schedules.json",
        ]


# ---- 2: the disk is full, or fails


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Longer writes fail with EFBIG, in this process."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_write_that_fails_halfway_is_an_error_and_the_old_bytes_stay(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "schedules.json")
    store.add([job("a")], NOW)
    before = store.path.read_bytes()
    with _files_of_at_most(len(before) + 10), pytest.raises(InputOutputError, match=r"schedules\.json"):
        store.add([job("b")], NOW)
    assert store.path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == [".schedules.json.lock", "schedules.json"]
    store.add([job("b")], NOW)
    assert list(store.load().jobs) == ["a", "b"]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    with small_disk(tmp_path / "small", "256k") as folder:
        yield folder


def test_a_full_disk_is_named_and_the_old_bytes_stay(mounted: Path) -> None:
    assert pipesched("add-cron", "a", "0 2 * * *", cwd=mounted).code == 0
    before = (mounted / "schedules.json").read_bytes()
    filler = fill(mounted)
    done = pipesched("add-cron", "b", "0 3 * * *", "--json", cwd=mounted)
    assert done.code == 74
    assert "No space left" in done.json["error"]["message"]
    assert "df -h" in done.json["error"]["hint"]
    assert (mounted / "schedules.json").read_bytes() == before
    assert pipesched("list", "--json", cwd=mounted).json["jobs"][0]["id"] == "a"
    filler.unlink()
    assert pipesched("add-cron", "b", "0 3 * * *", cwd=mounted).code == 0


def test_a_file_that_cannot_be_read_is_an_error_and_not_zero_jobs(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    path.symlink_to("/proc/self/mem")  # reading it gives EIO
    with pytest.raises(InputOutputError, match="read"):
        JobStore(path).load()


# ---- 3: damage


DAMAGE = {
    "empty": lambda good: b"",
    "blank": lambda good: b" \n",
    "truncated": lambda good: good[: len(good) // 2],
    "one byte short": lambda good: good.rstrip()[:-1],
    "filled with NUL": lambda good: b"\0" * len(good),
    "NUL at its end": lambda good: good[:-100] + b"\0" * 100,
    "a list": lambda good: b"[]",
    "a list of jobs": lambda good: json.dumps(list(json.loads(good)["jobs"].values())).encode(),
    "null": lambda good: b"null",
    "a string": lambda good: b'"jobs"',
    "a word": lambda good: b"jobs",
    "another table": lambda good: good.replace(b'"jobs"', b'"jbos"'),
    "a table that is a string": lambda good: b'{"jobs": "none"}',
    "bad UTF-8": lambda good: good.replace(b'"a"', b'"\xff"'),
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "nested too deep": lambda good: b'{"jobs":' + b"[" * 100_000,
    "two documents": lambda good: good + good,
    "a version that is no number": lambda good: good.replace(
        b'"schema_version": 1', b'"schema_version": "x"'
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused_and_its_bytes_stay(tmp_path: Path, name: str) -> None:
    store = JobStore(tmp_path / "schedules.json")
    store.add([job("a")], NOW)
    damaged = DAMAGE[name](store.path.read_bytes())
    store.path.write_bytes(damaged)
    stamp = store.stamp()
    for attempt in (
        store.load,
        lambda: store.add([job("b")], NOW),
        lambda: store.edit("a", lambda old: old),
        lambda: store.remove(["a"]),
    ):
        with pytest.raises(DataError) as caught:
            attempt()
        assert str(store.path) in caught.value.message
        assert caught.value.hint
    assert store.path.read_bytes() == damaged
    assert store.stamp() == stamp


def test_every_command_that_needs_jobs_exits_65_on_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    path.write_bytes(b'{"jobs": {"1": {"id": "a"')
    before = path.read_bytes()
    for arguments in (
        ["list"],
        ["show", "a"],
        ["add-cron", "b", "0 2 * * *"],
        ["remove", "a", "--yes"],
        ["next"],
        ["run", "a"],
    ):
        done = pipesched(*arguments, "--json", cwd=tmp_path)
        assert done.code == 65, arguments
        assert "line 1" in done.json["error"]["message"]
    assert path.read_bytes() == before


# ---- 4: several writers

_ADDER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pipesched.jobs.model import CronTrigger, Job
from pipesched.jobs.store import JobStore
store, who, count, now = JobStore(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), datetime.now(UTC)
for number in range(count):
    job = Job(id=f"{who}.{number}", timezone="UTC", trigger=CronTrigger(expression="0 2 * * *"), since=now)
    store.add([job], now)
    if number % 10 == 9:
        store.edit(job.id, lambda old: old.model_copy(update={"description": who}))
        store.remove([f"{who}.{number - 1}"])
"""


def _adders(path: Path, processes: int, each: int) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _ADDER, str(path), f"p{number}", str(each)], env=clean_environment()
        )
        for number in range(processes)
    ]
    assert [process.wait(timeout=240) for process in running] == [0] * processes


@pytest.mark.slow
def test_four_processes_that_add_two_hundred_jobs_each_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    _adders(path, 4, 200)
    jobs = JobStore(path).load().jobs
    expected = {f"p{who}.{number}" for who in range(4) for number in range(200) if number % 10 != 8}
    assert set(jobs) == expected
    assert {jobs[f"p{who}.199"].description for who in range(4)} == {"p0", "p1", "p2", "p3"}


def test_two_commands_at_once_both_count(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipesched", "add-cron"]
    running = [
        subprocess.Popen(
            [*command, f"j{number}", "0 2 * * *"],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
        )
        for number in range(4)
    ]
    assert [process.wait(timeout=60) for process in running] == [0] * 4
    assert sorted(JobStore(tmp_path / "schedules.json").load().jobs) == ["j0", "j1", "j2", "j3"]


def test_two_commands_at_once_that_add_one_id_add_it_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipesched", "add-cron", "same", "0 2 * * *"]
    running = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3)
    ]
    assert sorted(process.wait(timeout=60) for process in running) == [0, 2, 2]


# ---- 6: other versions


def test_a_newer_schema_is_read_and_never_written(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "schedules.json")
    store.add([job("a")], NOW)
    newer = store.path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 2')
    store.path.write_bytes(newer)
    assert list(store.load().jobs) == ["a"]
    for attempt in (
        lambda: store.add([job("b")], NOW),
        lambda: store.edit("a", lambda old: old),
        lambda: store.remove(["a"]),
    ):
        with pytest.raises(DataError, match="newer pipesched") as caught:
            attempt()
        assert caught.value.code == "schema_newer"
    assert store.path.read_bytes() == newer
    done = pipesched("pause", "a", "--json", cwd=tmp_path)
    assert (done.code, done.json["error"]["code"]) == (65, "schema_newer")


def test_an_older_schema_is_kept_as_a_backup_and_migrated(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    old = {
        "meta": {"1": {"schema_version": 0}},
        "jobs": {
            "1": {"id": "a", "type": "cron", "expression": "0 2 * * *", "timezone": "UTC"},
            "2": {
                "id": "b",
                "type": "interval",
                "every": "90m",
                "anchor": "2026-01-01T00:00:00Z",
                "timezone": "UTC",
            },
        },
    }
    path.write_text(json.dumps(old))
    before = path.read_bytes()
    store = JobStore(path)
    assert list(store.load().jobs) == ["a", "b"]
    assert path.read_bytes() == before, "reading migrates nothing on the disk"
    assert list(tmp_path.iterdir()) == [path]
    store.add([job("c")], NOW)
    assert (tmp_path / "schedules.json.bak").read_bytes() == before
    assert raw(path)["meta"] == {"1": {"schema_version": 1}}
    assert raw(path)["jobs"]["1"]["trigger"] == {"type": "cron", "expression": "0 2 * * *"}
    assert list(store.load().jobs) == ["a", "b", "c"]


def test_a_migration_that_cannot_keep_a_backup_does_not_happen(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    path.write_text('{"meta": {"1": {"schema_version": 0}}, "jobs": {}}')
    (tmp_path / "schedules.json.bak").mkdir()
    before = path.read_bytes()
    with pytest.raises(PipeschedError):
        JobStore(path).add([job("a")], NOW)
    assert path.read_bytes() == before


# ---- 7: a file system or folder that cannot be written


def test_on_a_read_only_file_system_reads_work_and_writes_say_why(mounted: Path) -> None:
    store = JobStore(mounted / "schedules.json")
    store.add([job("a")], NOW)
    before = store.path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    listed = pipesched("list", "--json", cwd=mounted)
    assert (listed.code, listed.err) == (0, "")
    assert [each["id"] for each in listed.json["jobs"]] == ["a"]
    assert pipesched("show", "a", cwd=mounted).code == 0
    for arguments in (["pause", "a"], ["add-cron", "b", "0 2 * * *"], ["remove", "a", "--yes"]):
        done = pipesched(*arguments, "--json", cwd=mounted)
        assert done.code in {74, 77}
        assert "ead-only" in done.json["error"]["message"]
    assert store.path.read_bytes() == before


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root to become somebody else"
)
def test_somebody_without_permission_reads_and_is_told_whose_it_is(tmp_path: Path) -> None:
    shared = Path("/tmp") / f"pipesched-{os.getpid()}-{random.randrange(10**9)}"
    shared.mkdir(mode=0o755)
    try:
        JobStore(shared / "schedules.json").add([job("a")], NOW)
        before = (shared / "schedules.json").read_bytes()
        code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from datetime import UTC, datetime
from pipesched.errors import NotPermitted
from pipesched.jobs.store import JobStore
store = JobStore(Path({str(shared / "schedules.json")!r}))
assert list(store.load().jobs) == ["a"]
try:
    store.edit("a", lambda old: old)
except NotPermitted as error:
    assert error.exit_code == 77
    sys.exit(9)
"""
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        done = subprocess.run(
            [*nobody, sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        if "ModuleNotFoundError" in done.stderr or "Permission denied" in done.stderr:
            pytest.skip("somebody else cannot read this Python")
        assert done.returncode == 9, done.stderr
        assert (shared / "schedules.json").read_bytes() == before
    finally:
        shutil.rmtree(shared)


def _run(prefix: list[str], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, PIPESCHED, *arguments],
        cwd=cwd,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["init"], ["add-cron", "a", "@daily"], ["pause", "a"], ["presets"]])
def test_a_folder_that_one_may_not_look_into_is_named(tmp_path: Path, arguments: list[str]) -> None:
    closed = tmp_path / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(0)
    try:
        path = str(closed / "in" / "schedules.json")
        done = _run(bound_by_permissions(), "--file", path, *arguments, "--json", cwd=tmp_path)
    finally:
        closed.chmod(0o700)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (77, "not_permitted")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_that_may_give_nothing_away_adds_a_job_and_says_whose_the_file_is(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    bound = [program("setpriv", "util-linux"), "--bounding-set=-chown"]
    done = _run(bound, "add-cron", "a", "0 2 * * *", cwd=tmp_path)
    assert done.returncode == 0
    assert "schedules.json stays root's" in done.stderr
    assert list(JobStore(tmp_path / "schedules.json").load().jobs) == ["a"]


def test_a_lock_that_somebody_holds_for_long_is_named(tmp_path: Path, monkeypatch) -> None:
    from pipesched.errors import Busy
    from pipesched.files import KernelLock
    from pipesched.jobs import store as module

    path = tmp_path / "schedules.json"
    JobStore(path).add([job("a")], NOW)
    holder = KernelLock(tmp_path / ".schedules.json.lock", what="an editor")
    assert holder.try_acquire()
    monkeypatch.setattr(module, "LOCK_WAIT_SECONDS", 0.05)
    with holder, pytest.raises(Busy, match=f"pid {os.getpid()}"):
        JobStore(path).add([job("b")], NOW)
    JobStore(path).add([job("b")], NOW)


# ---- 8: many jobs


def _many(path: Path, count: int) -> None:
    jobs = {
        str(number): {
            "id": f"job_{number}",
            "description": f"number {number}",
            "tags": ["many"],
            "timezone": ("Europe/Riga", "America/New_York", "UTC")[number % 3],
            "trigger": {"type": "cron", "expression": f"{number % 60} {number // 60 % 24} * * {number % 7}"},
            "policy": {"retries": 2, "timeout": "30m"},
            "config": {"collection_name": f"posts_{number}", "data_dir": f"posts/{number}"},
            "created_at": "2026-01-01T00:00:00Z",
            "since": "2026-01-01T00:00:00Z",
        }
        for number in range(1, count + 1)
    }
    path.write_text(json.dumps({"meta": {"1": {"schema_version": 1}}, "jobs": jobs}, indent=2))


@pytest.mark.slow
def test_ten_thousand_jobs_are_listed_in_time(tmp_path: Path) -> None:
    _many(tmp_path / "schedules.json", 10_000)
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = pipesched("list", "--json", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time, so that what else the machine does meanwhile does not count.
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.code == 0
    assert len(done.json["jobs"]) == 10_000
    assert all(each["next_run_time"] for each in done.json["jobs"])
    assert min(seconds) < 1.5


def test_permission_errors_are_not_taken_for_no_jobs(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "schedules.json"
    path.write_text("{}")
    path.chmod(0)
    with pytest.raises(NotPermitted):
        JobStore(path).load()
