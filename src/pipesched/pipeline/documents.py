"""Files below the data folder: found by a scan that opens none, and read one at a time.

When the same file gives another text or other metadata, PARSER_VERSION of index_settings.py is raised.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Final

from pipesched.errors import DataDirMissing
from pipesched.pipeline.model import Document, Failure, Found, Scan, Skipped, Stamp
from pipesched.pipeline.patterns import compile_pattern

MAX_BYTES: Final = 16 * 1024 * 1024
"""A larger file is no blog post (the Bible has 4 MB); it is named as failed instead of filling the memory."""

_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_LEADING_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """What, besides a file's bytes, decides its metadata and whether it is indexed."""

    blog_base_url: str = ""
    base_url: str = ""
    index_drafts: bool = False


def scan(data_dir: str, pattern: str) -> Scan:
    """Every file below `data_dir` that matches `pattern`, by name and stat(2) alone.

    Hidden files and folders are not matched, as in a shell. A linked file inside the folder is a document; links that
    lead out, linked folders (which can loop), pipes and devices are skipped by name. An unreadable folder is a Failure
    whose source ends in "/". Raises DataDirMissing.
    """
    try:
        root = os.path.realpath(data_dir, strict=True)
        if not Path(root).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")
        with os.scandir(root):  # says now whether it can be read
            pass
    except OSError as error:
        reason = {errno.ENOENT: "does not exist", errno.ENOTDIR: "is not a folder"}.get(
            error.errno or 0, error.strerror or "cannot be read"
        )
        raise DataDirMissing(
            f"the data folder {data_dir} {reason}", hint="name the folder of your posts with --data-dir"
        ) from error
    walk = _Walk(root, compile_pattern(pattern))
    clock = _kernel_clock_ns()
    walk.folders()
    return Scan(
        files=tuple(sorted(walk.files.values(), key=itemgetter(0))),  # by source
        skipped=tuple(sorted(walk.skipped, key=lambda skipped: skipped.source)),
        failures=tuple(sorted(walk.failures, key=lambda failure: failure.source)),
        clock_ns=clock,
    )


def _kernel_clock_ns() -> int:
    """The clock by which the kernel stamps files: the coarse one, up to 10 ms behind the fine one."""
    coarse = getattr(time, "CLOCK_REALTIME_COARSE", None)
    return time.clock_gettime_ns(coarse) if coarse is not None else time.time_ns()


class _Walk:
    def __init__(self, root: str, matches: re.Pattern[str]) -> None:
        self.root = root
        self.matches = matches
        self.files: dict[str, Found] = {}
        self.skipped: list[Skipped] = []
        self.failures: list[Failure] = []

    def folders(self) -> None:
        # An explicit stack: a folder may be nested deeper than Python may recurse.
        pending = [(self.root, "")]
        while pending:
            path, prefix = pending.pop()
            try:
                with os.scandir(path) as entries:
                    pending.extend(self._entries(entries, prefix))
            except OSError as error:
                self.failures.append(
                    Failure(prefix or "/", "unreadable", f"the folder cannot be read: {_reason(error)}")
                )

    def _entries(self, entries: Iterator[os.DirEntry[str]], prefix: str) -> list[tuple[str, str]]:
        """Take the files of one folder; returns its folders. Nearly all of a run without changes is spent here."""
        folders = []
        files, matches = self.files, self.matches.fullmatch
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            source = prefix + (name if name.isascii() else readable(name))
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, source + "/"))
                elif matches(source):
                    if entry.is_symlink():
                        self._link(entry, source)
                        continue
                    info = entry.stat()
                    if stat.S_ISREG(info.st_mode) and source not in files:
                        files[source] = Found(source, entry.path, _stamp(info))
                    else:
                        self._odd(source, info)
                elif entry.is_symlink() and entry.is_dir():
                    self.skipped.append(Skipped(source + "/", "a link to a folder, which is not followed"))
            except OSError as error:
                self.failures.append(Failure(source, "unreadable", _reason(error)))
        return folders

    def _link(self, entry: os.DirEntry[str], source: str) -> None:
        try:
            path = os.path.realpath(entry.path, strict=True)
        except OSError as error:
            self.skipped.append(Skipped(source, f"a link that leads nowhere: {_reason(error)}"))
            return
        info = entry.stat()
        if os.path.commonpath([self.root, path]) != self.root:
            self.skipped.append(Skipped(source, "a link that leads out of the data folder"))
        elif stat.S_ISREG(info.st_mode) and source not in self.files:
            self.files[source] = Found(source, path, _stamp(info))
        else:
            self._odd(source, info)

    def _odd(self, source: str, info: os.stat_result) -> None:
        if stat.S_ISREG(info.st_mode):
            self.failures.append(Failure(source, "name", "two files have this name once it is made readable"))
        else:
            self.skipped.append(Skipped(source, f"not a file but {_kind(info.st_mode)}"))


def readable(name: str) -> str:
    r"""A file name as valid UTF-8: a byte that is none becomes `\xff`."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def _stamp(info: os.stat_result) -> Stamp:
    return Stamp(info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_dev)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def read(found: Found, settings: DocumentSettings) -> Document | Skipped | Failure:
    """Read and parse one file; what is wrong with it is a value with its reason, never an exception."""
    try:
        data = _bytes(found.path)
    except OSError as error:
        return Failure(found.source, "unreadable", f"cannot be read: {_reason(error)}")
    if data is None:
        return Failure(found.source, "too_large", f"larger than {MAX_BYTES // 1024 // 1024} MB")
    not_text = Skipped(found.source, "not text: it contains NUL bytes", suspicious=True)
    if b"\0" in data and not data.startswith(_UTF_16):
        return not_text
    try:
        text = decode(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        name = "UTF-16" if error.encoding.startswith("utf-16") else "UTF-8"
        return Failure(
            found.source,
            "encoding",
            f"not {name}: byte 0x{data[error.start]:02x} at {error.start} (line {line})",
        )
    if "\0" in text:
        return not_text
    # YAML takes 10 ms to import, and a run without changes reads nothing.
    from pipesched.pipeline import frontmatter, metadata, urls

    try:
        parsed = frontmatter.parse(text)
    except frontmatter.FrontMatterError as error:
        return Failure(found.source, "front_matter", str(error))
    if not metadata.is_published(parsed.values):
        return Skipped(found.source, "not published (published: false)")
    if metadata.is_draft(parsed.values) and not settings.index_drafts:
        return Skipped(found.source, "a draft (draft: true)")
    body = _LEADING_BLANK_LINES.sub("", parsed.body).rstrip()
    return Document(
        source=found.source,
        text=body,
        metadata=metadata.document_metadata(
            found.source,
            body,
            parsed.values,
            url=urls.post_url(_raw_source(found), settings.blog_base_url),
            mtime_ns=found.stamp.mtime_ns,
            base_url=settings.base_url,
        ),
        raw_hash=hashlib.sha256(data).hexdigest(),
    )


def _raw_source(found: Found) -> str:
    """`found.source` with the file name's own bytes, of which `readable` made text; of a link its readable name."""
    parts = found.source.count("/") + 1
    raw = "/".join(Path(found.path).parts[-parts:])
    return raw if readable(raw) == found.source else found.source


def raw_hash(found: Found) -> str | None:
    """The sha256 of the file's bytes now; None when it cannot be read (which `read` then names)."""
    try:
        data = _bytes(found.path)
    except OSError:
        return None
    return None if data is None else hashlib.sha256(data).hexdigest()


def _bytes(path: str) -> bytes | None:
    """The file's bytes, at most MAX_BYTES; None beyond.

    A pipe that took the file's place since the scan is not waited for, a link that did is not followed.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, f"not a file any more but {_kind(info.st_mode)}")
        if info.st_size > MAX_BYTES:
            return None
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(fd)
    return data if len(data) <= MAX_BYTES else None


def decode(data: bytes) -> str:
    r"""Text with line ends \n: UTF-8 with or without a BOM, UTF-16 with one. Raises UnicodeDecodeError."""
    encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8-sig"
    return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
