"""`history --plot`: runs drawn on the terminal, or as plain text in a pipe."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipesched.cli.app import App
    from pipesched.runs.model import Run
    from pipesched.views.plot import Pen


def draw(app: App, runs: Sequence[Run], zone: tzinfo, *, one_job: bool) -> None:
    """As wide as the terminal (COLUMNS, 80 in a pipe), in characters that it can show."""
    from pipesched.cli.printable import printable
    from pipesched.views.plot import bars, rows

    lines = (bars if one_job else rows)(
        runs, zone=zone, now=app.now(), width=shutil.get_terminal_size().columns, pen=_pen(os.environ)
    )
    if not app.out.terminal:
        for line in lines:
            app.out.line("".join(text for text, _ in line).rstrip())
        return
    from rich.text import Text

    for line in lines:
        text = Text.assemble(*((printable(piece), style) for piece, style in line))
        app.out.console.print(text, no_wrap=True, overflow="crop", crop=True)


def _pen(environ: Mapping[str, str]) -> Pen:
    """ASCII where stdout cannot encode more, or the locale is C.

    Python makes LC_CTYPE=C.UTF-8 of a C locale (PEP 538), so that its encoding alone does not tell.
    """
    from pipesched.views.plot import ASCII, UNICODE

    said = environ.get("LC_ALL") or environ.get("LANG") or ""
    try:
        (UNICODE.parts + UNICODE.heights + UNICODE.cut).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return ASCII if said in {"C", "POSIX"} else UNICODE
