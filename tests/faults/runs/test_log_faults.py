"""Captured output under a gigabyte without a newline, a full disk, and a kill while the file is shortened."""

import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipesched.runs.logs import CAP_BYTES, LogFile, read
from support.disk import on_a_full_disk, with_failing_calls


@pytest.mark.slow
def test_a_gigabyte_without_a_newline_ends_and_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    writer = "import os\nfor _ in range(16384): os.write(1, b'x' * 65536)\nos.write(1, b'the end')"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        subprocess.Popen([sys.executable, "-c", writer], stdout=subprocess.PIPE) as child,
        LogFile(path) as file,
    ):
        assert child.stdout is not None
        while chunk := child.stdout.read1(65536):  # type: ignore[attr-defined]
            file.write(chunk)
        assert child.wait(10) == 0
    assert file.written == 2**30 + 7
    assert path.stat().st_size <= CAP_BYTES
    assert b"".join(read(path)).endswith(b"the end")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


FILL = """
import logging, os
from pathlib import Path
from pipesched.runs.logs import LogFile, read
logging.basicConfig(format="%(message)s")
with LogFile(Path("logs/a.log")) as file:
    for _ in range(100):
        file.write(b"line\\n" * 10_000)
    print(file.failed, file.written)
print(len(b"".join(read(Path("logs/a.log")))) > 50_000)
"""


def test_a_full_disk_stops_the_file_but_not_the_reading(tmp_path: Path) -> None:
    done = on_a_full_disk(tmp_path, FILL, size="200k")
    assert done.stdout.splitlines() == ["True 5000000", "True"], done.stderr
    assert done.stderr.count("no longer kept") == 1


@pytest.mark.parametrize(
    "step", ["rename:signal=KILL:when=1", "rename:signal=KILL:when=2", "unlink:signal=KILL:when=1"]
)
def test_a_kill_while_the_file_is_shortened_leaves_one_that_can_be_read(tmp_path: Path, step: str) -> None:
    path = tmp_path / "logs" / "a.log"
    code = f"""
from pathlib import Path
from pipesched.runs.logs import LogFile
with LogFile(Path({str(path)!r}), 4096) as file:
    for number in range(5000):
        file.write(b"%07d\\n" % number)
"""
    done = with_failing_calls(code, step)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = b"".join(read(path))
    assert kept.startswith(b"0000000\n0000001\n")
    assert len(kept) <= 4096
    with LogFile(path, 4096) as file:
        for number in range(5000, 10_000):
            file.write(b"%07d\n" % number)
    assert b"".join(read(path)).endswith(b"0009999\n")
    assert [each.name for each in path.parent.iterdir()] == ["a.log"]


def test_a_reader_meets_a_whole_file_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    over = threading.Event()

    def write() -> None:
        with LogFile(path, 4096) as file:
            for number in range(30_000):
                file.write(b"%07d\n" % number)
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = 0
    while not over.is_set():
        if path.exists():
            assert b"".join(read(path))[:8] in {b"", b"0000000\n"}
            seen += 1
    thread.join()
    assert seen > 5
