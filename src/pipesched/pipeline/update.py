"""Bring the live generation in step with the folder."""

from __future__ import annotations

from dataclasses import replace

from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.mode import Decision, Generation
from pipesched.pipeline.model import Scan
from pipesched.pipeline.session import mark_of
from pipesched.pipeline.work import Work


def update(
    work: Work,
    decision: Decision,
    target: IndexSettings,
    live: Generation | None,
    scan: Scan,
    *,
    present: bool,
) -> Generation:
    """Bring the live generation in step, or make the first one. `present`: its collection is there."""
    session, options, manifest = work.session, work.session.options, work.manifest
    if live is None or not live.uuid:
        from pipesched.pipeline.generations import begin

        generation = live or begin(session, decision, target)
    else:
        generation = live
    recorded = manifest.files(generation.number)
    plan = work.plan(
        scan,
        recorded,
        read_all=decision.read_all,
        allow_mass_delete=options.allow_mass_delete,
    )
    work.time("plan")
    if not present:
        from pipesched.pipeline.generations import create_collection

        generation = create_collection(session, generation)
    work.tell(plan, recorded)
    work.restamp(plan, generation, scan)
    if not plan.nothing_to_do:
        vectors = work.vectors(generation, generation, target)
        work.do(plan, generation, vectors, target, scan, recorded)
    current = replace(
        generation,
        settings=target,
        data_dir=options.data_dir,
        pattern=options.data_dir_pattern,
        documents=session.documents,
        fresh_after=None,
    )
    if mark_of(current) != mark_of(generation) or manifest.get("unannounced"):
        session.put_mark(current)
    if current != generation:
        manifest.put_generation(current)
    return current
