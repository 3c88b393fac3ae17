"""What happens to somebody who is not root, tried in a child process: to root no file is unreadable."""

import contextlib
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

NOBODY = 65534

T = TypeVar("T")


def unprivileged(action: Callable[[], T]) -> T:
    """`action()` as the user nobody. What it needs must be imported already: the interpreter may be out of reach."""
    if os.geteuid() != 0:
        return action()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _child(action, reading, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert answer, "the child ended without an answer"
    result, trace = pickle.loads(answer)
    assert not trace, trace
    return result


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that everybody can reach; pytest keeps its own to the owner."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _child(action: Callable[[], object], reading: int, writing: int) -> None:
    try:
        os.close(reading)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        answer: tuple[object, str] = (action(), "")
    except BaseException:  # noqa: BLE001  the parent raises it
        answer = (None, traceback.format_exc())
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
    finally:
        os._exit(0)
