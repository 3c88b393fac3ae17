"""The plan of a run, made without touching anything: the manifest is copied to memory, the store only probed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pipesched.options import PipelineOptions
from pipesched.pipeline import documents
from pipesched.pipeline.backends import Backends, NoProgress
from pipesched.pipeline.batches import Batch, Item, Reader, read_batches, removal_batches
from pipesched.pipeline.cache import EmbeddingCache
from pipesched.pipeline.canary import as_told, current
from pipesched.pipeline.drift import mark_all_missing
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.manifest import Manifest, manifest_path
from pipesched.pipeline.mode import Decision, Generation, decide
from pipesched.pipeline.plan import RecordedFile
from pipesched.pipeline.session import Session
from pipesched.pipeline.stores.probe import UNMARKED
from pipesched.pipeline.takeover import not_ours
from pipesched.pipeline.work import Work
from pipesched.report import LengthStatistics, Outcome


def dry_run(
    options: PipelineOptions,
    *,
    index_dir: Path,
    now: Callable[[], datetime],
    rebuild: bool,
    backends: Backends,
) -> Outcome:
    """What a run would do now, in the words and numbers of one. Raises what a run would raise before its first write."""
    clock = time.monotonic()
    scan = documents.scan(options.data_dir, options.data_dir_pattern)
    manifest = Manifest.copy(manifest_path(index_dir, options.storage_path, options.collection_name))
    session = Session(
        options,
        manifest,
        EmbeddingCache.open_to_read(index_dir),
        backends,
        NoProgress(),
        threading.Event(),
        now(),
    )
    with session:
        live = _look(session)
        building = manifest.generation("building")
        session.check_data_dir(live, building)
        known = [g.settings.spec for g in (building, live) if g is not None and g.settings is not None]
        recorded_spec = known[-1] if known else session.cache.spec(options.embedding_model)
        told = backends.identify(options.embedding_model, recorded=as_told(recorded_spec), offline=True)
        spec = current(told, recorded_spec, session.cache.revision(told.fingerprint))
        if not spec.fingerprint:
            session.notes.append(
                "the model was never asked yet, so that chunks and embeddings are an estimate"
            )
        target = IndexSettings.of(options, spec)
        decision = decide(
            options,
            target,
            session.documents,
            live=live,
            building=building,
            rebuild=rebuild,
            imported=False,
        )
        work = Work(session)
        number = live.number if live else 0
        recorded = manifest.files(number)
        moved = live is not None and live.data_dir != options.data_dir and options.force_recreate
        plan = work.plan(
            scan,
            recorded,
            read_all=decision.read_all or decision.build,
            allow_mass_delete=options.allow_mass_delete or moved,
        )
        work.tell(plan, recorded)
        reader = Reader(session.document_settings, session.documents, session.chunker(target), scan.clock_ns)
        after = session.cache.last_number() if decision.fresh else 0
        counter = _Counter(session, target, recorded, everything=decision.build, after=after)
        for batch in read_batches(plan.readings, reader, manifest, number, recorded):
            counter.add(batch)
        for batch in removal_batches(plan.removals, manifest, number):
            counter.add(batch)
        chunks = manifest.counts(number)[1] + session.tally.added - session.tally.deleted
        lengths = manifest.lengths(number)
    return _outcome(session, decision, chunks, lengths, time.monotonic() - clock)


def _look(session: Session) -> Generation | None:
    """The live generation as far as it can be known without opening the store."""
    manifest = session.manifest
    for generation in manifest.generations():
        manifest.recover(generation.number)
    live = manifest.generation("live")
    seen = session.backends.probe(session.options.storage_path)
    if seen is None:
        session.notes.append("the store cannot be looked at without opening it")
        return live
    present = seen.get(session.collection)
    is_ours = live is not None and present is not None and live.uuid == present.uuid
    if present is not None and present.mark == UNMARKED and not is_ours and not session.options.adopt:
        raise not_ours(session.options)
    if live is None or not live.uuid:
        if present is not None and not session.options.adopt:
            session.notes.append(
                "there is a collection that the manifest does not know: a run would look into it first"
            )
        return live
    if present is None:
        mark_all_missing(manifest, live.number)
        session.notes.append("the collection is gone: it would be put in again")
    elif present.uuid != live.uuid:
        session.notes.append("the collection was replaced by another: a run would look into it first")
    elif manifest.probe() != present:
        session.notes.append("the collection changed since the last run: a run would compare it row by row")
    return live


class _Counter:
    """Counts batches as a run would, and what it would have to embed."""

    def __init__(
        self,
        session: Session,
        target: IndexSettings,
        recorded: Mapping[str, RecordedFile],
        *,
        everything: bool,
        after: int,
    ) -> None:
        self.hashes = {source: file.raw_hash for source, file in recorded.items()}
        self.session = session
        self.target = target
        self.everything = everything
        self.after = after
        self.seen: set[bytes] = set()

    def add(self, batch: Batch) -> None:
        tally = self.session.tally
        rows = [
            row
            for item in batch.items
            for row in (item.entry.rows if self.everything and item.entry else item.plan.write)
        ]
        texts = list(dict.fromkeys(row.text_hash for row in rows if row.text_hash not in self.seen))
        known = self.session.cache.known(self.target.spec, texts, after=self.after)
        self.seen.update(texts)
        embedded = len(texts) - len(known)
        tally.embedded += embedded
        tally.from_cache += len(rows) - embedded
        items = [self._compared(item) for item in batch.items] if self.everything else batch.items
        tally.batch(items, batch.failures)

    def _compared(self, item: Item) -> Item:
        """As a new generation is counted: a document is what it was, however it is split now."""
        if item.change != "modified" or item.entry is None:
            return item
        if item.entry.file.raw_hash == self.hashes.get(item.source):
            return replace(item, change=None)
        return replace(item, reason="its content changed")


def _outcome(
    session: Session, decision: Decision, chunks: int, lengths: LengthStatistics, seconds: float
) -> Outcome:
    tally = session.tally
    partial = bool(tally.errors)
    return Outcome(
        status="partial" if partial else "succeeded",
        message=tally.message(chunks, notes=session.notes, interrupted=False),
        mode=decision.mode,
        mode_reason=decision.reason,
        stats=tally.stats(chunks),
        documents=tuple(sorted(tally.changes, key=lambda change: change.source)),
        errors=tuple(tally.errors),
        timings={"plan": round(seconds, 3)},
        lengths=lengths,
        exit_code=3 if partial else 0,
    )
