"""write_atomic under SIGKILL, a full disk and a failing one: the old bytes or the new, and nothing left lying about."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipesched.errors import CannotCreate
from pipesched.files import write_atomic
from support.disk import on_a_full_disk, with_failing_calls

OLD = b"old" * 50_000
NEW = b"new!" * 50_000

WRITE_NEW = """
from pathlib import Path
from pipesched.files import write_atomic
write_atomic(Path({path!r}), b"new!" * 50_000)
"""

TELL = """
from pathlib import Path
from pipesched.errors import PipeschedError, exit_status
from pipesched.files import write_atomic
try:
    write_atomic(Path({path!r}), b"new!" * {count})
except PipeschedError as error:
    print(exit_status(error), "|", error.message, "|", error.hint)
print(Path({path!r}).read_bytes() == b"old", sorted(p.name for p in Path({path!r}).parent.iterdir()))
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "schedules.json"
    path.write_bytes(OLD)
    return path


# What the kernel is asked for, in order; the second fsync is that of the folder, after the rename.
STEPS = [
    ("flock:signal=KILL:when=1", OLD),
    ("fchmod:signal=KILL:when=1", OLD),
    ("write:signal=KILL:when=1", OLD),
    ("fsync:signal=KILL:when=1", OLD),
    ("rename:signal=KILL:when=1", OLD),
    ("fsync:signal=KILL:when=2", NEW),
]


@pytest.mark.parametrize(("step", "expected"), STEPS, ids=[step for step, _ in STEPS])
def test_a_kill_at_each_step_leaves_the_old_file_or_the_new(target: Path, step: str, expected: bytes) -> None:
    done = with_failing_calls(WRITE_NEW.format(path=str(target)), step)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert target.read_bytes() == expected
    write_atomic(target, b"the next save")
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_kills_at_random_moments_leave_one_whole_file_and_no_litter_for_the_next_save(target: Path) -> None:
    forever = f"""
from itertools import cycle
from pathlib import Path
from pipesched.files import write_atomic
print("ready", flush=True)
for data in cycle((b"new!" * 50_000, b"old" * 50_000)):
    write_atomic(Path({str(target)!r}), data)
"""
    seen = set()
    moments = random.Random(7)
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", forever], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(moments.uniform(0, 0.02))
            writer.kill()
        assert target.read_bytes() in {OLD, NEW}
        seen.update(path.name for path in target.parent.iterdir())
    write_atomic(target, NEW)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert len(seen) > 1, "no kill ever met a temporary file: the test proves nothing"


def test_the_sweep_leaves_a_living_writer_its_temporary_file(target: Path) -> None:
    stopped = f"""
import os, signal
from pathlib import Path
from pipesched import files
real = os.fsync
def fsync(fd):
    real(fd)
    os.fsync = real
    os.kill(os.getpid(), signal.SIGSTOP)
os.fsync = fsync
files.write_atomic(Path({str(target)!r}), b"mine")
"""
    with subprocess.Popen([sys.executable, "-c", stopped]) as writer:
        os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
        write_atomic(target, b"yours")
        assert len(list(target.parent.iterdir())) == 2
        writer.send_signal(signal.SIGCONT)
        assert writer.wait(10) == 0
    assert target.read_bytes() == b"mine"


def test_a_full_disk_is_told_and_keeps_the_old_bytes(tmp_path: Path) -> None:
    code = "from pathlib import Path\nPath('a.json').write_bytes(b'old')\n" + TELL.format(
        path="a.json", count=50_000
    )
    done = on_a_full_disk(tmp_path, code)
    first, second = done.stdout.splitlines()
    assert first.startswith("74 | cannot write ")
    assert os.strerror(errno.ENOSPC) in first
    assert first.endswith("free some space: df -h")
    assert second == "True ['a.json']"


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_an_input_output_error_is_told_and_keeps_the_old_bytes(tmp_path: Path, call: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    done = with_failing_calls(TELL.format(path=str(path), count=3), f"{call}:error=EIO:when=1")
    first, second = done.stdout.splitlines()
    assert first == f"74 | cannot write {path}: Input/output error | check the disk: dmesg | tail"
    assert second == "True ['a.json']"


def test_a_file_size_limit_is_told_and_keeps_the_old_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    done = subprocess.run(
        [sys.executable, "-c", limit + TELL.format(path=str(path), count=50_000)],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(f"74 | cannot write {path}: File too large")
    assert second == "True ['a.json']"


def test_a_file_system_without_locks_is_told_by_who_only_looks(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.touch()
    look = f"""
from pathlib import Path
from pipesched.errors import PipeschedError
from pipesched.files import KernelLock
try:
    KernelLock(Path({str(path)!r})).is_held()
except PipeschedError as error:
    print(error.message)
"""
    done = with_failing_calls(look, "flock:error=ENOLCK")
    assert done.stdout == f"cannot lock {path}: No locks available\n", done.stderr


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(CannotCreate, match="no regular file"):
            write_atomic(tmp_path / name, b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
