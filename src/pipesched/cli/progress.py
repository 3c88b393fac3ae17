"""How a run's progress is shown: a bar on a terminal, log lines in CI mode, nothing in a pipe."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from pipesched.cli.app import App
    from pipesched.options import PipelineOptions

log = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 10.0


class Silent:
    """No terminal: the summary at the end is enough."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def phase(self, name: str) -> None: ...

    def total(self, documents: int) -> None: ...

    def advance(self, documents: int, chunks: int) -> None: ...


class Logged(Silent):
    """CI: one line a phase, and one every ten seconds while it goes on."""

    def __init__(self) -> None:
        self._total = self._documents = self._chunks = 0
        self._last = time.monotonic()

    def phase(self, name: str) -> None:
        log.info("%s", name)

    def total(self, documents: int) -> None:
        self._total = documents

    def advance(self, documents: int, chunks: int) -> None:
        self._documents += documents
        self._chunks += chunks
        if time.monotonic() - self._last >= LOG_EVERY_SECONDS:
            self._last = time.monotonic()
            log.info("%d of %d documents, %d chunks", self._documents, self._total, self._chunks)


class Bar(Silent):
    """A terminal: documents, chunks, chunks a second, time left; gone when the run ends."""

    def __init__(self, app: App) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress: RichProgress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("documents, {task.fields[chunks]} chunks, {task.fields[rate]:.1f}/s"),
            TimeRemainingColumn(),
            console=app.out.error_console,
            transient=True,
        )
        self._task: TaskID = self._progress.add_task("starting", total=None, chunks=0, rate=0.0)
        self._chunks = 0
        self._since: float | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def phase(self, name: str) -> None:
        self._progress.update(self._task, description=name)

    def total(self, documents: int) -> None:
        self._progress.update(self._task, total=documents)

    def advance(self, documents: int, chunks: int) -> None:
        if self._since is None:
            self._since = time.monotonic()
        self._chunks += chunks
        rate = self._chunks / max(time.monotonic() - self._since, 0.001)
        self._progress.update(self._task, advance=documents, chunks=self._chunks, rate=rate)


def progress_for(app: App, options: PipelineOptions) -> Silent:
    if options.ci_mode:
        return Logged()
    if sys.stderr.isatty() and not options.dry_run:
        return Bar(app)
    return Silent()
