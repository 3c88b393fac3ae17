"""Build a new generation beside the live one, with all that stays of the old, and swap it in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipesched.errors import DataError, PipeschedError
from pipesched.pipeline import drift, generations
from pipesched.pipeline.batches import Batch, Item
from pipesched.pipeline.differences import document_differences
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.manifest import Entry
from pipesched.pipeline.mode import Decision, Generation
from pipesched.pipeline.model import Scan
from pipesched.pipeline.plan import DocumentPlan, RecordedFile
from pipesched.pipeline.rows import UNKNOWN, plan_rows, row_of
from pipesched.pipeline.writer import Writer
from pipesched.report import ItemError

if TYPE_CHECKING:
    from pipesched.pipeline.work import Work

_CARRY = 100
"""Documents carried over at a time."""


def build(
    work: Work,
    decision: Decision,
    target: IndexSettings,
    live: Generation | None,
    begun: Generation | None,
    scan: Scan,
    *,
    present: bool,
) -> Generation:
    """Fill `begun`, or a new generation, with the whole folder; check it; put it in the place of `live`.

    What is in `live` stays untouched until then. Documents that failed, or whose deletion is withheld, are carried over.
    """
    session, manifest = work.session, work.manifest
    generation = begun or generations.begin(session, decision, target)
    generation = _collection(work, generation)
    before = manifest.files(live.number) if live else {}
    moved = live is not None and live.data_dir != session.options.data_dir and session.options.force_recreate
    fate = work.plan(
        scan, before, read_all=False, allow_mass_delete=session.options.allow_mass_delete or moved
    )
    recorded = manifest.files(generation.number)
    plan = work.plan(scan, recorded, read_all=False, allow_mass_delete=True)
    vectors = work.vectors(generation, live, target)
    work.do(plan, generation, vectors, target, scan, recorded, count=False)

    failed = {failure.source for failure, _ in work.failed} | {failure.source for failure in scan.failures}
    stays = [
        source
        for source in (*fate.withheld, *(kept.source for kept in fate.kept), *failed)
        if source in before
    ]
    if live is not None:
        with Writer() as writer:
            for batch in _carried(work, live, generation, stays):
                work.put(batch, generation, vectors, writer, count=False)
    session.check_stop()
    try:
        generations.check(session, generation)
    except PipeschedError:
        generations.drop(session, generation)
        raise
    _count(work, fate, before, generation, live, set(stays))
    generations.swap(session, live, generation, live_is_there=present)
    return generation


def _collection(work: Work, generation: Generation) -> Generation:
    """The generation's collection: made, or as an earlier run left it."""
    session, manifest = work.session, work.manifest
    there = session.look(generation.name)
    if there is not None and generation.uuid == there.uuid:
        found = drift.compare(
            manifest, generation.number, session.store.pages(generation.name), cache=None, spec=None
        )
        drift.mend(manifest, generation.number, session.store, generation.name, found)
        return generation
    manifest.clear(generation.number)
    if there is not None:  # made by a run that died before it could record it
        session.store.drop(generation.name)
        session.dropped = True
    return generations.create_collection(session, generation)


def _carried(work: Work, live: Generation, generation: Generation, sources: Sequence[str]) -> Iterator[Batch]:
    """What the live generation holds of `sources`, to be put into the new one as it is."""
    session, manifest = work.session, work.manifest
    files = manifest.files(live.number)
    for start in range(0, len(sources), _CARRY):
        page = sources[start : start + _CARRY]
        rows = manifest.rows_of(live.number, page)
        known = manifest.rows_of(generation.number, page)
        batch = Batch()
        for source in page:
            try:
                if live.name in session.damaged:
                    raise DataError(session.damaged[live.name], code="store_damaged")
                records = session.store.get(live.name, sorted(rows[source]))
            except PipeschedError as error:
                message = f"its old version cannot be carried over: {error.message}"
                work.tally.errors.append(ItemError(source=source, code=error.code, message=message))
                continue
            old = sorted((row for record in records if (row := row_of(record))), key=lambda row: row.ordinal)
            file = files[source]._replace(stamp="", parse=UNKNOWN, chunks=len(old))
            plan = plan_rows(old, known[source])
            batch.items.append(Item(source, None, "", plan, Entry(file, old, sum(len(r.text) for r in old))))
        yield batch


def _count(
    work: Work,
    fate: DocumentPlan,
    before: dict[str, RecordedFile],
    generation: Generation,
    live: Generation | None,
    stays: set[str],
) -> None:
    """Count by comparing the generations: what a reader sees change at the swap."""
    tally, manifest = work.tally, work.manifest
    for failure in fate.failures:
        known = before.get(failure.source)
        tally.fail(failure, known.chunks if known else 0)
    for failure in fate.kept:
        tally.change(failure.source, "failed", failure.message, before[failure.source].chunks)
    for failure, chunks in work.failed:
        tally.fail(failure, before[failure.source].chunks if failure.source in before else chunks)
    if fate.withheld:
        tally.withhold(fate)
    after = manifest.files(generation.number)
    for source, reason in fate.skipped:
        if source not in after:
            tally.change(source, "skipped", reason, 0)
    for change in document_differences(before, after):
        if change.source in stays:
            continue
        if change.change is None:
            tally.unchanged += 1
        else:
            tally.change(change.source, change.change, change.reason, change.chunks)
    added, updated, deleted = manifest.differences(live.number if live else None, generation.number)
    tally.added, tally.updated, tally.deleted = added, updated, deleted
