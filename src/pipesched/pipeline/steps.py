"""The steps of one run, in order: look, decide, scan, plan, write, leave."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pipesched.pipeline import documents, faults
from pipesched.pipeline.explaining import explain_plan
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.looking import Check, look
from pipesched.pipeline.mode import Decision, Generation, decide, due
from pipesched.pipeline.model import Failure, Scan
from pipesched.pipeline.plan import (
    DocumentPlan,
    RecordedFile,
    compare,
    plan_documents,
    questions,
    trusted_stamp,
)
from pipesched.pipeline.session import Session, Stopped, mark_of
from pipesched.pipeline.stores import Probe
from pipesched.report import LengthStatistics, Outcome

if TYPE_CHECKING:  # what only a run with changes needs is imported where it begins
    from pipesched.pipeline.batches import Batch
    from pipesched.pipeline.vectors import Vectors
    from pipesched.pipeline.writer import Writer


class Run:
    """One run over an open session. `present`: the collection as it was found."""

    def __init__(self, session: Session, *, rebuild: bool, check: Check) -> None:
        self.session = session
        self.options = session.options
        self.manifest = session.manifest
        self.tally = session.tally
        self.rebuild = rebuild
        self.check = check
        self.present: Probe | None = None
        self.failed: list[tuple[Failure, int]] = []
        """While a new generation is built: failures, counted when it is whole."""
        self._clock = time.monotonic()
        """What took since then is charged to the next name given to `_time`; writing runs beside embedding."""

    def outcome(self) -> Outcome:
        """Do it; a run that was asked to stop ends here, between two batches."""
        decision = Decision("incremental", "stopped before it decided")
        interrupted = False
        try:
            found = look(
                self.session, check=self.check, replacing=self.rebuild or self.options.force_recreate
            )
            live, self.present = found.live, found.present
            self._time("look")
            target, decision, building = self._decide(live, imported=found.imported)
            self._time("model")
            scan = self._scan()
            if decision.build:
                from pipesched.pipeline.build import build

                build(self, decision, target, live, building if decision.resume else None, scan)
            else:
                self._update(decision, target, live, scan)
            self._retire()
        except Stopped:
            interrupted = True
        self._leave()
        return self._outcome(decision, interrupted=interrupted)

    # what to do

    def _decide(
        self, live: Generation | None, *, imported: bool
    ) -> tuple[IndexSettings, Decision, Generation | None]:
        session, options = self.session, self.options
        building = self.manifest.generation("building")
        if building is not None and building.name in session.damaged:
            from pipesched.pipeline.generations import drop

            drop(session, building)
            building = None
        session.check_data_dir(live, building)
        known = [g.settings.spec for g in (building, live) if g is not None and g.settings is not None]
        target = IndexSettings.of(options, session.identify(known[-1] if known else None))
        decision = decide(
            options,
            target,
            session.documents,
            live=live,
            building=building,
            rebuild=self.rebuild,
            imported=imported,
            damaged=session.damaged.get(session.collection, ""),
        )
        if session.reasons:
            decision = replace(decision, reason="; ".join([*session.reasons, decision.reason]))
        if building is not None and not decision.resume:
            from pipesched.pipeline.generations import drop

            drop(session, building)
        return target, decision, building

    def _scan(self) -> Scan:
        self.session.progress.phase("scanning")
        scan = documents.scan(self.options.data_dir, self.options.data_dir_pattern)
        faults.reach("scanned")
        self._time("scan")
        return scan

    def plan(
        self, scan: Scan, recorded: dict[str, RecordedFile], *, read_all: bool, allow_mass_delete: bool
    ) -> DocumentPlan:
        compared = compare(scan, recorded, parse=self.session.documents, read_all=read_all)
        hashes = {found.source: documents.raw_hash(found) for found in questions(compared)}
        return plan_documents(compared, hashes, allow_mass_delete=allow_mass_delete)

    # doing it

    def _update(
        self, decision: Decision, target: IndexSettings, live: Generation | None, scan: Scan
    ) -> Generation:
        """Bring the live generation in step, or make the first one."""
        if live is None or not live.uuid:
            from pipesched.pipeline.generations import begin

            generation = live or begin(self.session, decision, target)
        else:
            generation = live
        recorded = self.manifest.files(generation.number)
        plan = self.plan(
            scan,
            recorded,
            read_all=decision.read_all,
            allow_mass_delete=self.options.allow_mass_delete,
        )
        self._time("plan")
        if self.present is None:
            from pipesched.pipeline.generations import create_collection

            generation = create_collection(self.session, generation)
        self.tell(plan, recorded)
        self.restamp(plan, generation, scan)
        if not plan.nothing_to_do:
            vectors = self.vectors(generation, generation, target)
            self.work(plan, generation, vectors, target, scan, recorded)
        current = replace(
            generation,
            settings=target,
            data_dir=self.options.data_dir,
            pattern=self.options.data_dir_pattern,
            documents=self.session.documents,
            fresh_after=None,
        )
        if mark_of(current) != mark_of(generation) or self.manifest.get("unannounced"):
            self.session.put_mark(current)
        if current != generation:
            self.manifest.put_generation(current)
        return current

    def vectors(self, generation: Generation, live: Generation | None, target: IndexSettings) -> Vectors:
        from pipesched.pipeline.vectors import Vectors

        session = self.session
        return Vectors(
            spec=target.spec,
            cache=session.cache,
            after=generation.fresh_after or 0,
            stored=session.stored_vectors(live, target.spec),
            embedder=lambda: session.embedder(target.spec),
            pause=session.check_stop,
        )

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

    def work(
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
        from pipesched.pipeline.batches import Reader, read_batches, removal_batches
        from pipesched.pipeline.writer import Writer

        session = self.session
        session.progress.total(len(plan.readings))
        if plan.forgotten:
            rows = self.manifest.rows_of(generation.number, plan.forgotten)
            orphans = [row for source in plan.forgotten for row in rows[source]]
            if orphans:
                session.changing()
                session.store.delete(generation.name, orphans)
            self.manifest.commit(generation.number, (), plan.forgotten)
        reader = Reader(
            settings=session.document_settings,
            parse=session.documents,
            chunker=session.chunker(target),
            clock_ns=scan.clock_ns,
        )
        session.progress.phase("indexing")
        with Writer() as writer:
            for batch in read_batches(plan.readings, reader, self.manifest, generation.number, recorded):
                self._time("read")
                self.put(batch, generation, vectors, writer, count=count)
            for batch in removal_batches(plan.removals, self.manifest, generation.number):
                self.put(batch, generation, vectors, writer, count=count)
        self._time("write")

    def put(
        self, batch: Batch, generation: Generation, vectors: Vectors, writer: Writer, *, count: bool
    ) -> None:
        """One batch: embedded here, written by `writer`, then counted (a new generation is counted when it is whole)."""
        from pipesched.pipeline.apply import apply, embed, record, touches_store

        session = self.session
        session.check_stop()
        work = embed(batch, vectors, self.tally)
        self._time("embed")
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
        self._time("write")

    # the end

    def _retire(self) -> None:
        if due(self.manifest.generations("retired"), self.session.started):
            from pipesched.pipeline.generations import drop_retired

            drop_retired(self.session)

    def _leave(self) -> None:
        """Let go of the store, remove what Chroma left behind, and record what it looks like now."""
        session = self.session
        if not session.store_is_open and self.manifest.probe() is not None:
            return
        info: Probe | None = None
        if session.store_is_open and session.options.store_is_server:
            found = session.store.find(session.collection)
            info = Probe(found.uuid, found.count, -1) if found else None
        session.close_store()
        if session.dropped:
            session.backends.sweep(session.options.storage_path)
        if not self.manifest.has_intents():
            seen = session.backends.probe(session.options.storage_path)
            self.manifest.put_probe(info if seen is None else seen.get(session.collection))
        faults.reach("finished")
        self._time("finish")

    def _outcome(self, decision: Decision, *, interrupted: bool) -> Outcome:
        tally = self.tally
        live = self.manifest.generation("live")
        chunks = self.manifest.counts(live.number)[1] if live else 0
        stats = tally.stats(chunks)
        partial = bool(tally.errors)
        return Outcome(
            status="interrupted" if interrupted else "partial" if partial else "succeeded",
            message=tally.message(chunks, notes=self.session.notes, interrupted=interrupted),
            mode=decision.mode,
            mode_reason=decision.reason,
            stats=stats,
            documents=tuple(sorted(tally.changes, key=lambda change: change.source)),
            errors=tuple(tally.errors),
            timings={name: round(seconds, 3) for name, seconds in self.session.timings.items()},
            lengths=self.manifest.lengths(live.number) if live else LengthStatistics(),
            exit_code=3 if partial else 0,
        )

    def _time(self, name: str) -> None:
        now = time.monotonic()
        self.session.timings[name] = self.session.timings.get(name, 0.0) + now - self._clock
        self._clock = now
