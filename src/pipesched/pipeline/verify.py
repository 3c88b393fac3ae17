"""Whether the collection is what the folder says, row by row, on demand vector by vector."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pipesched.errors import Busy, CollectionNotOurs, DataError, NotFound, SettingsConflict
from pipesched.options import PipelineOptions
from pipesched.pipeline import documents, drift
from pipesched.pipeline.backends import Backends, Progress
from pipesched.pipeline.batches import Reader, read_batches
from pipesched.pipeline.drift import Drift
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.model import CollectionInfo, Found, VectorStore
from pipesched.pipeline.plan import Reading, compare, plan_documents
from pipesched.pipeline.run import run
from pipesched.pipeline.search import find
from pipesched.pipeline.session import Session
from pipesched.pipeline.stores import StoreLock
from pipesched.pipeline.stores.mark import Mark
from pipesched.report import counted

EXPLAINED: Final = 100
"""Documents of which `verify` says what differs in their changed rows: they are read once more for it."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What differs, as chunk ids. `settings`: why the whole collection is not what these options ask for.

    `other`: what differs of changed rows, `text` or keys of their metadata; of the first EXPLAINED documents.
    """

    drift: Drift = field(default_factory=Drift)
    other: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    message: str = ""
    hint: str = ""

    @property
    def ok(self) -> bool:
        return not self.drift and not self.settings

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "missing": self.drift.missing,
            "extra": self.drift.extra,
            "changed": [*self.settings, *self.drift.changed],
            "bad_vectors": self.drift.bad_vectors,
            "documents": sorted({source for source in self.drift.sources.values() if source}),
            "failed_documents": list(self.failed),
            "message": self.message,
            "hint": self.hint,
        }

    def differences(self) -> Iterator[tuple[str, list[str]]]:
        """Each kind with what is concerned, for people."""
        kinds = (
            ("missing", self.drift.missing),
            ("extra", self.drift.extra),
            ("changed", self.drift.changed),
            ("bad vector", self.drift.bad_vectors),
        )
        yield "settings", list(self.settings)
        for kind, ids in kinds:
            yield kind, [self._line(row) for row in sorted(ids)]

    def _line(self, row: str) -> str:
        other = f": {', '.join(self.other[row])}" if row in self.other else ""
        return f"{self.drift.sources.get(row) or '?'}  chunk {row}{other}"


def verify(
    options: PipelineOptions,
    *,
    index_dir: Path,
    now: Callable[[], datetime],
    deep: bool = False,
    repair: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    backends: Backends | None = None,
) -> Verified:
    """Compare the folder with the collection; `deep` reads the vectors too; `repair` mends through a run, and compares again.

    Nothing is written unless `repair` finds something to mend. Raises Busy while a run is writing, DataDirMissing, and what
    a run raises.
    """
    backends = backends or Backends()
    options = replace(options, dry_run=False)
    if StoreLock(options.storage_path, index_dir).is_held():
        raise Busy(
            f"a run is writing to {options.storage_path}", hint="verify when it is done: pipesched status"
        )
    ruined: DataError | None = None
    try:
        found = _compared(options, index_dir, now, deep=deep, backends=backends)
    except DataError as error:
        if error.code != "store_damaged" or not repair:
            raise
        ruined, found = error, Verified(message=error.message)
    if not repair or (found.ok and ruined is None):
        return found
    run(
        options,
        index_dir=index_dir,
        now=now,
        run_id="verify",
        progress=progress,
        stop=stop,
        check="vectors" if deep else "rows",
        suspect=ruined is not None,
        backends=backends,
    )
    again = _compared(options, index_dir, now, deep=deep, backends=backends)
    return replace(again, message=f"repaired ({found.message}); {again.message}")


def _compared(
    options: PipelineOptions, index_dir: Path, now: Callable[[], datetime], *, deep: bool, backends: Backends
) -> Verified:
    def compare() -> Verified:
        return _compare(options, index_dir, now, deep=deep, backends=backends)

    if options.store_is_server:
        return compare()
    from pipesched.pipeline.stores.inspection import check_index
    from pipesched.pipeline.stores.isolation import isolated

    check_index(options.storage_path, options.collection_name)
    return isolated(compare, storage_path=options.storage_path)


def _compare(
    options: PipelineOptions,
    index_dir: Path,
    now: Callable[[], datetime],
    *,
    deep: bool,
    backends: Backends,
) -> Verified:
    with Session.open_to_read(options, index_dir, backends=backends, started=now()) as session:
        store, info = _open(options, backends)
        try:
            mark = Mark.from_metadata(info.metadata) if info else None
            live = session.manifest.generation("live")
            if info is not None and mark is None and live is not None and live.uuid == info.uuid:
                return Verified(
                    settings=("the collection has lost pipesched's mark",),
                    message="somebody took pipesched's mark from the collection: pipesched run puts it back",
                )
            if info is not None and mark is None:
                raise CollectionNotOurs(
                    f"the collection {info.name} was not made by pipesched",
                    hint="name one of pipesched's with --collection-name",
                )
            target = IndexSettings.of(options, session.identify_offline(mark.spec if mark else None))
            if mark is not None and mark.settings != target.digest:
                why = live.settings.differences(target) if live and live.settings else []
                return Verified(
                    settings=tuple(why or ["the collection was made with other settings"]),
                    message="the collection was made with other settings than these: pipesched run brings it up to date",
                )
            wanted = _wanted(session, target)
            found = drift.compare(
                session.manifest,
                wanted.number,
                store.pages(info.name, vectors=deep) if store is not None and info is not None else iter(()),
                cache=session.cache if deep else None,
                spec=target.spec if deep else None,
            )
            rows = info.count if info else 0
            other = _other(found, wanted, store, info.name) if store and info else {}
        finally:
            if store is not None:
                store.close()
    looked = "rows and vectors" if deep else "rows"
    said = [_words(found, other) if found else f"{rows} {looked} are what the folder says"]
    folders = [source for source in wanted.failed if source.endswith("/")]
    failed = tuple(source for source in wanted.failed if not source.endswith("/"))
    if failed:
        said.append(f"{counted(len(failed), 'document')} cannot be read, compared with the old version")
    if folders:
        shown = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
        said.append(f"{counted(len(folders), 'folder')} cannot be read ({shown})")
    hint = f"pipesched verify {'--deep ' if found.bad_vectors else ''}--repair mends it" if found else ""
    if found.changed and live is not None and live.documents not in ("", session.documents):
        said.append("the URL or draft settings are not those of the last run")
        hint = "pipesched run with these settings writes that metadata anew, and embeds nothing for it"
    if found.extra and wanted.withheld:
        said.append(f"{wanted.withheld}: a run withholds these deletes")
        hint = "--allow-mass-delete lets them through"
    if found:
        try:
            session.check_filled_from(mark.data_dir if mark else "")
        except SettingsConflict as conflict:  # a run would be refused, and mend nothing
            said.append(conflict.message)
            hint = conflict.hint
    return Verified(drift=found, other=other, failed=failed, message="; ".join(said), hint=hint)


def _words(found: Drift, other: Mapping[str, tuple[str, ...]]) -> str:
    keys = sorted({key for row in other.values() for key in row})
    return found.words(extra="that the folder does not have") + (f" ({', '.join(keys)})" if keys else "")


def _other(found: Drift, wanted: _Wanted, store: VectorStore, name: str) -> dict[str, tuple[str, ...]]:
    """What differs in the changed rows of the first EXPLAINED documents."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for changed in found.changed:
        by_source[found.sources[changed]].append(changed)
    other: dict[str, tuple[str, ...]] = {}
    for source, ids in list(by_source.items())[:EXPLAINED]:
        file = wanted.files.get(source)
        entry = wanted.reader.read(Reading(file, "check", ""))[0] if file is not None else None
        rows = {row.id: row for row in entry.rows} if entry is not None else {}
        for record in store.get(name, ids):
            row = rows.get(record.id)
            if row is not None and row.text != record.text:
                other[record.id] = ("text",)
            elif row is not None:
                have = {key: value for key, value in record.metadata.items() if key != "indexed_timestamp"}
                keys = row.metadata.keys() | have.keys()
                other[record.id] = tuple(sorted(k for k in keys if row.metadata.get(k) != have.get(k)))
    return other


def _open(options: PipelineOptions, backends: Backends) -> tuple[VectorStore | None, CollectionInfo | None]:
    try:
        store = backends.open_store(options.storage_path, create=False)
    except NotFound:
        return None, None
    try:
        return store, find(store, options.collection_name)
    except BaseException:
        store.close()
        raise


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the folder says. `number`: of the generation; `failed`: also folders, which end in "/"; `withheld`: why a run would not delete what is gone."""

    reader: Reader
    files: Mapping[str, Found]
    number: int
    failed: tuple[str, ...]
    withheld: str


def _wanted(session: Session, target: IndexSettings) -> _Wanted:
    """Turn the manifest's copy into what the folder says; what cannot be read stays as it is recorded."""
    manifest, options = session.manifest, session.options
    for generation in manifest.generations():
        manifest.recover(generation.number)
    live = manifest.generation("live")
    number = live.number if live else 0
    recorded = manifest.files(number)
    scan = documents.scan(options.data_dir, options.data_dir_pattern)
    comparison = compare(scan, recorded, parse=session.documents, read_all=True)
    plan = plan_documents(comparison, {}, allow_mass_delete=True)
    withheld = ""
    if plan.removals and not options.allow_mass_delete:
        new = [reading.found for reading in plan.readings if reading.change == "new"]
        hashes = {found.source: documents.raw_hash(found) for found in new}  # what moved is not gone
        withheld = plan_documents(comparison, hashes, allow_mass_delete=False).withheld_reason
    failed = [failure.source for failure in (*plan.failures, *plan.kept)]
    reader = session.reader(target, scan.clock_ns)
    for batch in read_batches(plan.readings, reader, manifest, number, recorded):
        failed += [failure.source for failure, _ in batch.failures]
        manifest.commit(
            number,
            [item.entry for item in batch.items if item.entry is not None],
            [source for item in batch.items for source in item.removed],
        )
    gone = [*(removal.source for removal in plan.removals), *plan.forgotten]
    manifest.commit(number, (), gone)
    files = {found.source: found for found in scan.files}
    return _Wanted(reader, files, number, tuple(sorted(failed)), withheld)
