"""A collection that the manifest does not know: ours by its mark, and read back, or somebody else's."""

from __future__ import annotations

import re

from pipesched.errors import CollectionNotOurs
from pipesched.options import PipelineOptions
from pipesched.pipeline import drift, faults
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.manifest import manifest_path
from pipesched.pipeline.mode import Generation
from pipesched.pipeline.session import Session
from pipesched.pipeline.stores.inspection import inspect_folder
from pipesched.pipeline.stores.mark import Mark


def take_over(session: Session, live: Generation | None) -> Generation:
    """The live generation as the collection's mark describes it, its rows read back into the manifest.

    Without a mark: with --adopt a generation of unknown settings, which is replaced by one of ours. Raises CollectionNotOurs,
    and SettingsConflict (another folder's), with nothing changed.
    """
    options, manifest = session.options, session.manifest
    info = session.store.find(session.collection)
    assert info is not None
    mark = Mark.from_metadata(info.metadata)
    if mark is None and not options.adopt:
        raise not_ours(options)
    numbers = [generation.number for generation in manifest.generations() if generation is not live]
    number = max([mark.generation if mark else 1, 1, *(number + 1 for number in numbers)])
    generation = Generation(
        number=number,
        name=session.collection,
        uuid=info.uuid,
        state="live",
        settings=_settings(session, mark),
        data_dir=mark.data_dir if mark else "",
        pattern=mark.data_dir_pattern if mark else "",
        documents="",
        mode="full",
        reason="",
        fresh_after=None,
        since=session.timestamp,
    )
    session.check_filled_from(generation.data_dir)
    extra: list[str] = []
    # All or nothing: a generation that is recorded without its rows would have them all for somebody else's.
    with manifest.database.transaction():
        if live is not None:
            manifest.forget_generation(live.number)
        manifest.put_generation(generation)
        if mark is not None:
            session.progress.phase("reading the collection back")
            extra = drift.read_back(manifest, number, session.store.pages(session.collection))
            faults.reach("read-back")
    session.store.delete(session.collection, extra)
    return generation


def not_ours(options: PipelineOptions) -> CollectionNotOurs:
    return CollectionNotOurs(
        f"the collection {options.collection_name} in {options.storage_path} was not made by pipesched",
        hint="name another --collection-name; with --adopt it is replaced by one of pipesched's",
    )


def retire_strays(session: Session) -> None:
    """Record generations beside the collection that the lost manifest knew: they are dropped after their grace, as it would have done."""
    manifest = session.manifest
    known = {generation.number for generation in manifest.generations()}
    beside = re.compile(re.escape(session.collection) + r"__g(\d+)")
    for uuid, name in sorted(session.names().items()):
        number = int(found[1]) if (found := beside.fullmatch(name)) else 0
        if not number or number in known or name in session.damaged:
            continue
        # One that has a manifest of its own is somebody's collection by that name.
        if manifest_path(manifest.database.path.parent, session.options.storage_path, name).exists():
            continue
        info = session.store.find(name)
        mark = Mark.from_metadata(info.metadata) if info else None
        if mark is None or mark.generation != number:
            continue
        manifest.put_generation(
            Generation(
                number=number,
                name=name,
                uuid=uuid,
                state="retired",
                settings=None,
                data_dir=mark.data_dir,
                pattern=mark.data_dir_pattern,
                documents="",
                mode="full",
                reason="",
                fresh_after=None,
                since=session.timestamp,
            )
        )


def discard_unreadable(session: Session, live: Generation | None) -> None:
    """Drop a collection of ours that can be neither read nor told from its record. Raises CollectionNotOurs, DataError."""
    options = session.options
    found = inspect_folder(options.storage_path, session.collection) if not session.store_is_open else None
    if found is None or (found.mark is None and not options.adopt):
        raise CollectionNotOurs(
            f"the collection {session.collection} in {options.storage_path} is damaged, and nothing says that it is pipesched's",
            hint="name another --collection-name; with --adopt it is replaced by one of pipesched's",
        )
    session.store.drop(session.collection)
    session.dropped = True
    if live is not None:
        session.manifest.forget_generation(live.number)


def _settings(session: Session, mark: Mark | None) -> IndexSettings | None:
    """What the mark says about the settings: all of them if it agrees with those of now, else only the model."""
    if mark is None:
        return None
    now = IndexSettings.of(session.options, mark.spec)
    if now.digest == mark.settings:
        return now
    return IndexSettings.of_unknown(mark.spec)
