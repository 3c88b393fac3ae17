"""`history --plot`: runs drawn on the terminal, or as plain text in a pipe."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipesched.cli.app import App
    from pipesched.runs.model import Run


def draw(app: App, runs: Sequence[Run], zone: tzinfo, *, one_job: bool) -> None:
    """As wide as the terminal (COLUMNS, 80 in a pipe), in characters that it can show."""
    from pipesched.cli.printable import printable
    from pipesched.views.plot import ASCII, UNICODE, bars, rows

    pen = UNICODE if app.out.shows(UNICODE.parts + UNICODE.heights + UNICODE.cut) else ASCII
    lines = (bars if one_job else rows)(
        runs, zone=zone, now=app.now(), width=shutil.get_terminal_size().columns, pen=pen
    )
    if not app.out.terminal:
        for line in lines:
            app.out.line("".join(text for text, _ in line).rstrip())
        return
    from rich.text import Text

    for line in lines:
        text = Text.assemble(*((printable(piece), style) for piece, style in line))
        app.out.console.print(text, no_wrap=True, overflow="crop", crop=True)
