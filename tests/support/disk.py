"""Disks that fail, for real: a full file system, and system calls that the kernel refuses."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.machine import program


def on_a_full_disk(folder: Path, code: str, *, size: str = "64k") -> subprocess.CompletedProcess[str]:
    """Run `code` in a Python whose `folder` is a file system of `size`, in a mount namespace of its own."""
    script = 'mount -t tmpfs -o size="$1" none "$2" && cd "$2" && shift 2 && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", size, str(folder)]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel lets nobody mount a file system in a namespace")
    return _python(command, code)


def with_failing_calls(code: str, *injections: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a Python for which strace makes system calls fail or kill: "fsync:error=EIO:when=1"."""
    strace = program("strace", "strace")
    options = [part for injection in injections for part in ("-e", f"inject={injection}")]
    names = ",".join(injection.split(":")[0] for injection in injections)
    return _python([strace, "-qq", "-o", "/dev/null", "-e", f"trace={names}", *options], code)


def _python(wrapper: Sequence[str], code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*wrapper, sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of `size` (as mount has it) at `folder`, which is made; skips the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this machine does not let root mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all that is left of the disk; returns the file that holds it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler
