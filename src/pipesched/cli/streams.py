"""stdin, stdout and stderr as the command line needs them: there, never refusing a character, and with failures of their own."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputFailedError(OSError):
    """stdout or stderr could not be written to: told apart from any other OSError, which nobody foresaw."""


class ReaderGoneError(OutputFailedError):
    """Nobody reads what is written (| head)."""


class _Raw(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise ReaderGoneError(error.errno, error.strerror) from error
        except OSError as error:
            raise OutputFailedError(error.errno, error.strerror) from error


def prepare() -> None:
    """Make the three be there, and writing to two of them raise OutputFailedError."""
    _open_missing()
    sys.stdout, sys.stderr = _told_apart(sys.stdout), _told_apart(sys.stderr)


def give_up_stdout() -> None:
    """The flush at exit must not complain once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told_apart(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = _Raw(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",  # LANG=C must not turn a title into a traceback
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_missing() -> None:
    """Started with a closed stdin, stdout or stderr, the next file opened would take its number, and get its output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
            os.set_inheritable(number, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  lives as long as the process
