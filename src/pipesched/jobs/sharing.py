"""Jobs that write to one collection must mean the same by it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from pipesched.errors import InvalidValue, SettingsConflict
from pipesched.jobs.model import Job, JobFile
from pipesched.options import PipelineConfig, PipelineOptions, is_server, resolve

MUST_AGREE: Final = (
    "data_dir",
    "data_dir_pattern",
    "embedding_model",
    "chunk_size",
    "chunk_overlap",
    "use_chunking",
)
COLLECTION_OPTIONS: Final = (*MUST_AGREE, "storage_path", "collection_name")
"""What those who share a collection have to change together."""
_NOTHING: Final = PipelineConfig()
_Real = Callable[[str], str]


class Resolver:
    """The options that jobs of one file would run with: job, environment, defaults, built-in; paths absolute.

    Jobs that set the same are resolved once.
    """

    def __init__(self, *, defaults: PipelineConfig, environment: PipelineConfig, home: Path) -> None:
        self._defaults = defaults
        self._environment = environment
        self._home = home
        self.config = lru_cache(maxsize=20_000)(self._config)

    def job(self, job: Job) -> PipelineOptions:
        """Raises InvalidValue when the levels do not fit together."""
        return self.config(job.config)

    def _config(self, config: PipelineConfig) -> PipelineOptions:
        return resolve(
            flags=_NOTHING,
            job=config,
            environment=self._environment,
            defaults=self._defaults,
            home=self._home,
            cwd=self._home,
        )


def check_sharing(
    job_file: JobFile, changed: Sequence[str], *, environment: PipelineConfig, home: Path
) -> None:
    """Refuse a `changed` job that shares its collection with one that disagrees about what is in it.

    Raises SettingsConflict naming that job and the options, InvalidValue when a changed job's options do not fit together.
    """
    resolver = Resolver(defaults=job_file.defaults.config, environment=environment, home=home)
    real = lru_cache(maxsize=None)(os.path.realpath)
    mine = {job_id: resolver.job(job_file.jobs[job_id]) for job_id in changed}
    names = {options.collection_name for options in mine.values()}
    # By collection, each opinion about it with one job that holds it: there may be thousands of jobs.
    opinions: dict[tuple[str, str], dict[tuple[object, ...], str]] = {}
    for job in job_file.jobs.values():
        try:
            options = resolver.job(job)
        except InvalidValue:
            continue  # it cannot run either
        if options.collection_name in names:
            held = opinions.setdefault(_collection(options, real), {})
            held.setdefault(_opinion(options, real), job.id)
    for job_id, options in mine.items():
        opinion = _opinion(options, real)
        for other, other_id in opinions[_collection(options, real)].items():
            if other != opinion:
                raise _conflict(job_id, options, other_id, resolver.job(job_file.jobs[other_id]), real)


def sharers(job_file: JobFile, job_id: str, *, environment: PipelineConfig, home: Path) -> list[str]:
    """The other jobs that write to the collection of `job_id`. Raises NotFound, InvalidValue where its options do not fit together."""
    resolver = Resolver(defaults=job_file.defaults.config, environment=environment, home=home)
    real = lru_cache(maxsize=None)(os.path.realpath)
    mine = _collection(resolver.job(job_file.job(job_id)), real)
    found = []
    for job in job_file.jobs.values():
        try:
            shares = job.id != job_id and _collection(resolver.job(job), real) == mine
        except InvalidValue:
            continue  # it cannot run either
        if shares:
            found.append(job.id)
    return found


def _collection(options: PipelineOptions, real: _Real) -> tuple[str, str]:
    path = options.storage_path
    return path.lower() if is_server(path) else real(path), options.collection_name


def _opinion(options: PipelineOptions, real: _Real) -> tuple[object, ...]:
    values = (getattr(options, name) for name in MUST_AGREE)
    return tuple(
        real(value) if name == "data_dir" else value for name, value in zip(MUST_AGREE, values, strict=True)
    )


def _conflict(
    job_id: str, mine: PipelineOptions, other_id: str, theirs: PipelineOptions, real: _Real
) -> SettingsConflict:
    pairs = zip(MUST_AGREE, _opinion(mine, real), _opinion(theirs, real), strict=True)
    said = ", ".join(
        f"--{name.replace('_', '-')} ({here} here, {there} there)"
        for name, here, there in pairs
        if here != there
    )
    return SettingsConflict(
        f"job {job_id} would write to the same collection as job {other_id}"
        f" ({mine.collection_name} in {mine.storage_path}) with another {said}",
        hint=f"make them agree (all that share it at once: pipesched edit {other_id} ... --with-sharers), or give one of them"
        " another --collection-name or --storage-path",
    )
