"""One run: the store's lock, and what to do when something under it is damaged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pipesched.errors import Busy, CannotCreate, DataError, NotPermitted, ServiceUnavailable
from pipesched.files import os_error, private_dir
from pipesched.options import PipelineOptions, check_text
from pipesched.pipeline import documents
from pipesched.pipeline.backends import Backends, NoProgress, Progress
from pipesched.pipeline.canary import ModelChanged
from pipesched.pipeline.database import Damaged, set_aside
from pipesched.pipeline.looking import Check
from pipesched.pipeline.session import Session, Stopped
from pipesched.pipeline.steps import Run
from pipesched.pipeline.stores import StoreLock, lock_path
from pipesched.report import Outcome

_ATTEMPTS = 6
"""A damaged manifest, cache or store is set aside, a changed model noted, and the run begins again; each can happen once."""

_POLL_SECONDS = 0.05


def run(
    options: PipelineOptions,
    *,
    index_dir: Path,
    now: Callable[[], datetime],
    run_id: str = "",
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    wait_seconds: float = 0.0,
    rebuild: bool = False,
    check: Check = "probe",
    suspect: bool = False,
    backends: Backends | None = None,
) -> Outcome:
    """Bring the collection in step with the folder, and say what was done.

    A store that is damaged is made anew from the embedding cache, if that needs no embedding or `rebuild` is asked for.
    `suspect`: something died of it, so that it is examined before it is opened.

    A document that fails keeps its old version and is named (exit code 3). Raises InvalidValue, DataDirMissing, SettingsConflict,
    CollectionNotOurs, Busy, ServiceUnavailable, InputOutputError, DataError: what was committed before stays, and the next
    run goes on from there.
    """
    backends = backends or Backends()
    progress = progress or NoProgress()
    check_text(options)
    if options.dry_run:
        from pipesched.pipeline.dry_run import dry_run

        return dry_run(options, index_dir=index_dir, now=now, rebuild=rebuild, backends=backends)
    if not Path(options.data_dir).is_dir():
        documents.scan(options.data_dir, options.data_dir_pattern)  # says what is wrong with it
    private_dir(index_dir)
    stop = stop or threading.Event()
    try:
        with _locked(options, index_dir, run_id, wait_seconds, stop):
            return _attempts(
                options,
                index_dir,
                now=now,
                progress=progress,
                stop=stop,
                rebuild=rebuild,
                check=check,
                suspect=suspect,
                backends=backends,
            )
    except Stopped:
        message = "stopped as asked while it waited for the store"
        return Outcome("interrupted", message, "incremental", "stopped before it decided")


def _attempts(
    options: PipelineOptions,
    index_dir: Path,
    *,
    now: Callable[[], datetime],
    progress: Progress,
    stop: threading.Event,
    rebuild: bool,
    check: Check,
    suspect: bool,
    backends: Backends,
) -> Outcome:
    """A run, and another one when something had to be set aside first."""
    notes: list[str] = []
    reasons: list[str] = []
    unreadable: Mapping[str, str] = {}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with Session.open(
                options,
                index_dir,
                backends=backends,
                progress=progress,
                stop=stop,
                started=now(),
                suspect=suspect,
                damaged=unreadable,
            ) as session:
                session.notes += notes
                session.reasons += reasons
                return Run(session, rebuild=rebuild, check=check).outcome()
        except ModelChanged as changed:
            if attempt == _ATTEMPTS:
                raise ServiceUnavailable(
                    changed.reason, hint="it changes all the time: check the server"
                ) from changed
            reasons = [changed.reason]
        except Damaged as damaged:
            if attempt == _ATTEMPTS:
                raise
            notes.append(f"{damaged.path.name} was damaged, kept as {set_aside(damaged.path).name}")
        except DataError as error:
            if error.code != "store_damaged" or attempt == _ATTEMPTS or options.store_is_server:
                raise
            from pipesched.pipeline.mending import mend

            suspect = False
            mended = mend(
                error,
                options,
                index_dir,
                asked=rebuild or options.force_recreate,
                known=unreadable,
                stop=stop,
                backends=backends,
            )
            unreadable = mended.unreadable
            notes.append(mended.note)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _locked(
    options: PipelineOptions, index_dir: Path, run_id: str, wait_seconds: float, stop: threading.Event
) -> Iterator[None]:
    """Hold the store's lock; waits for it at most `wait_seconds`. Raises Busy, or Stopped when asked to stop."""
    path = lock_path(options.storage_path, index_dir)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        translated = os_error("create", path.parent, error)
        if isinstance(translated, NotPermitted):
            raise translated from error
        raise CannotCreate(translated.message, hint="choose another place with --storage-path") from error
    with StoreLock(options.storage_path, index_dir, what=f"run {run_id}".strip()) as lock:
        deadline = time.monotonic() + wait_seconds
        while not lock.try_acquire():
            if time.monotonic() >= deadline:
                raise Busy(
                    f"{lock.holder()} is writing to {options.storage_path}",
                    hint="wait for it with --wait 10m, or try again later",
                )
            if stop.wait(_POLL_SECONDS):
                raise Stopped
        yield
