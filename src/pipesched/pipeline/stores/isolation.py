"""Reading a store in a fork of this process, so that what kills Chroma becomes an error and not a silent end."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from pipesched.errors import PipeschedError, RunFailed
from pipesched.pipeline.stores.examination import died_of
from pipesched.pipeline.stores.vendor_errors import damaged

T = TypeVar("T")

log = logging.getLogger(__name__)


def isolated(function: Callable[[], T], *, storage_path: str) -> T:
    """What `function` returns or raises; what it returns must be picklable.

    It costs a fork of a process that has loaded nothing yet, about a millisecond. Where Chroma is loaded or other threads run,
    as in a program that uses this as a library, a fork is not safe, and the function is called here. Raises DataError
    (store_damaged) when the fork died of what it read. Unless at DEBUG, what the fork says on stderr comes when it has ended,
    and not at all where the store is damaged: a panic in Chroma's Rust part prints itself, beside the error that it becomes.
    """
    if "chromadb" in sys.modules or threading.active_count() > 1:
        return function()
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = os.pipe()
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        os.close(heard)
        _answer(function, theirs, told)
    os.close(theirs)
    os.close(told)
    try:
        # In this order: the fork lets go of its stderr before it answers.
        with os.fdopen(ours, "rb") as pipe, os.fdopen(heard, "rb") as stderr:
            said = stderr.read()
            answer = pipe.read()
    except BaseException:  # an interrupt: nobody waits for the answer any more
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    value: Any
    if code < 0:
        good, value = False, _died(-code, storage_path)
    else:
        good, value = pickle.loads(answer)  # noqa: S301  our own fork wrote it
    if not (isinstance(value, PipeschedError) and value.code == "store_damaged"):
        sys.stderr.write(said.decode(errors="replace"))
    if good:
        result: T = value
        return result
    raise value


def _answer(function: Callable[[], Any], pipe: int, told: int) -> None:
    """In the fork: never returns."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not log.isEnabledFor(logging.DEBUG):
        os.dup2(told, 2)
    os.close(told)
    try:
        answer = pickle.dumps((True, function()))
    except BaseException as error:  # noqa: BLE001  a fork must not go on as if it were the process
        answer = pickle.dumps((False, _portable(error)))
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(pipe, "wb") as stream:
            stream.write(answer)
    finally:
        os._exit(0)


def _portable(error: BaseException) -> BaseException:
    """`error`, or the nearest of its classes that can be sent; a bug with the place where it happened."""
    if not isinstance(error, PipeschedError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  just written
    except Exception:  # noqa: BLE001  whatever its constructor wants
        if not isinstance(error, PipeschedError):
            return RuntimeError("".join(traceback.format_exception(error)))
        base = next(kind for kind in type(error).__mro__ if kind.__module__ == PipeschedError.__module__)
        return base(error.message, hint=error.hint, code=error.code)  # type: ignore[no-any-return]
    return error


def _died(number: int, storage_path: str) -> PipeschedError:
    why = died_of(number)
    if why:
        return damaged(storage_path, f"Chroma {why} when it read it")
    name = signal.Signals(number).name
    return RunFailed(
        f"the process that read {storage_path} was ended by {name}", hint="is there memory enough?"
    )
