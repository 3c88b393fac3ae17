"""A plan made and carried out in one generation: what updating the live one and building a new one share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipesched.pipeline import documents
from pipesched.pipeline.explaining import explain_plan
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.mode import Generation
from pipesched.pipeline.model import Failure, Scan
from pipesched.pipeline.plan import (
    DocumentPlan,
    RecordedFile,
    compare,
    plan_documents,
    questions,
    trusted_stamp,
)
from pipesched.pipeline.session import Session

if TYPE_CHECKING:  # what only a run with changes needs is imported where it begins
    from pipesched.pipeline.batches import Batch
    from pipesched.pipeline.vectors import Vectors
    from pipesched.pipeline.writer import Writer


class Work:
    """What one run does to documents."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.manifest = session.manifest
        self.tally = session.tally
        self.failed: list[tuple[Failure, int]] = []
        """While a new generation is built: failures, counted when it is whole."""
        self._clock = time.monotonic()
        """What took since then is charged to the next name given to `time`; writing runs beside embedding."""

    def plan(
        self, scan: Scan, recorded: dict[str, RecordedFile], *, read_all: bool, allow_mass_delete: bool
    ) -> DocumentPlan:
        compared = compare(scan, recorded, parse=self.session.documents, read_all=read_all)
        hashes = {found.source: documents.raw_hash(found) for found in questions(compared)}
        return plan_documents(compared, hashes, allow_mass_delete=allow_mass_delete)

    def tell(self, plan: DocumentPlan, recorded: dict[str, RecordedFile]) -> None:
        """Count what the plan has decided already."""
        explain_plan(plan, recorded)
        self.tally.unchanged += plan.unchanged
        for source, reason in plan.skipped:
            if source not in recorded or recorded[source].state != "indexed":
                self.tally.change(source, "skipped", reason, 0)
        for failure in plan.failures:
            known = recorded.get(failure.source)
            self.tally.fail(failure, known.chunks if known else 0)
        for failure in plan.kept:
            self.tally.change(failure.source, "failed", failure.message, recorded[failure.source].chunks)
        if plan.withheld:
            self.tally.withhold(plan)
            for source in plan.withheld:
                if any(source == skipped for skipped, _ in plan.skipped):
                    self.tally.change(
                        source, "skipped", "withheld: still in the collection", recorded[source].chunks
                    )

    def restamp(self, plan: DocumentPlan, generation: Generation, scan: Scan) -> None:
        stamps = [(found.source, trusted_stamp(found.stamp, scan.clock_ns)) for found in plan.restamp]
        if any(stamp for _, stamp in stamps):
            self.manifest.restamp(generation.number, stamps)

    def vectors(self, generation: Generation, live: Generation | None, target: IndexSettings) -> Vectors:
        from pipesched.pipeline.vectors import Vectors, stored_vectors

        session = self.session
        return Vectors(
            spec=target.spec,
            cache=session.cache,
            after=generation.fresh_after or 0,
            stored=stored_vectors(session, live, target.spec),
            embedder=lambda: session.embedder(target.spec),
            pause=session.check_stop,
        )

    def do(
        self,
        plan: DocumentPlan,
        generation: Generation,
        vectors: Vectors,
        target: IndexSettings,
        scan: Scan,
        recorded: dict[str, RecordedFile],
        *,
        count: bool = True,
    ) -> None:
        """Every batch of the plan, additions before removals."""
        from pipesched.pipeline.batches import read_batches, removal_batches
        from pipesched.pipeline.writer import Writer

        session = self.session
        session.progress.total(len(plan.readings))
        self._forget(plan.forgotten, generation)
        reader = session.reader(target, scan.clock_ns)
        session.progress.phase("indexing")
        with Writer() as writer:
            for batch in read_batches(plan.readings, reader, self.manifest, generation.number, recorded):
                self.time("read")
                self.put(batch, generation, vectors, writer, count=count)
            for batch in removal_batches(plan.removals, self.manifest, generation.number):
                self.put(batch, generation, vectors, writer, count=count)
        # What a dead run had begun to put in, and fails now, was never whole: there is no old version of it to keep.
        self._forget(self.manifest.pending(generation.number), generation)
        self.time("write")

    def _forget(self, sources: Sequence[str], generation: Generation) -> None:
        """Take out what there may be of documents that are no part of the collection, and their record."""
        if not sources:
            return
        rows = self.manifest.rows_of(generation.number, sources)
        orphans = [row for source in sources for row in rows[source]]
        if orphans:
            self.session.changing()
            self.session.store.delete(generation.name, orphans)
        self.manifest.commit(generation.number, (), sources)

    def put(
        self, batch: Batch, generation: Generation, vectors: Vectors, writer: Writer, *, count: bool
    ) -> None:
        """One batch: embedded here, written by `writer`, then counted (a new generation is counted when it is whole)."""
        from pipesched.pipeline.apply import apply, embed, record, touches_store

        session = self.session
        session.check_stop()
        work = embed(batch, vectors, self.tally)
        self.time("embed")
        store = session.store if touches_store(work.items) else None
        if store is not None:
            session.changing()

        def write() -> None:
            if store is None:
                record(work.items, self.manifest, generation.number)
                return
            apply(
                work,
                manifest=self.manifest,
                store=store,
                generation=generation.number,
                name=generation.name,
                timestamp=session.timestamp,
            )

        def done() -> None:
            if count:
                self.tally.batch(work.items, batch.failures)
            else:
                self.failed += batch.failures
            session.progress.advance(
                len(batch.items) + len(batch.failures), sum(item.chunks for item in work.items)
            )

        writer.put(write, done)  # waits for the batch before
        self.time("write")

    def time(self, name: str) -> None:
        now = time.monotonic()
        self.session.timings[name] = self.session.timings.get(name, 0.0) + now - self._clock
        self._clock = now
