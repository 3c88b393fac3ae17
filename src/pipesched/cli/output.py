"""Printing: JSON for programs, rich tables on a terminal, plain aligned text in a pipe; data on stdout, the rest on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipesched.cli.printable import json_line, printable
from pipesched.settings import SCHEMA_VERSION

if TYPE_CHECKING:
    from rich.console import Console


class Checked(Protocol):
    """One check of `health` or `doctor`."""

    @property
    def status(self) -> str: ...

    @property
    def message(self) -> str: ...

    @property
    def hint(self) -> str: ...


@dataclass
class Output:
    """Where a command's words go. `json`: --json was given, so that only `document` prints on stdout.

    `documents`: how many were printed. `logged`: remarks are log lines too, since a program reads stderr (see cli.logs).
    """

    json: bool = False
    color: bool = True
    documents: int = 0
    logged: bool = False

    @property
    def terminal(self) -> bool:
        """Whether stdout is a terminal that may get tables and colour."""
        return not self.json and sys.stdout.isatty()

    @staticmethod
    def shows(text: str) -> bool:
        """Whether stdout can encode `text` and the locale is not C, of which Python makes C.UTF-8 (PEP 538)."""
        try:
            text.encode(sys.stdout.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return False
        return (os.environ.get("LC_ALL") or os.environ.get("LANG")) not in {"C", "POSIX"}

    def document(self, data: Mapping[str, Any]) -> None:
        """One JSON document on one line, `schema_version` first."""
        text = json_line({"schema_version": SCHEMA_VERSION, **data}, sys.stdout)
        self.documents += 1
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def line(self, text: str = "") -> None:
        """A line of data for people; nothing under --json."""
        if not self.json:
            sys.stdout.write(printable(text) + "\n")

    def raw(self, text: str) -> None:
        """Text as it is, such as a run's captured output."""
        sys.stdout.write(text)

    def note(self, text: str) -> None:
        """A remark on stderr, in every mode, on one line: what is in it begins none of its own."""
        if self.logged:
            from pipesched.cli.logs import tell

            tell(text)
            return
        with contextlib.suppress(OSError):  # the exit code says it all the same
            sys.stderr.write(printable(text).replace("\n", "\\n") + "\n")

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", empty: str = ""
    ) -> None:
        """A rich table on a terminal; columns parted by two spaces in a pipe. Nothing under --json."""
        if self.json:
            return
        cells = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
        if not cells:
            if empty:
                self.note(empty)
            return
        if not self.terminal:
            self._plain_table(columns, cells)
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        self.console.print(table)

    def checks(self, what: str, status: str, checks: Mapping[str, Checked]) -> None:
        """The checks of `what` for people, each with its hint, and the verdict; nothing under --json."""
        for name, check in checks.items():
            self.line(f"{check.status}  {name}: {check.message}")
            if check.hint:
                self.line(f"      hint: {check.hint}")
        self.line(f"{what}: {status}")

    @staticmethod
    def _plain_table(columns: Sequence[str], rows: list[list[str]]) -> None:
        widths = [max(len(column), *(len(row[i]) for row in rows)) for i, column in enumerate(columns)]
        for row in [list(columns), *rows]:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            sys.stdout.write(line.rstrip() + "\n")

    @property
    def console(self) -> Console:
        """The rich console on stdout, for what `table` does not cover; only on a terminal."""
        return self._console(stderr=False)

    @property
    def error_console(self) -> Console:
        return self._console(stderr=True)

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console

        # Rich's own no_color still prints bold and italics.
        return Console(stderr=stderr, color_system="auto" if self.color else None, highlight=False)
