"""A new generation beside the live one: made, checked, swapped in by two renames, the old one dropped after a while."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pipesched.errors import DataError, PipeschedError
from pipesched.pipeline import faults
from pipesched.pipeline.drift import TOLERANCE
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.mode import Decision, Generation, due
from pipesched.pipeline.session import Session, mark_of
from pipesched.report import counted

_LONG_AGO: Final = "1970-01-01T00:00:00+00:00"

SAMPLE = 20
"""Rows whose vectors are compared, and that are searched for, before a swap."""


def begin(session: Session, decision: Decision, target: IndexSettings) -> Generation:
    """Record a new generation that is about to be built: beside the live one, or in the empty place of it."""
    known = session.manifest.generations()
    number = 1 + max((generation.number for generation in known), default=0)
    beside = decision.build
    # One in the empty place needs the name as well, when another takes its place.
    taken = set(session.names().values())
    while f"{session.collection}__g{number}" in taken:  # left behind by a run whose manifest was lost
        number += 1
    generation = session.manifest.put_generation(
        Generation(
            number=number,
            name=f"{session.collection}__g{number}" if beside else session.collection,
            uuid="",
            state="building" if beside else "live",
            settings=target,
            data_dir=session.options.data_dir,
            pattern=session.options.data_dir_pattern,
            documents=session.documents,
            mode=decision.mode,
            reason=decision.reason,
            fresh_after=session.cache.last_number() if decision.fresh else None,
            since=session.timestamp,
        )
    )
    faults.reach("generation-recorded")
    return generation


def create_collection(session: Session, generation: Generation) -> Generation:
    """Make the generation's collection, empty, with our mark."""
    if generation.state == "live":
        session.changing()  # it says that it is being filled, until a run comes to its end
    info = session.store.create(
        generation.name, mark_of(generation, changed=session.moment, filling=True).to_metadata()
    )
    session.names()[info.uuid] = generation.name
    faults.reach("created")
    return session.manifest.put_generation(replace(generation, uuid=info.uuid))


def check(session: Session, generation: Generation) -> None:
    """Whether the new generation is whole. Raises DataError, which leaves the live one as it is."""
    session.progress.phase("checking")
    rows = session.manifest.database.rows(
        "SELECT id, text_hash FROM chunks WHERE generation = ?", (generation.number,)
    )
    wanted = {row[0] for row in rows}
    found = session.store.ids(generation.name)
    if wanted != found:
        raise _unsound(f"{counted(len(wanted - found), 'row')} missing and {len(found - wanted)} too many")
    sample = dict(rows[:: max(1, len(rows) // SAMPLE)][:SAMPLE])
    assert generation.settings is not None
    cached = session.cache.get(generation.settings.spec, list(sample.values()))
    for record in session.store.get(generation.name, list(sample), vectors=True):
        text = sample[record.id]
        if record.vector is None or text not in cached:
            raise _unsound(f"row {record.id} has no vector")
        if float(abs(record.vector - cached[text]).max()) > TOLERANCE:
            raise _unsound(f"row {record.id} has another vector than its text")
        hits = session.store.query(generation.name, record.vector, limit=1, where={})
        if not hits or hits[0].score < 1.0 - 1e-3:
            raise _unsound(f"a search for row {record.id} does not find it")
    faults.reach("generation-checked")


def _unsound(why: str) -> DataError:
    return DataError(
        f"the new generation is not sound: {why}; the live one stays as it is",
        hint="run it again; if it stays so, check the disk and the store",
        code="generation_check_failed",
    )


def swap(session: Session, live: Generation | None, new: Generation, *, live_is_there: bool) -> None:
    """Put `new` in the place of `live`; a crash in between is finished by the next run."""
    session.put_mark(new)
    session.manifest.put("swap", {"old": live.number if live else None, "new": new.number})
    faults.reach("swap-recorded")
    if live is not None and live_is_there:
        session.rename(session.collection, _retired_name(session, live))
        faults.reach("swap-half")
    session.rename(new.name, session.collection)
    faults.reach("swap-done")
    _commit_swap(session, live, new)


def finish_swap(session: Session) -> None:
    """Finish the swap that a crash cut in two: the collections' UUIDs say how far it came."""
    recorded = session.manifest.get("swap")
    if recorded is None:
        return
    generations = {generation.number: generation for generation in session.manifest.generations()}
    old, new = generations.get(recorded["old"]), generations.get(recorded["new"])
    names = session.names()
    if new is None or new.uuid not in names:
        # Somebody removed the new one. The old one goes back to its place.
        if old is not None and names.get(old.uuid) == _retired_name(session, old):
            session.rename(_retired_name(session, old), session.collection)
        session.manifest.put("swap", None)
        return
    there = names.get(new.uuid)
    if there != session.collection:
        holder = next((uuid for uuid, name in names.items() if name == session.collection), None)
        if old is not None and holder == old.uuid:
            session.rename(session.collection, _retired_name(session, old))
        elif holder is not None:
            session.manifest.put("swap", None)  # the place was taken by somebody else: the run decides anew
            return
        assert there is not None
        session.rename(there, session.collection)
    _commit_swap(session, old, new)
    session.notes.append("a swap that was cut short was finished")


def _commit_swap(session: Session, old: Generation | None, new: Generation) -> None:
    manifest = session.manifest
    # Nobody can read a damaged one: it goes as soon as it can.
    since = _LONG_AGO if session.collection in session.damaged else session.timestamp
    with manifest.database.transaction():
        if old is not None:
            manifest.clear(old.number)
            manifest.put_generation(
                replace(old, state="retired", name=_retired_name(session, old), since=since)
            )
        manifest.put_generation(
            replace(new, state="live", name=session.collection, fresh_after=None, since=session.timestamp)
        )
        manifest.put("swap", None)
    faults.reach("swap-committed")


def _retired_name(session: Session, generation: Generation) -> str:
    return f"{session.collection}__g{generation.number}"


def drop(session: Session, generation: Generation) -> None:
    """Remove a generation of ours that is not live, wherever it is named now, and forget it."""
    name = session.names().get(generation.uuid)
    if name is not None and name != session.collection:
        session.store.drop(name)
    with session.manifest.database.transaction():
        session.manifest.forget_generation(generation.number)
    session.dropped = True


def drop_retired(session: Session) -> None:
    for generation in due(session.manifest.generations("retired"), session.started):
        try:
            drop(session, generation)
        except PipeschedError as error:
            session.notes.append(
                f"the replaced generation {generation.name} could not be dropped: {error.message}"
            )
        faults.reach("retired-dropped")
