"""The rules of health about what is indexed: withheld deletes, drift, the embedder. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipesched.views.ages import ago, count
from pipesched.views.checks import RANK, Check

NAMED = 3
"""So many collections or models are named in one message; the others are counted."""


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """One collection after its newest sync. `job_id`, `synced_at`: whose that was, and when; None: never yet."""

    name: str
    job_id: str | None = None
    synced_at: datetime | None = None
    withheld: int = 0
    drifted: int = 0


@dataclass(frozen=True, slots=True)
class EmbedderFacts:
    """One model that enabled jobs embed with.

    `asked`: its server was asked just now; `down`: (message, hint) of what is wrong with it. `failed`: (job id, reason) of a
    job whose newest finished run found a service unavailable.
    """

    model: str
    asked: bool = False
    down: tuple[str, str] | None = None
    failed: tuple[str, str] | None = None

    @property
    def is_up(self) -> bool:
        """As its server says; where nobody asked, as the last runs found it."""
        return self.down is None and (self.asked or self.failed is None)


def check_deletes(collections: Sequence[CollectionFacts], now: datetime) -> Check:
    found = [each for each in collections if each.withheld]
    if not found:
        return Check("pass", "none withheld")
    said = [
        f"of {count(each.withheld, 'document')} in the collection {each.name} (job {each.job_id}, {_when(each, now)})"
        for each in found
    ]
    return Check(
        "warn",
        f"degraded: deletes are withheld, {_named(said)}",
        "is the data folder mounted, and whole? If the documents are really gone:"
        f" pipesched run {found[0].job_id} --allow-mass-delete",
    )


def check_drift(collections: Sequence[CollectionFacts], now: datetime) -> Check:
    """What a run found is mended by it; that somebody else writes to the collection stays worth knowing until the next sync."""
    found = [each for each in collections if each.drifted]
    if not found:
        return Check("pass", "the newest syncs found none")
    said = [
        f"{count(each.drifted, 'chunk')} of the collection {each.name} (found and mended by {each.job_id}, {_when(each, now)})"
        for each in found
    ]
    return Check(
        "warn",
        f"degraded: somebody else changed {_named(said)}",
        f"see whether it is whole: pipesched verify --deep --job {found[0].job_id}; find out who else writes to the store",
    )


def check_embedder(embedders: Sequence[EmbedderFacts]) -> Check:
    """The worst of the models."""
    found = sorted((_embedder(each) for each in embedders), key=lambda check: -RANK[check.status])
    bad = [check for check in found if check.status != "pass"]
    if not bad:
        return Check("pass", _named([check.message for check in found]))
    return Check(bad[0].status, _named([check.message for check in bad]), bad[0].hint)


def _embedder(facts: EmbedderFacts) -> Check:
    """Down fails where a run was lost to it, and warns where none has needed it yet."""
    if facts.down is not None:
        message, hint = facts.down
        if facts.failed is not None:
            return Check("fail", f"{facts.model}: {message}; the last run of {facts.failed[0]} failed", hint)
        return Check("warn", f"{facts.model}: {message}; the next run that has to embed would fail", hint)
    if facts.failed is not None:
        job_id, reason = facts.failed
        if facts.asked:
            return Check("pass", f"{facts.model} answers again; it failed the last run of {job_id}")
        return Check(
            "warn",
            f"{facts.model}: the last run of {job_id} failed: {reason}",
            f"pipesched doctor --job {job_id}",
        )
    return Check("pass", f"{facts.model} {'answers' if facts.asked else 'needs no server'}")


def _when(facts: CollectionFacts, now: datetime) -> str:
    return "some time ago" if facts.synced_at is None else ago(facts.synced_at, now)


def _named(said: Sequence[str]) -> str:
    more = f" (and {len(said) - NAMED} more)" if len(said) > NAMED else ""
    return "; ".join(said[:NAMED]) + more
