"""Which documents have to change: the folder against the record. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pipesched.pipeline.model import Failure, Found, Scan, Stamp
from pipesched.pipeline.rows import UNKNOWN
from pipesched.report import counted

RACY_NS: Final = 2_000_000_000
"""A file changed less than this before the scan could change again without its times showing it (git's racy entries)."""

MASS_DELETE_DOCUMENTS: Final = 20
MASS_DELETE_SHARE: Final = 0.30
"""More than both at once looks like a folder that was not mounted."""

CONTENT_CHANGED: Final = "its content changed"
"""The reason for which a modified document is also told how many of its chunks are new."""

NO_TEXT: Final = "it has no text, so that there is nothing to find"

FileState = Literal["indexed", "skipped", "pending"]
"""`pending`: a run died while it put this document in, so that the collection may hold some of its rows."""


class RecordedFile(NamedTuple):
    """A document as the manifest has it.

    `stamp` is "" where the file's times could not be trusted; `parse` is the digest of the settings it was read with, ""
    where it has to be read again whatever else is known. `mtime` in whole seconds, which is what its metadata says.
    """

    source: str
    stamp: str
    mtime: int
    raw_hash: str
    parse: str
    state: FileState
    reason: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A file to be read. `change` is what it is if it turns out other than recorded; "check" says nobody knows yet."""

    found: Found
    change: Literal["new", "modified", "renamed", "check"]
    reason: str
    renamed_from: str | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """A recorded document that goes; `withdrawn`: its file is still there, and is left out."""

    source: str
    reason: str
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class DocumentPlan:
    """Every document's fate. `restamp`: nothing changed but the times. `kept`: could not be looked at, and stays."""

    readings: tuple[Reading, ...]
    restamp: tuple[Found, ...]
    unchanged: int
    removals: tuple[Removal, ...]
    withheld: tuple[str, ...]
    withheld_reason: str
    forgotten: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    kept: tuple[Failure, ...]
    failures: tuple[Failure, ...]

    @property
    def nothing_to_do(self) -> bool:
        return not (self.readings or self.restamp or self.removals or self.forgotten)


def stamp_text(stamp: Stamp) -> str:
    return "%d %d %d %d %d" % stamp  # noqa: UP031  a tuple formats itself in half the time of its fields


def trusted_stamp(stamp: Stamp, clock_ns: int) -> str:
    """The stamp to record; "" for one that could stay the same over another edit."""
    if max(stamp.mtime_ns, stamp.ctime_ns) > clock_ns - RACY_NS:
        return ""
    return stamp_text(stamp)


def mtime_seconds(found: Found) -> int:
    return found.stamp.mtime_ns // 1_000_000_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """The folder beside its record, by names and stamps alone.

    `settled`: how many indexed documents are as recorded. `left_out`: sources and reasons of those that are recorded as
    skipped and are as they were. `open`: the files about which more must be known or done. `missing`: sources that are
    recorded and were not met.
    """

    scan: Scan
    recorded: Mapping[str, RecordedFile]
    parse: str
    read_all: bool
    settled: int
    left_out: tuple[tuple[str, str], ...]
    open: tuple[Found, ...]
    missing: frozenset[str]

    @property
    def anything_vanished(self) -> bool:
        return any(self.recorded[source].state == "indexed" for source in self.missing)


def compare(scan: Scan, recorded: Mapping[str, RecordedFile], *, parse: str, read_all: bool) -> Comparison:
    """Set apart what is as recorded, which is nearly everything in nearly every run."""
    settled = 0
    left_out: list[tuple[str, str]] = []
    open_files: list[Found] = []
    for found in scan.files:
        known = recorded.get(found.source)
        if known is None or read_all or known.parse != parse or known.stamp != stamp_text(found.stamp):
            open_files.append(found)
        elif known.state == "indexed":
            settled += 1
        elif known.state == "skipped":
            left_out.append((found.source, known.reason))
        else:
            open_files.append(found)
    return Comparison(
        scan=scan,
        recorded=recorded,
        parse=parse,
        read_all=read_all,
        settled=settled,
        left_out=tuple(left_out),
        open=tuple(open_files),
        missing=frozenset(recorded.keys() - {found.source for found in scan.files}),
    )


def questions(compared: Comparison) -> list[Found]:
    """The files whose bytes must be hashed before anything can be decided."""
    anything_vanished = compared.anything_vanished
    asked = []
    for found in compared.open:
        known = compared.recorded.get(found.source)
        if known is None or known.state == "pending":
            if anything_vanished:  # it may be one of those, by another name
                asked.append(found)
        elif not compared.read_all and known.parse == compared.parse:
            asked.append(found)
    return asked


def plan_documents(
    compared: Comparison, hashes: Mapping[str, str | None], *, allow_mass_delete: bool
) -> DocumentPlan:
    """Decide every document's fate. `hashes`: the answers to `questions`."""
    scan, recorded = compared.scan, compared.recorded
    left_out = {skipped.source: skipped.reason for skipped in scan.skipped}
    kept, vanished, forgotten = _missing(compared)
    by_content: dict[str, list[str]] = defaultdict(list)
    for source in sorted(vanished, reverse=True):
        if source not in left_out and recorded[source].raw_hash:
            by_content[recorded[source].raw_hash].append(source)

    readings: list[Reading] = []
    restamp: list[Found] = []
    skipped = [*left_out.items(), *compared.left_out]
    unchanged = compared.settled
    for found in compared.open:
        known = recorded.get(found.source)
        if known is None or known.state == "pending":
            old = by_content.get(hashes.get(found.source) or "")
            if old:
                before = old.pop()
                vanished.discard(before)
                readings.append(Reading(found, "renamed", f"was {before}", before))
            else:
                readings.append(Reading(found, "new", ""))
            continue
        reason = _why_read(found, known, hashes, parse=compared.parse, read_all=compared.read_all)
        if reason is not None:
            change: Literal["new", "modified", "check"] = "modified" if known.state == "indexed" else "new"
            readings.append(Reading(found, "check" if reason == "" else change, reason))
            continue
        restamp.append(found)
        if known.state == "skipped":
            skipped.append((found.source, known.reason))
        else:
            unchanged += 1

    withheld_reason = "" if allow_mass_delete else _guard(scan, recorded, vanished)
    removals = tuple(
        Removal(source, left_out.get(source, "its file is gone"), withdrawn=source in left_out)
        for source in sorted(vanished)
    )
    return DocumentPlan(
        readings=tuple(readings),
        restamp=tuple(restamp),
        unchanged=unchanged,
        removals=() if withheld_reason else removals,
        withheld=tuple(sorted(vanished)) if withheld_reason else (),
        withheld_reason=withheld_reason,
        forgotten=tuple(sorted(forgotten)),
        skipped=tuple(sorted(skipped)),
        kept=tuple(kept),
        failures=scan.failures,
    )


def _missing(compared: Comparison) -> tuple[list[Failure], set[str], set[str]]:
    """Recorded documents that the scan did not meet: those it could not look at, those that are gone, mere notes."""
    # A folder whose kind could not be told has no "/" at its end.
    failed = {failure.source.rstrip("/"): failure for failure in compared.scan.failures}
    kept: list[Failure] = []
    vanished: set[str] = set()
    forgotten: set[str] = set()
    for source in sorted(compared.missing - failed.keys()):
        indexed = compared.recorded[source].state == "indexed"
        above = next((failed[folder] for folder in _folders_above(source) if folder in failed), None)
        if above is not None:
            if indexed:
                kept.append(Failure(source, above.code, f"in {above.source}: {above.message}"))
        elif indexed:
            vanished.add(source)
        else:
            forgotten.add(source)
    return kept, vanished, forgotten


def _folders_above(source: str) -> Iterator[str]:
    """From the nearest to the data folder itself, which is ""."""
    while source:
        source = source.rpartition("/")[0]
        yield source


def _why_read(
    found: Found, known: RecordedFile, hashes: Mapping[str, str | None], *, parse: str, read_all: bool
) -> str | None:
    """Why this recorded file, whose stamp differs, must be read; "" to find out whether anything changed; None: it need not be."""
    if known.parse == UNKNOWN:
        return "restored in the collection"
    if read_all:
        return ""
    if known.parse != parse:
        return "its URL or metadata settings changed"
    now = hashes.get(found.source)
    if now is None:  # reading it will name what is wrong
        return ""
    if now != known.raw_hash:
        return CONTENT_CHANGED
    return "only its modification time changed" if known.mtime != mtime_seconds(found) else None


def _guard(scan: Scan, recorded: Mapping[str, RecordedFile], vanished: set[str]) -> str:
    """Why deleting `vanished` is withheld; "" when it is not."""
    if not vanished:
        return ""
    indexed = sum(file.state == "indexed" for file in recorded.values())
    if not scan.files and not scan.failures:
        return f"the data folder is empty, with {counted(len(vanished), 'document')} indexed"
    if len(vanished) > MASS_DELETE_DOCUMENTS and len(vanished) > indexed * MASS_DELETE_SHARE:
        return f"{len(vanished)} of {indexed} documents are gone at once"
    return ""
