"""The plan of a run, made without touching anything: the manifest is copied to memory, the store only probed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pipesched.options import PipelineOptions
from pipesched.pipeline import documents
from pipesched.pipeline.backends import Backends
from pipesched.pipeline.batches import Batch, Item, read_batches, removal_batches
from pipesched.pipeline.differences import why_new
from pipesched.pipeline.drift import mark_all_missing
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.mode import Generation, decide, recorded_spec
from pipesched.pipeline.plan import CONTENT_CHANGED, RecordedFile
from pipesched.pipeline.session import Session
from pipesched.pipeline.stores.probe import UNMARKED
from pipesched.pipeline.takeover import not_ours
from pipesched.pipeline.work import Work
from pipesched.report import Outcome


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
    with Session.open_to_read(options, index_dir, backends=backends, started=now()) as session:
        manifest = session.manifest
        live = _look(session)
        building = manifest.generation("building")
        session.check_data_dir(live, building)
        spec = session.identify_offline(recorded_spec(live, building))
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
        reader = session.reader(target, scan.clock_ns)
        after = session.cache.last_number() if decision.fresh else 0
        counter = _Counter(session, target, live, recorded, everything=decision.build, after=after)
        for batch in read_batches(plan.readings, reader, manifest, number, recorded):
            counter.add(batch)
        for batch in removal_batches(plan.removals, manifest, number):
            counter.add(batch)
        chunks = manifest.counts(number)[1] + session.tally.added - session.tally.deleted
        lengths = manifest.lengths(number)
    timings = {"plan": time.monotonic() - clock}
    return session.tally.outcome(decision, chunks, lengths, notes=session.notes, timings=timings)


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
        live: Generation | None,
        recorded: Mapping[str, RecordedFile],
        *,
        everything: bool,
        after: int,
    ) -> None:
        self.recorded = recorded
        self.session = session
        self.spec = target.spec
        self.live = live
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
        self.seen.update(texts)
        embedded = len(texts) - len(self._known(texts))
        tally.embedded += embedded
        tally.from_cache += len(rows) - embedded
        items = [self._compared(item) for item in batch.items] if self.everything else batch.items
        tally.batch(items, batch.failures)

    def _known(self, texts: Sequence[bytes]) -> set[bytes]:
        """Those of the text hashes whose vectors a run would find in the cache, or in the collection."""
        known = self.session.cache.known(self.spec, texts, after=self.after)
        settings = self.live.settings if self.live else None
        if self.live and settings and settings.fingerprint == self.spec.fingerprint and not self.after:
            known |= self.session.manifest.rows_with_text(self.live.number, texts).keys()
        return known

    def _compared(self, item: Item) -> Item:
        """As a new generation is counted: a document is what it was, however it is split now."""
        known = self.recorded.get(item.source)
        if item.change == "new":
            return replace(item, reason=why_new(known, item.chunks))
        if item.change != "modified" or item.entry is None or known is None:
            return item
        if item.entry.file.raw_hash == known.raw_hash:
            return replace(item, change=None)
        return replace(item, reason=CONTENT_CHANGED)
