"""What one run holds open, each thing from when it is first needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipesched.errors import (
    DataError,
    InputOutputError,
    PipeschedError,
    ServiceUnavailable,
    SettingsConflict,
)
from pipesched.options import PipelineOptions
from pipesched.pipeline.backends import Backends, NoProgress, Note, Progress
from pipesched.pipeline.cache import EmbeddingCache
from pipesched.pipeline.canary import as_told, current
from pipesched.pipeline.documents import DocumentSettings
from pipesched.pipeline.index_settings import IndexSettings, document_digest
from pipesched.pipeline.manifest import Manifest, manifest_path
from pipesched.pipeline.mode import Generation
from pipesched.pipeline.model import OTHER_DIMENSIONS, Embedder, ModelSpec, VectorStore
from pipesched.pipeline.stores import Probe
from pipesched.pipeline.stores.mark import Mark
from pipesched.pipeline.tally import Tally

if TYPE_CHECKING:
    from pipesched.pipeline.batches import Reader


class Stopped(Exception):
    """The run was asked to end, and stands at a batch boundary."""


@dataclass
class Session:
    """One run over one collection; whoever makes it holds the store's lock."""

    options: PipelineOptions
    manifest: Manifest
    cache: EmbeddingCache
    backends: Backends
    progress: Progress
    stop: threading.Event
    started: datetime
    tally: Tally = field(default_factory=Tally)
    notes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """What an earlier attempt of this run met that decides what it does."""
    timings: dict[str, float] = field(default_factory=dict)
    model_error: ServiceUnavailable | None = None
    dropped: bool = False
    """Whether a collection was dropped, so that Chroma has left folders behind."""
    suspect: bool = False
    """Whether the store is looked at in a child process before it is opened here, as after a crash."""
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Collections that may not be read, because Chroma would fail or die of it, and why."""
    changes: bool = False
    """Whether rows were changed that readers have not been told of."""
    _names: dict[str, str] | None = None
    _store: VectorStore | None = None
    _embedder: Embedder | None = None

    @classmethod
    def open(
        cls,
        options: PipelineOptions,
        index_dir: Path,
        *,
        backends: Backends,
        progress: Progress,
        stop: threading.Event,
        started: datetime,
        suspect: bool = False,
        damaged: Mapping[str, str] | None = None,
    ) -> Self:
        """For a run that writes: opens manifest and cache, and makes them if needed."""
        manifest = Manifest.open(manifest_path(index_dir, options.storage_path, options.collection_name))
        try:
            manifest.put_place(options.storage_path, options.collection_name)
            cache = EmbeddingCache.open(index_dir)
        except BaseException:
            manifest.close()
            raise
        return cls(
            options,
            manifest,
            cache,
            backends,
            progress,
            stop,
            started,
            suspect=suspect,
            damaged=damaged or {},
        )

    @classmethod
    def open_to_read(
        cls, options: PipelineOptions, index_dir: Path, *, backends: Backends, started: datetime
    ) -> Self:
        """For what looks only: a copy of the manifest, to be written to without a trace, and the cache as it is."""
        manifest = Manifest.copy(manifest_path(index_dir, options.storage_path, options.collection_name))
        cache = EmbeddingCache.open_to_read(index_dir)
        return cls(options, manifest, cache, backends, NoProgress(), threading.Event(), started)

    @property
    def collection(self) -> str:
        return self.options.collection_name

    @property
    def timestamp(self) -> str:
        """The indexed_timestamp of every row that this run writes."""
        return self.started.isoformat(timespec="seconds")

    @property
    def moment(self) -> str:
        return self.started.isoformat(timespec="microseconds")

    @property
    def document_settings(self) -> DocumentSettings:
        return DocumentSettings(self.options.blog_base_url, self.options.base_url, self.options.index_drafts)

    @property
    def documents(self) -> str:
        return document_digest(self.document_settings)

    @property
    def store(self) -> VectorStore:
        if self._store is None:
            self._examine()
            self.progress.phase("opening the store")
            self._note.make()
            self._store = self.backends.open_store(self.options.storage_path)
        return self._store

    @property
    def store_is_open(self) -> bool:
        return self._store is not None

    def close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
            self._note.clear()

    @property
    def _note(self) -> Note:
        return self.backends.note(self.options.storage_path)

    def _examine(self) -> None:
        """Raises StoreDamaged where a look that a child process takes says so; costs about a second and a half."""
        if self.options.store_is_server or self.damaged or not (self.suspect or self._note.is_left()):
            return
        self.progress.phase("examining the store")
        building = [generation.name for generation in self.manifest.generations("building")]
        found = self.backends.examine(self.options.storage_path, [self.collection, *building], stop=self.stop)
        self.check_stop()
        if not found.is_sound:
            from pipesched.pipeline.stores.examination import StoreDamaged

            raise StoreDamaged(self.options.storage_path, found)
        self.suspect = False

    def changing(self) -> None:
        """Note, durably, that rows are about to change: readers are told when the run, or the next one, is done."""
        if not self.changes:
            self.changes = True
            self.manifest.put("unannounced", True)

    def put_mark(self, generation: Generation) -> None:
        """Let the generation's collection say what it is, that it is whole, and when it last changed."""
        self.store.set_metadata(generation.name, mark_of(generation, changed=self.moment).to_metadata())
        self.manifest.put("unannounced", None)
        self.changes = False

    def embedder(self, spec: ModelSpec) -> Embedder:
        """Opened, and found to be what it was when it is first asked for. Raises ServiceUnavailable, ModelChanged."""
        if self.model_error is not None:
            raise self.model_error
        if self._embedder is None:
            from pipesched.pipeline import canary

            opened = self.backends.open_embedder(spec)
            try:
                canary.check(opened, spec, self.cache)
            except BaseException as error:
                opened.close()
                if isinstance(error, ServiceUnavailable) and error.code == OTHER_DIMENSIONS:
                    self._check_dimensions(spec)
                raise
            self._embedder = opened
        return self._embedder

    def _check_dimensions(self, spec: ModelSpec) -> None:
        """Raises ModelChanged if the model, asked as if it were new, has other dimensions than `spec`."""
        now = self.backends.identify(spec.model)
        if now.dimensions != spec.dimensions:
            from pipesched.pipeline.canary import ModelChanged

            how = f"vectors of {now.dimensions} numbers instead of {spec.dimensions}"
            raise ModelChanged(now, how)

    def identify(self, recorded: ModelSpec | None) -> ModelSpec:
        """What the model is now. While its service is down it is taken for what it was, until something must be embedded."""
        model = self.options.embedding_model
        known = recorded or self.cache.spec(model)
        try:
            # One that was just found to be another is not taken for what was recorded of it.
            told = self.backends.identify(model, recorded=None if self.reasons else as_told(known))
        except ServiceUnavailable as error:
            spec = self.identify_offline(recorded)
            if not spec.fingerprint:
                raise
            self.model_error = error
            self.notes.append(f"the model could not be checked: {error.message}")
            return spec
        return current(told, known, self.cache.revision(told.fingerprint))

    def identify_offline(self, recorded: ModelSpec | None) -> ModelSpec:
        """What the model was when it was last met, asking nobody; its fingerprint is "" where it never was."""
        model = self.options.embedding_model
        known = recorded or self.cache.spec(model)
        told = self.backends.identify(model, recorded=as_told(known), offline=True)
        return current(told, known, self.cache.revision(told.fingerprint))

    def check_data_dir(self, live: Generation | None, building: Generation | None) -> None:
        """Raises SettingsConflict when the collection was filled from another folder."""
        if live is not None and not (building is not None and building.data_dir == self.options.data_dir):
            self.check_filled_from(live.data_dir)

    def check_filled_from(self, data_dir: str) -> None:
        """Raises SettingsConflict where `data_dir` ("": not known) is not the folder of this run."""
        options = self.options
        if not data_dir or options.force_recreate or data_dir == options.data_dir:
            return
        if os.path.realpath(data_dir) == os.path.realpath(options.data_dir):
            return
        raise SettingsConflict(
            f"the collection {options.collection_name} is filled from {data_dir}, not from {options.data_dir}",
            hint="name another --collection-name, or let --force-recreate fill this one from the new folder",
            code="data_dir_conflict",
        )

    def reader(self, settings: IndexSettings, clock_ns: int) -> Reader:
        """How files become rows of a generation with `settings`. `clock_ns`: of the scan that found them."""
        from pipesched.pipeline.batches import Reader
        from pipesched.pipeline.chunks import Chunker

        if settings.use_chunking:
            chunker = Chunker(
                size=settings.chunk_size,
                overlap=settings.chunk_overlap,
                max_tokens=settings.max_tokens or None,
                count_tokens=self.backends.token_counter(settings.spec),
            )
        else:
            chunker = Chunker(size=1, overlap=0, whole=True)
        return Reader(self.document_settings, self.documents, chunker, clock_ns)

    def names(self) -> dict[str, str]:
        """The names of the store's collections by UUID, as they were when the run began (or when it first asked)."""
        if self._names is None:
            seen = self.backends.probe(self.options.storage_path) if self._store is None else None
            if seen is not None:
                self._names = {probe.uuid: name for name, probe in seen.items()}
            else:
                self._names = {info.uuid: info.name for info in self.store.collections()}
        return self._names

    def rename(self, old: str, new: str) -> None:
        names = self.names()
        self.store.rename(old, new)
        self._names = {uuid: new if name == old else name for uuid, name in names.items()}

    def look(self, name: str) -> Probe | None:
        """The collection `name` as the store has it now, without opening the store where that can be."""
        if self._store is None:
            seen = self.backends.probe(self.options.storage_path)
            if seen is not None:
                self._names = {probe.uuid: name for name, probe in seen.items()}
                return seen.get(name)
        info = self.store.find(name)
        return Probe(uuid=info.uuid, count=info.count, writes=-1) if info else None

    def check_stop(self) -> None:
        if self.stop.is_set():
            raise Stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        was_open = self._store is not None
        for thing in (self._embedder, self._store, self.manifest, self.cache):
            if thing is not None:
                try:
                    thing.close()
                except PipeschedError:
                    if error is None:
                        raise
        self._embedder = self._store = None
        # A full disk ruins an index, and so does what ends a process; neither may pass for a good end.
        if was_open and (error is None or isinstance(error, Stopped) or _is_harmless(error)):
            self._note.clear()


def _is_harmless(error: BaseException) -> bool:
    return isinstance(error, PipeschedError) and not isinstance(error, DataError | InputOutputError)


def mark_of(generation: Generation, *, changed: str = "", filling: bool = False) -> Mark:
    """What the generation's collection says about itself."""
    settings = generation.settings
    assert settings is not None
    return Mark(
        generation=generation.number,
        settings=settings.digest,
        model=settings.model,
        fingerprint=settings.fingerprint,
        dimensions=settings.dimensions,
        max_tokens=settings.max_tokens,
        query_prefix=settings.query_prefix,
        data_dir=generation.data_dir,
        data_dir_pattern=generation.pattern,
        changed=changed,
        filling=filling,
    )
