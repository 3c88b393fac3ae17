"""Whether a run updates the live generation or builds a new one, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pipesched.options import PipelineOptions
from pipesched.pipeline.index_settings import IndexSettings
from pipesched.pipeline.model import ModelSpec
from pipesched.report import RunMode

GenerationState = Literal["live", "building", "retired"]


@dataclass(frozen=True, slots=True)
class Generation:
    """One collection of ours in the store.

    `uuid` is "" until it is made. `settings` None: not known to this version (an adopted collection, a newer one).
    `fresh_after`: while it is built, cached vectors up to this number of the cache are not taken. Times RFC 3339.
    """

    number: int
    name: str
    uuid: str
    state: GenerationState
    settings: IndexSettings | None
    data_dir: str
    pattern: str
    documents: str
    mode: RunMode
    reason: str
    fresh_after: int | None
    since: str


def recorded_spec(*generations: Generation | None) -> ModelSpec | None:
    """The model of the first of `generations` whose settings are known."""
    return next((each.settings.spec for each in generations if each and each.settings), None)


GRACE: Final = timedelta(hours=1)
"""How long a replaced generation stays for readers that hold it open."""


def due(retired: Sequence[Generation], now: datetime) -> list[Generation]:
    """The retired generations whose grace is over."""
    return [generation for generation in retired if datetime.fromisoformat(generation.since) + GRACE <= now]


@dataclass(frozen=True, slots=True)
class Decision:
    """`build`: beside the live generation, else in it. `resume`: the unfinished one goes on. `read_all`: whatever the stamps say."""

    mode: RunMode
    reason: str
    build: bool = False
    resume: bool = False
    fresh: bool = False
    read_all: bool = False


def decide(
    options: PipelineOptions,
    target: IndexSettings,
    documents: str,
    *,
    live: Generation | None,
    building: Generation | None,
    rebuild: bool,
    imported: bool,
    damaged: str = "",
) -> Decision:
    """`documents`: the digest of the document settings; `imported`: the manifest was lost and read back from the collection.

    `damaged`: why the live collection cannot be read.
    """
    begun = (
        building is not None
        and building.settings is not None
        and building.settings.digest == target.digest
        and building.data_dir == options.data_dir
        and (building.fresh_after is not None or not options.force_recreate)
    )
    if building is not None and begun:
        reason = f"goes on with the generation that an earlier run began ({building.reason})"
        return Decision(building.mode, reason, build=True, resume=True)
    if options.force_recreate:
        reason = "--force-recreate: a new generation, every text embedded once again"
        return Decision("rebuild", reason, build=live is not None, fresh=True)
    if rebuild:
        return Decision(
            "rebuild", "asked for: a new generation, through the embedding cache", build=live is not None
        )
    if live is not None and damaged:
        reason = f"the index was damaged ({damaged}): a new generation, through the embedding cache"
        return Decision("rebuild", reason, build=True)
    if live is None:
        wanted = options.incremental_mode
        reason = "nothing was indexed before"
        if wanted == "incremental":
            return Decision("incremental", f"as asked; {reason}, so that every document is new")
        return Decision("full", reason if wanted == "auto" else f"as asked; {reason}")
    if live.settings is None:
        return Decision("full", "the collection is built anew, beside what it holds now", build=True)
    changed = live.settings.differences(target)
    if changed:
        return Decision("full", f"{'; '.join(changed)}: a new generation", build=True)
    return _in_place(options, documents, live=live, imported=imported)


def _in_place(options: PipelineOptions, documents: str, *, live: Generation, imported: bool) -> Decision:
    if options.incremental_mode == "full":
        return Decision("full", "as asked: every document is read again", read_all=True)
    why = ""
    if imported:
        why = "the manifest was lost: it is made anew from the collection and the folder"
    elif live.documents != documents:
        why = "the URL or draft settings changed: metadata is made anew"
    elif live.pattern != options.data_dir_pattern:
        why = f"the pattern changed from {live.pattern} to {options.data_dir_pattern}"
    if options.incremental_mode == "auto":
        return (
            Decision("full", why) if why else Decision("incremental", "the settings agree with the manifest")
        )
    return Decision("incremental", f"as asked; {why}" if why else "as asked")
