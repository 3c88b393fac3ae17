"""The job file as the daemon works from it: followed while it changes, the last good jobs while it is bad."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pipesched.errors import ConfigurationError, DataError, PipeschedError

if TYPE_CHECKING:
    from pipesched.jobs.model import Job, JobFile
    from pipesched.jobs.store import JobStore

log = logging.getLogger(__name__)

_NEVER_LOADED = object()


class JobWatch:
    """`file` is what holds, `error` why the file on the disk does not.

    Raises when made ConfigurationError (no job file), DataError, InputOutputError, NotPermitted.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._warned: frozenset[str] = frozenset()
        self._suspect: object = _NEVER_LOADED
        self.error: PipeschedError | None = None
        loaded = store.load()
        if not loaded.exists:
            raise ConfigurationError(
                f"there is no job file {store.path}",
                hint="make one with: pipesched init (or name another with --file)",
            )
        self._seen: object = loaded.stamp
        self.file = self._keeping_last_good(loaded, {})

    def poll(self) -> bool:
        """Read the file if its stamp is another, or it could not be read before; True when `file` is another now.

        To be called about once a second; costs one stat(2) where nothing has changed.
        """
        return self._store.stamp() != self._seen and self.reload()

    def reload(self) -> bool:
        """Read the file, changed or not (SIGHUP); True when it could be used."""
        stamp = self._store.stamp()
        try:
            loaded = self._load()
        except DataError as error:
            if self._suspect == stamp:
                self._seen = stamp
                self._refuse(error)
            # Believed when it is seen twice: an editor that writes in place leaves half a file for a moment.
            self._suspect = stamp
            return False
        except PipeschedError as error:  # a disk or a permission, which may change without the file's stamp
            self._seen = _NEVER_LOADED
            self._refuse(error)
            return False
        self._seen = loaded.stamp
        self._suspect = _NEVER_LOADED
        if self.error is not None:
            log.warning("the job file can be used again")
            self.error = None
        self.file = self._keeping_last_good(loaded, self.file.jobs)
        return True

    def _load(self) -> JobFile:
        loaded = self._store.load()
        if not loaded.exists:
            raise DataError(
                f"the job file {self._store.path} is gone", hint="put it back, or stop the daemon"
            )
        return loaded

    def _refuse(self, error: PipeschedError) -> None:
        if self.error is None or self.error.message != error.message:
            log.warning("%s; the last good jobs go on. %s", error.message, error.hint)
        self.error = error

    def _keeping_last_good(self, loaded: JobFile, last: Mapping[str, Job]) -> JobFile:
        """`loaded`, with the last good version of each job that it has a bad one of."""
        problems = {problem.message: problem.job_id for problem in loaded.problems}
        for message, job_id in problems.items():
            if message not in self._warned:
                goes_on = "; its last good version goes on" if job_id in last else ""
                log.warning("job file: %s%s", message, goes_on)
        self._warned = frozenset(problems)
        bad = {job_id for job_id in problems.values() if job_id is not None}
        kept = [last[job_id] for job_id in bad if job_id in last and job_id not in loaded.jobs]
        return replace(loaded, jobs={**loaded.jobs, **{job.id: job for job in kept}}) if kept else loaded
