"""KernelLock between processes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipesched.errors import InputOutputError
from pipesched.files import KernelLock

HOLD = """
import sys, time
from pathlib import Path
from pipesched.files import KernelLock
lock = KernelLock(Path(sys.argv[1]), what="a test")
print(lock.try_acquire(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.lock"


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_lock_held_by_another_process_is_refused_and_its_holder_named(path: Path) -> None:
    process = hold(path)
    try:
        lock = KernelLock(path)
        assert not lock.try_acquire()
        assert lock.is_held()
        assert str(lock.holder()) == f"pid {process.pid} (a test)"
    finally:
        end(process)


def test_the_kernel_releases_the_lock_of_a_killed_holder(path: Path) -> None:
    process = hold(path)
    end(process)
    with KernelLock(path, what="the next") as lock:
        assert lock.try_acquire()
        assert lock.holder().pid == os.getpid()


def test_a_waiting_process_gets_the_lock_when_the_holder_dies(path: Path) -> None:
    process = hold(path)
    killer = threading.Timer(0.1, process.send_signal, [signal.SIGKILL])
    killer.start()
    with KernelLock(path) as lock:
        assert lock.acquire(20)
    process.communicate()


def test_waiting_ends_at_the_deadline_and_at_a_stop(path: Path) -> None:
    with KernelLock(path) as holder:
        assert holder.try_acquire()
        begun = time.monotonic()
        assert not KernelLock(path).acquire(0.05)
        stop = threading.Event()
        stop.set()
        assert not KernelLock(path).acquire(60, stop=stop)
        assert time.monotonic() - begun < 10


def test_a_released_lock_says_nothing_of_its_last_holder(path: Path) -> None:
    with KernelLock(path, what="gone") as lock:
        assert lock.try_acquire()
    assert path.read_bytes() == b""
    assert str(lock.holder()) == "another process"


def test_looking_whether_a_lock_is_held_creates_nothing(path: Path) -> None:
    assert not KernelLock(path).is_held()
    assert not path.exists()
    assert not KernelLock(path / "below a missing folder" / "x.lock").is_held()


def test_who_looks_does_not_keep_others_from_taking_it(path: Path) -> None:
    path.touch()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            KernelLock(path).is_held()

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(200):
            with KernelLock(path) as lock:
                assert lock.acquire(5)
    finally:
        done.set()
        looker.join()


def test_a_removed_lock_file_does_not_let_two_in(path: Path) -> None:
    first = KernelLock(path)
    assert first.try_acquire()
    path.unlink()  # what an over-eager cleaner does; `first` guards nothing any more
    with KernelLock(path) as second, KernelLock(path) as third:
        assert second.try_acquire()
        assert not third.try_acquire()
    first.release()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"pid": null}', b'{"pid": {}}', b"{" * 100_000])
def test_a_strange_lock_file_is_a_holder_unknown(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert KernelLock(path).holder().pid is None


def test_the_lock_file_holds_pid_and_purpose_as_json(path: Path) -> None:
    with KernelLock(path, what="run of nightly") as lock:
        assert lock.try_acquire()
        assert json.loads(path.read_bytes()) == {"pid": os.getpid(), "what": "run of nightly"}


def test_a_lock_in_a_missing_folder_is_an_error_of_ours(path: Path) -> None:
    with pytest.raises(InputOutputError, match="cannot lock"):
        KernelLock(path.parent / "missing" / "x.lock").try_acquire()
