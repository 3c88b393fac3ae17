"""The steps of one run, in order: look, decide, scan, plan, write, leave."""

from __future__ import annotations

from dataclasses import replace

from pipesched.pipeline import documents, faults
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.looking import Check, look
from pipesched.pipeline.mode import Decision, Generation, decide, due, recorded_spec
from pipesched.pipeline.model import Scan
from pipesched.pipeline.session import Session, Stopped
from pipesched.pipeline.stores import Probe
from pipesched.pipeline.update import update
from pipesched.pipeline.work import Work
from pipesched.report import LengthStatistics, Outcome


class Run:
    """One run over an open session."""

    def __init__(self, session: Session, *, rebuild: bool, check: Check) -> None:
        self.session = session
        self.options = session.options
        self.manifest = session.manifest
        self.tally = session.tally
        self.rebuild = rebuild
        self.check = check
        self.work = Work(session)

    def outcome(self) -> Outcome:
        """Do it; a run that was asked to stop ends here, between two batches."""
        decision = Decision("incremental", "stopped before it decided")
        interrupted = False
        try:
            found = look(
                self.session, check=self.check, replacing=self.rebuild or self.options.force_recreate
            )
            live, present = found.live, found.present is not None
            self.work.time("look")
            target, decision, building = self._decide(live, imported=found.imported)
            self.work.time("model")
            scan = self._scan()
            if decision.build:
                from pipesched.pipeline.build import build

                begun = building if decision.resume else None
                build(self.work, decision, target, live, begun, scan, present=present)
            else:
                update(self.work, decision, target, live, scan, present=present)
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
        target = IndexSettings.of(options, session.identify(recorded_spec(live, building)))
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
        self.work.time("scan")
        return scan

    # the end

    def _retire(self) -> None:
        if due(self.manifest.generations("retired"), self.session.started):
            from pipesched.pipeline.generations import drop_retired

            drop_retired(self.session)

    def _leave(self) -> None:
        """Let go of the store, remove what Chroma left behind, and record what it looks like now."""
        session = self.session
        if self.manifest.get("checked") is None:
            self.manifest.put("checked", session.timestamp)
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
        self.work.time("finish")

    def _outcome(self, decision: Decision, *, interrupted: bool) -> Outcome:
        live = self.manifest.generation("live")
        return self.tally.outcome(
            decision,
            self.manifest.counts(live.number)[1] if live else 0,
            self.manifest.lengths(live.number) if live else LengthStatistics(),
            notes=self.session.notes,
            timings=self.session.timings,
            interrupted=interrupted,
        )
