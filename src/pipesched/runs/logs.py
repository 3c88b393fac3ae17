"""A run's captured output: a file of bounded size that keeps the beginning and the end, read or followed."""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from pipesched import files
from pipesched.errors import NotFound
from pipesched.runs.ids import check_run_id

CAP_BYTES: Final = 10 * 1024 * 1024
LINE_LENGTH: Final = 64 * 1024
"""A longer line is given in pieces."""

_PIECE = 64 * 1024
_MARKER_LENGTH = 80
_MARKER = re.compile(rb"\n\[pipesched: ([0-9]{20}) bytes of output left out here *\]\n")

log = logging.getLogger(__name__)


def log_path(logs_dir: Path, run_id: str) -> Path:
    """Where the output of `run_id` is. Raises InvalidValue for what is no run id, and so could name another file."""
    return logs_dir / f"{check_run_id(run_id)}.log"


class LogFile:
    """Takes what a process writes, however much and however fast: at most `cap_bytes` on disk, and 64 kB in memory.

    A full file is replaced by one with its first eighth, a line that says how much was left out, and its last quarter. What cannot
    be written (a full disk) is dropped and warned of once: whoever reads the pipe has to go on reading. An existing file is
    continued. Raises NotPermitted, CannotCreate, InputOutputError when it cannot be made.
    """

    def __init__(self, path: Path, cap_bytes: int = CAP_BYTES) -> None:
        self.path = path
        self.cap_bytes = cap_bytes
        self.written = 0
        self.failed = False
        self._shape = _Shape(cap_bytes)
        files.private_dir(path.parent)
        try:
            self._file = _create(path, os.O_APPEND)
            self._size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise files.os_error("create", path, error) from error
        self._left_out = self._shape.left_out(path)

    def write(self, chunk: bytes) -> None:
        """Never raises for what the disk does."""
        self.written += len(chunk)
        if self.failed:
            return
        view = memoryview(chunk)
        try:
            while view:
                if self._size >= self.cap_bytes:
                    self._shorten()
                done = self._file.write(view[: self.cap_bytes - self._size])
                self._size += done
                view = view[done:]
        except OSError as error:
            self.failed = True
            log.warning("the output of a run is no longer kept in %s: %s", self.path, error.strerror)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shorten(self) -> None:
        """A new file in the old one's place: who follows reads the old one to its end, and goes on in the new one."""
        shape = self._shape
        left_out = self._left_out + shape.dropped(again=self._left_out > 0)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        temporary.unlink(missing_ok=True)
        new = _create(temporary, os.O_APPEND | os.O_EXCL)
        try:
            with open(self.path, "rb", buffering=0) as old:  # noqa: PTH123  unbuffered
                _copy(old, new, 0, shape.head)
                new.write(_marker(left_out))
                _copy(old, new, self.cap_bytes - shape.tail, shape.tail)
            temporary.replace(self.path)
        except OSError:
            new.close()
            temporary.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file, self._size, self._left_out = new, shape.resume, left_out


class _Shape:
    """How a file of `cap` bytes is shortened."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.head = cap // 8
        self.tail = cap // 4
        self.resume = self.head + _MARKER_LENGTH + self.tail
        """The size of a shortened file: from here on is what came after the old one's end."""

    def dropped(self, *, again: bool) -> int:
        """Bytes of output that one more shortening leaves out."""
        return self.cap - self.head - self.tail - (_MARKER_LENGTH if again else 0)

    def left_out(self, path: Path) -> int:
        """As the marker says; 0 without one."""
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(self.head)
            match = _MARKER.fullmatch(file.read(_MARKER_LENGTH))
            return int(match[1]) if match else 0
        return 0


def read(path: Path) -> Iterator[bytes]:
    """The output as far as it has come, in pieces. Raises NotFound, NotPermitted, InputOutputError."""
    with _open(path) as file:
        while piece := file.read(_PIECE):
            yield piece


def follow(path: Path, *, over: Callable[[], bool], pause: Callable[[], None]) -> Iterator[bytes]:
    """The output from its beginning, as it comes, until `over()`: asked before each look, so that nothing is left unread.

    `pause` waits between looks. The file may come into being meanwhile. Raises as `read` does.
    """
    file: BinaryIO | None = None
    try:
        while True:
            ended = over()
            if file is None:
                with contextlib.suppress(NotFound):
                    file = _open(path)
            while file is not None:
                while piece := file.read(_PIECE):
                    yield piece
                successor = _successor(path, file)
                if successor is None:
                    break
                while piece := file.read(_PIECE):  # what came before it was replaced
                    yield piece
                note = _take_up(file, successor)
                file.close()
                file = successor
                if note:
                    yield note
            if ended:
                return
            pause()
    finally:
        if file is not None:
            file.close()


def lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Text by lines, without their ends; bytes that are no UTF-8 are shown as escapes, and a line without end comes in pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + decoder.decode(piece)).split("\n")
        for line in whole:
            yield from _cut(line)
        while len(rest) > LINE_LENGTH:
            yield rest[:LINE_LENGTH]
            rest = rest[LINE_LENGTH:]
    rest += decoder.decode(b"", final=True)
    if rest:
        yield from _cut(rest)


def _cut(line: str) -> Iterator[str]:
    line = line.removesuffix("\r")
    yield line[:LINE_LENGTH]
    for start in range(LINE_LENGTH, len(line), LINE_LENGTH):
        yield line[start : start + LINE_LENGTH]


def _successor(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The file that has taken `file`'s place."""
    try:
        new = _open(path)
    except NotFound:
        return None
    if os.path.sameopenfile(new.fileno(), file.fileno()):
        new.close()
        return None
    return new


def _take_up(old: BinaryIO, new: BinaryIO) -> bytes:
    """Set `new` to where `old` ended; returns a remark when what lay between was left out meanwhile."""
    shape = _Shape(os.fstat(old.fileno()).st_size)

    def marked(file: BinaryIO) -> int:
        match = _MARKER.fullmatch(os.pread(file.fileno(), _MARKER_LENGTH, shape.head))
        return int(match[1]) if match else 0

    before, after = marked(old), marked(new)
    if after - before == shape.dropped(again=before > 0):
        new.seek(shape.resume)
        return b""
    new.seek(shape.head + _MARKER_LENGTH)
    return b"\n[pipesched: some output came too fast to be shown here]\n"


def _marker(left_out: int) -> bytes:
    words = f"\n[pipesched: {left_out:020} bytes of output left out here"
    return words.ljust(_MARKER_LENGTH - 2).encode() + b"]\n"


def _create(path: Path, flags: int) -> BinaryIO:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, files.PRIVATE_FILE)
    return open(fd, "wb", buffering=0)  # noqa: PTH123  a descriptor, closed by LogFile


def _copy(source: BinaryIO, target: BinaryIO, start: int, length: int) -> None:
    source.seek(start)
    while length and (piece := source.read(min(length, _PIECE))):
        view = memoryview(piece)
        while view:
            view = view[target.write(view) :]
        length -= len(piece)


def _open(path: Path) -> BinaryIO:
    try:
        return files.open_plain(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no log {path.name}", code="log_not_found") from error
    except OSError as error:
        raise files.os_error("read", path, error) from error
