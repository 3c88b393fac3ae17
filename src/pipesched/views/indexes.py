"""Each collection that jobs write to: how fresh it is, what it holds, and what of it failed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipesched.errors import InvalidValue
from pipesched.runs.model import CHUNKS, DRIFTED, FAILED, WITHHELD, JobSummary, Run
from pipesched.views.ages import count, span

if TYPE_CHECKING:
    from pipesched.jobs.model import JobFile
    from pipesched.options import PipelineConfig

HELD: Final = ("new", "modified", "renamed", "unchanged")
"""Outcomes of documents that are in the collection after a sync."""


@dataclass(frozen=True, slots=True)
class Place:
    """A collection as jobs are to write to it now. `storage`: a folder, links resolved, or a server.

    `job_ids`: in the job file's order; those whose runs are all dry write nowhere.
    """

    storage: str
    name: str
    model: str
    server: bool
    job_ids: tuple[str, ...]

    @property
    def shown(self) -> str:
        """`storage` for people and machines: bytes of a name that are no UTF-8 as escapes."""
        return self.storage.encode("utf-8", "backslashreplace").decode()


def places(job_file: JobFile, environment: PipelineConfig, home: Path) -> tuple[Place, ...]:
    """Each once, in the job file's order; a job whose options do not fit together has none."""
    from pipesched.jobs.sharing import Resolver

    resolver = Resolver(defaults=job_file.defaults.config, environment=environment, home=home)
    real = lru_cache(maxsize=None)(os.path.realpath)
    found: dict[tuple[str, str], tuple[str, bool, list[str]]] = {}
    for job in job_file.jobs.values():
        try:
            options = resolver.job(job)
        except InvalidValue:
            continue
        if options.dry_run:
            continue
        server = options.store_is_server
        storage = options.storage_path if server else real(options.storage_path)
        known = found.setdefault((storage, options.collection_name), (options.embedding_model, server, []))
        known[2].append(job.id)
    return tuple(
        Place(storage, name, model, server, tuple(job_ids))
        for (storage, name), (model, server, job_ids) in found.items()
    )


def documents_held(counts: Mapping[str, int]) -> int | None:
    """By what a sync counted; None: nothing has been counted yet."""
    return sum(counts.get(outcome, 0) for outcome in HELD) if counts else None


@dataclass(frozen=True, slots=True)
class CollectionView:
    """A collection at the snapshot's time, from what the ledger knows of its jobs.

    `sync`: the newest of its jobs' syncs, `counts` what that counted, `job_id` whose it was; None and empty: never yet.
    `last`: the newest run that ended or is under way. A job that was given another collection counts for the new one at once.
    """

    place: Place
    job_id: str | None
    sync: Run | None
    counts: Mapping[str, int]
    last: Run | None

    @property
    def synced_at(self) -> datetime | None:
        return None if self.sync is None else self.sync.finished_at

    @property
    def documents(self) -> int | None:
        """None: not counted yet, as `chunks`."""
        return documents_held(self.counts)

    @property
    def chunks(self) -> int | None:
        return self.counts.get(CHUNKS)

    @property
    def failed_documents(self) -> int:
        return self.counts.get("failed", 0)

    @property
    def withheld_deletes(self) -> int:
        return self.counts.get(WITHHELD, 0)

    @property
    def drifted_chunks(self) -> int:
        return self.counts.get(DRIFTED, 0)

    @property
    def last_error(self) -> str | None:
        """Why its newest run failed or was partial; None where it was neither."""
        return why_bad(self.last)

    def words(self, now: datetime, *, placed: bool = False) -> str:
        """`posts: 7 h old, 12 documents, 40 chunks; 1 document failed, deletes of 3 withheld`, for people.

        `placed`: with its store, where there is another of its name.
        """
        name = f"{self.place.name} in {self.place.shown}" if placed else self.place.name
        if self.synced_at is None:
            return f"{name}: no sync by its jobs yet"
        held = [
            f"{span(now - self.synced_at)} old",
            "" if self.documents is None else count(self.documents, "document"),
            "" if self.chunks is None else count(self.chunks, "chunk"),
        ]
        wrong = [
            f"{count(self.failed_documents, 'document')} failed" if self.failed_documents else "",
            f"deletes of {self.withheld_deletes} withheld" if self.withheld_deletes else "",
            f"{count(self.drifted_chunks, 'chunk')} changed by others" if self.drifted_chunks else "",
        ]
        parts = [", ".join(filter(None, each)) for each in (held, wrong)]
        return f"{name}: {'; '.join(filter(None, parts))}"

    def age(self, now: datetime) -> float | None:
        """Seconds since the newest sync."""
        return None if self.synced_at is None else max(0.0, (now - self.synced_at).total_seconds())

    def as_json(self, now: datetime) -> dict[str, Any]:
        """An element of `collections` in the status document."""
        age = self.age(now)
        return {
            "collection_name": self.place.name,
            "storage_path": self.place.shown,
            "jobs": list(self.place.job_ids),
            "last_success": None if self.synced_at is None else self.synced_at.astimezone(UTC).isoformat(),
            "age_seconds": None if age is None else round(age, 3),
            "documents": self.documents,
            "chunks": self.chunks,
            "failed_documents": self.failed_documents,
            "withheld_deletes": self.withheld_deletes,
            "drifted_chunks": self.drifted_chunks,
            "last_status": None if self.last is None else self.last.status,
            "last_error": self.last_error,
        }


def why_bad(run: Run | None) -> str | None:
    """Why a run failed or was partial; None where it did neither, or is not over."""
    if run is None or run.status not in FAILED | {"partial"}:
        return None
    return run.reason or run.status


def collection_views(
    known: Iterable[Place], summaries: Mapping[str, JobSummary]
) -> tuple[CollectionView, ...]:
    return tuple(_view(place, summaries) for place in known)


def _view(place: Place, summaries: Mapping[str, JobSummary]) -> CollectionView:
    mine = [(job_id, summaries[job_id]) for job_id in place.job_ids if job_id in summaries]
    synced = [
        (summary.last_sync.finished_at, job_id, summary)
        for job_id, summary in mine
        if summary.last_sync is not None and summary.last_sync.finished_at is not None
    ]
    started = [
        (summary.last_run.started_at, summary.last_run)
        for _, summary in mine
        if summary.last_run is not None and summary.last_run.started_at is not None
    ]
    last = max(started, key=lambda each: each[0])[1] if started else None
    if not synced:
        return CollectionView(place, None, None, {}, last)
    _, job_id, summary = max(synced, key=lambda each: each[:2])
    return CollectionView(place, job_id, summary.last_sync, summary.documents, last)


def stalest(collections: Iterable[CollectionView]) -> list[CollectionView]:
    """The one that has waited longest for a sync first, those that never had one before all."""
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(collections, key=lambda each: (each.synced_at or never, each.place.name))
