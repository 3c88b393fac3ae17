"""`status --watch`: the same glance, redrawn until q or Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from pipesched.errors import PipeschedError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipesched.cli.app import App
    from pipesched.views.snapshot import Snapshot

REDRAW_SECONDS: Final = 2.0
_QUIT: Final = (b"q", b"Q", b"\x03", b"\x04")


def watch(app: App, take: Callable[[], Snapshot]) -> None:
    """On a terminal a live table; with --json one document a line; in a pipe one glance after another."""
    with contextlib.suppress(KeyboardInterrupt):
        if app.json:
            _documents(app, take)
        elif app.out.terminal and not app.out.console.is_dumb_terminal:
            with _ended_by_signals():
                _live(app, take)
        else:
            _plain(app, take)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM, and the end of the terminal, give the screen, the cursor and the keyboard back before they end it."""

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _documents(app: App, take: Callable[[], Snapshot]) -> None:
    from pipesched.views.status import status_document

    while True:
        app.out.document(status_document(take()))
        time.sleep(REDRAW_SECONDS)


def _plain(app: App, take: Callable[[], Snapshot]) -> None:
    from pipesched.views.glance import COLUMNS, job_rows, lines

    while True:
        snapshot = take()
        for line in lines(snapshot):
            app.out.line(line)
        app.out.table(COLUMNS, job_rows(snapshot, full=True)[0])
        app.out.line()
        sys.stdout.flush()
        time.sleep(REDRAW_SECONDS)


def _live(app: App, take: Callable[[], Snapshot]) -> None:
    from rich.live import Live

    with _keys() as pressed, Live(console=app.out.console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_screen(take, live.console.height), refresh=True)
            if pressed(REDRAW_SECONDS):
                return


def _screen(take: Callable[[], Snapshot], height: int) -> RenderableType:
    """As many jobs as fit, of the last good job file."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from pipesched.cli.printable import printable
    from pipesched.views.glance import COLUMNS, job_rows, lines

    try:
        snapshot = take()
    except PipeschedError as error:
        return Text(printable(f"error: {error.message}\n{error.hint}"), style="red")
    said = [Text(printable(line), no_wrap=True, overflow="ellipsis") for line in lines(snapshot)]
    rows, _ = job_rows(snapshot, full=True)
    room = max(1, height - len(said) - 6)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for row in rows[:room]:
        table.add_row(*(_colored(column, cell) for column, cell in zip(COLUMNS, row, strict=True)))
    left_out = f"; {len(rows) - room} more jobs: pipesched list" if len(rows) > room else ""
    clock = f"{snapshot.now.astimezone():%H:%M:%S}"
    return Group(*said, table, Text(f"{clock}; q ends{left_out}", style="dim"))


def _colored(column: str, cell: str) -> RenderableType:
    from rich.text import Text

    from pipesched.cli.printable import printable

    word = cell.partition(" ")[0]
    styles = {
        "failed": "red", "timeout": "red", "lost": "red", "partial": "yellow", "interrupted": "yellow",
        "succeeded": "green", "running": "blue", "paused": "dim", "done": "dim",
    }  # fmt: skip
    style = styles.get(word, "") if column in {"state", "last run"} else "bold" if column == "job" else ""
    return Text(printable(cell), style=style)


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """A function that waits so many seconds, and says whether to end. Without a keyboard only Ctrl-C ends."""
    if sys.stdin is None or not sys.stdin.isatty():

        def wait(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield wait
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([keyboard], [], [], left)[0]:
                key = os.read(keyboard, 1)
                if not key or key in _QUIT:
                    return True
        return False

    try:
        tty.setcbreak(keyboard)
        yield pressed
    finally:
        with contextlib.suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
