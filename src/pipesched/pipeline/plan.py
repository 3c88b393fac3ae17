"""What has to change: the folder against the record, documents first, then each document's rows. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pipesched.pipeline.model import Failure, Found, Scan, Stamp
from pipesched.pipeline.rows import UNKNOWN, Row

RACY_NS: Final = 2_000_000_000
"""A file changed less than this before the scan could change again without its times showing it (git's racy entries)."""

MASS_DELETE_DOCUMENTS: Final = 20
MASS_DELETE_SHARE: Final = 0.30
"""More than both at once looks like a folder that was not mounted."""

FileState = Literal["indexed", "skipped", "pending"]
"""`pending`: a run died while it put this document in, so that the collection may hold some of its rows."""


@dataclass(frozen=True, slots=True)
class RecordedFile:
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
    return f"{stamp.size} {stamp.mtime_ns} {stamp.ctime_ns} {stamp.inode} {stamp.device}"


def trusted_stamp(stamp: Stamp, clock_ns: int) -> str:
    """The stamp to record; "" for one that could stay the same over another edit."""
    if max(stamp.mtime_ns, stamp.ctime_ns) > clock_ns - RACY_NS:
        return ""
    return stamp_text(stamp)


def mtime_seconds(found: Found) -> int:
    return found.stamp.mtime_ns // 1_000_000_000


def questions(scan: Scan, recorded: Mapping[str, RecordedFile], *, parse: str, read_all: bool) -> list[Found]:
    """The files whose bytes must be hashed before anything can be decided."""
    here = {found.source for found in scan.files}
    anything_vanished = any(file.state == "indexed" and file.source not in here for file in recorded.values())
    asked = []
    for found in scan.files:
        known = recorded.get(found.source)
        if known is None or known.state == "pending":
            if anything_vanished:  # it may be one of those, by another name
                asked.append(found)
        elif not read_all and known.parse == parse and known.stamp != stamp_text(found.stamp):
            asked.append(found)
    return asked


def plan_documents(
    scan: Scan,
    recorded: Mapping[str, RecordedFile],
    hashes: Mapping[str, str | None],
    *,
    parse: str,
    read_all: bool,
    allow_mass_delete: bool,
) -> DocumentPlan:
    """Compare the folder with what is recorded of it. `hashes`: the answers to `questions`."""
    here = {found.source for found in scan.files}
    left_out = {skipped.source: skipped.reason for skipped in scan.skipped}
    kept, vanished, forgotten = _missing(scan, recorded, here)
    by_content: dict[str, list[str]] = defaultdict(list)
    for source in sorted(vanished, reverse=True):
        if source not in left_out and recorded[source].raw_hash:
            by_content[recorded[source].raw_hash].append(source)

    readings: list[Reading] = []
    restamp: list[Found] = []
    skipped = [(item.source, item.reason) for item in scan.skipped]
    unchanged = 0
    for found in scan.files:
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
        reason = _why_read(found, known, hashes, parse=parse, read_all=read_all)
        if reason is not None:
            change: Literal["new", "modified", "check"] = "modified" if known.state == "indexed" else "new"
            readings.append(Reading(found, "check" if reason == "" else change, reason))
            continue
        if known.stamp != stamp_text(found.stamp):
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


def _missing(
    scan: Scan, recorded: Mapping[str, RecordedFile], here: set[str]
) -> tuple[list[Failure], set[str], set[str]]:
    """Recorded documents that the scan did not meet: those it could not look at, those that are gone, mere notes."""
    failed = {failure.source: failure for failure in scan.failures}
    folders = [failure for failure in scan.failures if failure.source.endswith("/")]
    kept: list[Failure] = []
    vanished: set[str] = set()
    forgotten: set[str] = set()
    for source, file in recorded.items():
        if source in here or source in failed:
            continue
        above = next((f for f in folders if f.source == "/" or source.startswith(f.source)), None)
        if above is not None:
            if file.state == "indexed":
                kept.append(Failure(source, above.code, f"in {above.source}: {above.message}"))
        elif file.state == "indexed":
            vanished.add(source)
        else:
            forgotten.add(source)
    return kept, vanished, forgotten


def _why_read(
    found: Found, known: RecordedFile, hashes: Mapping[str, str | None], *, parse: str, read_all: bool
) -> str | None:
    """Why this recorded file must be read; "" to find out whether anything changed; None: it need not be."""
    if known.parse == UNKNOWN:
        return "restored in the collection"
    if read_all:
        return ""
    if known.parse != parse:
        return "its URL or metadata settings changed"
    if known.stamp == stamp_text(found.stamp):
        return None
    now = hashes.get(found.source)
    if now is None:  # reading it will name what is wrong
        return ""
    if now != known.raw_hash:
        return "its content changed"
    return "only its modification time changed" if known.mtime != mtime_seconds(found) else None


def _guard(scan: Scan, recorded: Mapping[str, RecordedFile], vanished: set[str]) -> str:
    """Why deleting `vanished` is withheld; "" when it is not."""
    if not vanished:
        return ""
    indexed = sum(file.state == "indexed" for file in recorded.values())
    if not scan.files and not scan.failures:
        return f"the data folder is empty and {len(vanished)} documents are indexed"
    if len(vanished) > MASS_DELETE_DOCUMENTS and len(vanished) > indexed * MASS_DELETE_SHARE:
        return f"{len(vanished)} of {indexed} documents are gone at once"
    return ""


@dataclass(frozen=True, slots=True)
class RowPlan:
    """One document's rows. `write`: text and vector too; `describe`: metadata only; `drop`: stale ids."""

    write: tuple[Row, ...]
    describe: tuple[Row, ...]
    drop: tuple[str, ...]
    added: int
    unchanged: int

    @property
    def changes_anything(self) -> bool:
        return bool(self.write or self.describe or self.drop)


def plan_rows(rows: Sequence[Row], recorded: Mapping[str, str]) -> RowPlan:
    """Compare what a document should be with `recorded`: the metadata hash of each of its rows by id."""
    write: list[Row] = []
    describe: list[Row] = []
    added = unchanged = 0
    for row in rows:
        known = recorded.get(row.id)
        if known is None:
            added += 1
            write.append(row)
        elif known == UNKNOWN:
            write.append(row)
        elif known != row.metadata_hash:
            describe.append(row)
        else:
            unchanged += 1
    wanted = {row.id for row in rows}
    return RowPlan(
        write=tuple(write),
        describe=tuple(describe),
        drop=tuple(sorted(row for row in recorded if row not in wanted)),
        added=added,
        unchanged=unchanged,
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of a document between two generations; `change` None: nothing."""

    source: str
    change: Literal["new", "modified", "renamed", "deleted", "skipped"] | None
    reason: str
    chunks: int


def document_differences(
    before: Mapping[str, RecordedFile], after: Mapping[str, RecordedFile]
) -> list[Difference]:
    """Every document of either, by source."""
    gone: dict[str, list[str]] = defaultdict(list)
    for source in sorted(before, reverse=True):
        if before[source].state == "indexed" and source not in after and before[source].raw_hash:
            gone[before[source].raw_hash].append(source)
    found: list[Difference] = []
    renamed: set[str] = set()
    for source, file in after.items():
        old = before.get(source)
        if file.state == "skipped":
            found.append(Difference(source, "skipped", file.reason, old.chunks if old else 0))
        elif old is not None and old.state == "indexed":
            same = old.raw_hash in ("", file.raw_hash)
            found.append(Difference(source, None if same else "modified", "its content changed", file.chunks))
        elif gone.get(file.raw_hash):
            was = gone[file.raw_hash].pop()
            renamed.add(was)
            found.append(Difference(source, "renamed", f"was {was}", file.chunks))
        else:
            found.append(Difference(source, "new", "", file.chunks))
    found += [
        Difference(source, "deleted", "its file is gone", file.chunks)
        for source, file in before.items()
        if file.state == "indexed" and source not in after and source not in renamed
    ]
    return sorted(found, key=lambda difference: difference.source)
