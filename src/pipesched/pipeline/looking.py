"""What is there when a run begins: what a dead run left is put right, and the record made to agree with the collection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pipesched.pipeline.mode import Generation
from pipesched.pipeline.session import Session
from pipesched.pipeline.stores import Probe
from pipesched.pipeline.stores.probe import UNMARKED
from pipesched.report import counted

Check = Literal["probe", "rows", "vectors"]
"""How closely the collection is compared with the record: by its counters, row by row, or vector by vector."""


@dataclass(frozen=True, slots=True)
class Met:
    """`live`: the generation as recorded; `present`: the collection as it is; `imported`: the record was made anew from it."""

    live: Generation | None
    present: Probe | None
    imported: bool = False


def look(session: Session, *, check: Check, replacing: bool) -> Met:
    """Mark whatever differs from the record, so that the plan restores it. `replacing`: the live generation is built anew anyway."""
    manifest = session.manifest
    session.progress.phase("looking")
    if manifest.get("swap") is not None:
        from pipesched.pipeline.generations import finish_swap

        finish_swap(session)
    for generation in manifest.generations():
        if recovered := manifest.recover(generation.number):
            session.notes.append(f"{counted(recovered, 'document')} of a run that died put right")
    live = manifest.generation("live")
    present = session.look(session.collection)
    if present is not None and session.collection in session.damaged:
        if live is not None and live.uuid == present.uuid:
            return Met(live, present)
        from pipesched.pipeline.takeover import discard_unreadable

        discard_unreadable(session, live)
        return Met(None, None)
    # Whoever asks for a new generation may know why.
    session.suspect |= replacing and present is not None
    # Without a UUID it was made, and not yet recorded, when a run died: empty, or somebody else's.
    if present is not None and (live is None or present.uuid != live.uuid):
        from pipesched.pipeline.takeover import retire_strays, take_over

        taken = take_over(session, live)
        retire_strays(session)
        return Met(taken, present, imported=True)
    session.check_data_dir(live, manifest.generation("building"))  # before anything in the store is mended
    if live is not None and live.uuid:
        _check_drift(session, live, present, check=check, replacing=replacing)
    elif live is None and any(
        name.startswith(f"{session.collection}__g") for name in session.names().values()
    ):
        from pipesched.pipeline.takeover import retire_strays

        retire_strays(session)
    return Met(live, present)


CHECK_AFTER: Final = timedelta(days=1)
"""How often a run reads the store's database page by page (1 s for 100 MB): while no post changes, nothing else meets damage."""


def _is_check_due(session: Session) -> bool:
    if session.options.store_is_server:
        return False
    if session.options.incremental_mode == "full":
        return True
    checked = session.manifest.get("checked")
    return checked is not None and datetime.fromisoformat(checked) + CHECK_AFTER <= session.started


def _check_drift(
    session: Session, live: Generation, present: Probe | None, *, check: Check, replacing: bool
) -> None:
    manifest, recorded = session.manifest, session.manifest.probe()
    if present is None:
        from pipesched.pipeline.drift import mark_all_missing

        session.tally.drifted = manifest.counts(live.number)[1]
        mark_all_missing(manifest, live.number)
        session.notes.append("the collection was gone: it is put in again")
        return
    same = recorded is not None and recorded.count == present.count
    if same and recorded is not None and -1 not in (recorded.writes, present.writes):
        same = recorded.writes == present.writes
    if not session.store_is_open and _is_check_due(session):
        session.progress.phase("checking the store's database")
        manifest.put("checked", session.timestamp)
        if session.backends.database_trouble(session.options.storage_path):
            session.suspect = True  # it is examined, and made anew, when it is opened
            same = False
    if recorded and recorded.files and recorded.files != present.files and not session.store_is_open:
        # Only a writer changes these, and it was none of ours: Chroma may die of them.
        session.suspect = True
        same = False
    if present.mark == UNMARKED:
        session.notes.append("the collection had lost pipesched's mark, and has it again")
        session.changing()  # the mark is put at the end
    elif recorded and recorded.mark and present.mark and recorded.mark != present.mark:
        session.changing()
    # One that will be replaced may be beyond reading.
    if (same and check == "probe") or replacing:
        return
    from pipesched.pipeline import drift

    session.progress.phase("comparing")
    # Whoever wrote to it may have written vectors too.
    vectors = check == "vectors" or not same
    found = drift.compare(
        manifest,
        live.number,
        session.store.pages(live.name, vectors=vectors),
        cache=session.cache if vectors else None,
        spec=live.settings.spec if live.settings else None,
    )
    if found:
        session.tally.drifted = found.count
        session.changing()
        drift.mend(manifest, live.number, session.store, live.name, found)
        session.notes.append(f"the collection differed from its record: {found.words()}; mended")
