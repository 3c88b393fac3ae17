"""The job file as the daemon works from it: followed while it changes, the last good jobs while it is bad."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipesched.errors import ConfigurationError, DataError, PipeschedError

if TYPE_CHECKING:
    from pipesched.jobs.model import Job, JobFile, Stamp
    from pipesched.jobs.store import JobStore

log = logging.getLogger(__name__)

LARGE_BYTES: Final = 200_000
"""Of a file that takes longer to read than a run that is due should wait: about 500 jobs."""
_NEVER_LOADED: Final = object()


class JobWatch:
    """`file` is what holds, `error` why the file on the disk does not.

    Raises when made ConfigurationError (no job file), DataError, InputOutputError, NotPermitted.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._warned: frozenset[str] = frozenset()
        self._suspect: object = _NEVER_LOADED
        self._reading: _Reading | None = None
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

        To be called about once a second, and soon again while `loading`; costs one stat(2) where nothing has changed. A large
        file is read by a thread, so that what is due meanwhile does not wait for it.
        """
        if self._reading is not None:
            if self._reading.is_alive():
                return False
            reading, self._reading = self._reading, None
            return self._take(reading)
        stamp = self._store.stamp()
        if stamp == self._seen:
            return False
        reading = _Reading(self._store, stamp, self.file.jobs)
        if stamp is None or stamp[1] < LARGE_BYTES:
            reading.run()
            return self._take(reading)
        try:
            reading.start()
        except RuntimeError:  # the machine has no thread for it
            reading.run()
            return self._take(reading)
        self._reading = reading
        return False

    @property
    def loading(self) -> bool:
        return self._reading is not None

    def catch_up(self) -> None:
        """Read the file, however large, if it has changed: before there is anything that would have to wait for it."""
        if self._store.stamp() != self._seen:
            self.reload()

    def reload(self) -> bool:
        """Read the file now, changed or not (SIGHUP); True when it could be used."""
        if self._reading is not None:
            self._reading.join()
            self._reading = None
        reading = _Reading(self._store, self._store.stamp(), self.file.jobs)
        reading.run()
        return self._take(reading)

    def _take(self, reading: _Reading) -> bool:
        error, loaded, stamp = reading.error, reading.loaded, reading.stamp
        if isinstance(error, DataError):
            if self._suspect == stamp:
                self._seen = stamp
                self._refuse(error)
            # Believed when it is seen twice: an editor that writes in place leaves half a file for a moment.
            self._suspect = stamp
            return False
        if error is not None:  # a disk or a permission, which may change without the file's stamp
            self._seen = _NEVER_LOADED
            self._refuse(error)
            return False
        assert loaded is not None
        self._seen = loaded.stamp
        self._suspect = _NEVER_LOADED
        bad = next((problem for problem in loaded.problems if problem.in_defaults), None)
        if bad is not None and loaded.defaults != self.file.defaults:
            # Without them each job would run on other days, or index another folder.
            self._refuse(DataError(f"{self._store.path}: {bad.message}", hint=bad.hint))
            return False
        if self.error is not None:
            log.warning("the job file can be used again")
            self.error = None
        self.file = self._keeping_last_good(loaded, self.file.jobs)
        return True

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


class _Reading(threading.Thread):
    """One reading of the file: `loaded` or `error`. Jobs that say what they said before stay the very objects they were."""

    def __init__(self, store: JobStore, stamp: Stamp | None, last: Mapping[str, Job]) -> None:
        super().__init__(name="job file", daemon=True)
        self._store = store
        self._last = last
        self.stamp = stamp
        self.loaded: JobFile | None = None
        self.error: PipeschedError | None = None

    def run(self) -> None:
        try:
            loaded = self._store.load()
            if loaded.exists:
                jobs = {
                    job_id: last if (last := self._last.get(job_id)) is not None and last == job else job
                    for job_id, job in loaded.jobs.items()
                }
                self.loaded = replace(loaded, jobs=jobs)
            else:
                self.error = DataError(
                    f"the job file {self._store.path} is gone", hint="put it back, or stop the daemon"
                )
        except PipeschedError as error:
            self.error = error
        except (
            Exception
        ) as error:  # what people write must not end the daemon, whatever it meets in the parser
            log.exception("the job file cannot be read")
            self.error = DataError(f"{self._store.path} cannot be read: {error!r}", hint="mend the file")
