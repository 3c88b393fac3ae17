"""A store looked at in a child process, because Chroma can die of a torn index without a word.

`python -m pipesched.pipeline.stores.examination STORAGE_PATH COLLECTION...` is that child; what it says is only for `examine`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipesched.errors import DataError, PipeschedError
from pipesched.pipeline.stores.inspection import database_trouble, inspect_folder
from pipesched.pipeline.stores.vendor_errors import damaged

SECONDS: Final = 600.0
"""How long a child may take; at 100,000 rows of 1,024 dimensions it takes some seconds."""

_POLL_SECONDS: Final = 0.05
_SEARCHES: Final = 20
"""Rows of the first page that are searched for by their own vectors: a search follows the index's links."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What is wrong in a store: `store` of it as a whole, `collections` by name; nothing where it is sound."""

    store: str = ""
    collections: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        return not self.store and not self.collections


class StoreDamaged(DataError):
    """A look in a child process found it."""

    code = "store_damaged"

    def __init__(self, storage_path: str, examined: Examined) -> None:
        why = examined.store or "; ".join(
            f"collection {name}: {why}" for name, why in examined.collections.items()
        )
        told = damaged(storage_path, why)
        super().__init__(told.message, hint=told.hint)
        self.examined = examined


def examine(storage_path: str, collections: Sequence[str], *, stop: threading.Event) -> Examined:
    """Look at the store's files; then open it, and count, read and search each collection that is there, in children that may die.

    Nobody may write meanwhile. A child that is stopped by `stop` has found nothing. Other troubles than damage (no permission,
    a full disk) are left for the caller to meet.
    """
    if trouble := database_trouble(storage_path):
        return Examined(store=f"SQLite says of its database: {trouble}")
    wrong: dict[str, str] = {}
    for name in collections:
        seen = inspect_folder(storage_path, name)
        if seen is not None and seen.trouble:
            wrong[name] = seen.trouble
    left = [name for name in collections if name not in wrong]
    while True:
        said, died = _child(storage_path, left, stop)
        if stop.is_set():
            return Examined()
        steps = [line for line in said if "step" in line]
        for line in said:
            if "damaged" in line and line.get("collection"):
                wrong[line["collection"]] = line["damaged"]
            elif "damaged" in line:
                return Examined(store=line["damaged"])
        if not died:
            return Examined(collections=wrong)
        last = steps[-1] if steps else {"step": "be started"}
        why = f"Chroma {died} when it was to {last['step']}"
        if "collection" not in last:
            # Before it was asked anything: a child that could not even start tells nothing of the store.
            return Examined(store=why) if steps else Examined()
        wrong[last["collection"]] = why
        left = left[left.index(last["collection"]) + 1 :]
        if not left:
            return Examined(collections=wrong)


def _child(
    storage_path: str, collections: Sequence[str], stop: threading.Event
) -> tuple[list[dict[str, str]], str]:
    """What the child said, and how it died ("" if it did not)."""
    # -P: the current folder is the posts', which may hold a json.py. "--": a collection or a path may begin with a dash.
    command = [sys.executable, "-P", "-m", __name__, "--", storage_path, *collections]
    deadline = time.monotonic() + SECONDS
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            while True:
                try:
                    output, _ = child.communicate(timeout=_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if stop.is_set():
                        return [], ""
                    if time.monotonic() > deadline:
                        child.kill()
                        output, _ = child.communicate()
                        return _lines(output), f"did not answer for {SECONDS:.0f} s"
        finally:
            if child.poll() is None:
                child.kill()
    code = child.returncode
    return _lines(output), died_of(-code) if code < 0 else ""


def died_of(number: int) -> str:
    """In words; "" for signals that somebody sent (a kill, a memory limit) and that tell nothing of the store."""
    return f"died of {signal.Signals(number).name}" if number in _FAULTS else ""


_FAULTS: Final = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP}
)


def _lines(output: bytes) -> list[dict[str, str]]:
    found = []
    for line in output.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # cut short when it died, or Chroma's own
        if isinstance(value, dict):
            found.append(value)
    return found


def _say(**line: str) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def _look(storage_path: str, collections: Sequence[str]) -> None:
    """The child: says each step before it is taken."""
    from pipesched.pipeline.stores.chroma import ChromaStore

    _say(step="open the store")
    try:
        store = ChromaStore.open(storage_path, create=False)
    except PipeschedError as error:
        if error.code == "store_damaged":
            _say(damaged=_why(error))
        return
    for name in collections:
        try:
            _say(collection=name, step="count it")
            info = store.find(name)
            if info is None:
                continue
            _say(collection=name, step="read it")
            rows = next(store.pages(name, vectors=True), [])
            _say(collection=name, step="search it")
            for row in rows[:: len(rows) // _SEARCHES + 1]:
                if row.vector is not None:
                    store.query(name, row.vector, limit=3, where={})
        except PipeschedError as error:
            if error.code == "store_damaged":
                _say(collection=name, damaged=_why(error))


def _why(error: PipeschedError) -> str:
    return error.message.partition("is damaged: ")[2] or error.message


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked too, and ends this
    arguments = sys.argv[sys.argv.index("--") + 1 :]
    _look(arguments[0], arguments[1:])
    sys.stdout.flush()
    os._exit(0)  # what Chroma does when it is taken apart is not asked here
