"""The job file: TinyDB over a storage that is atomic, durable and locked over the whole read-modify-write."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipesched.errors import Busy, CannotCreate, DataError, JobExists
from pipesched.files import PRIVATE_FILE, KernelLock, os_error, write_atomic
from pipesched.jobs import documents, encoding
from pipesched.jobs.dependencies import check_dependencies, check_removal
from pipesched.jobs.documents import Context, Reading
from pipesched.jobs.encoding import Tables
from pipesched.jobs.model import Defaults, Job, JobFile, Stamp, unknown_job
from pipesched.settings import SCHEMA_VERSION

if TYPE_CHECKING:
    from pipesched.jobs.tables import Change

log = logging.getLogger(__name__)

LOCK_WAIT_SECONDS: Final = 30.0
Check = Callable[[JobFile, Sequence[str]], None]
"""Refuses a job file that would be, given the ids that are new or changed in it, by raising an error of ours."""


class JobStore:
    """The job file at `path`. A symbolic link stays one: what it points to is replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # ---- reading

    def stamp(self) -> Stamp | None:
        """What tells one version of the file from another; None where there is none (or it cannot be seen)."""
        try:
            info = self.path.stat()
        except OSError:
            return None
        return info.st_mtime_ns, info.st_size, info.st_ino

    def load(self, *, schedules: bool = True) -> JobFile:
        """The file as it is now; none: no jobs, exists=False. Takes no lock: a save is atomic.

        `schedules=False` leaves the schedules unparsed, for who needs one job of thousands.
        Raises DataError for a file that cannot be read as a job file, InputOutputError, NotPermitted.
        """
        found = self._read()
        if found is None:
            return JobFile()
        data, stamp = found
        job_file = self._parse(data, stamp, consume=True)[0].job_file
        return documents.checked_schedules(job_file) if schedules else job_file

    def _read(self) -> tuple[bytes, Stamp] | None:
        try:
            # O_NONBLOCK: a FIFO in its place must not hang the command.
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                info = os.fstat(fd)
                if not stat.S_ISREG(info.st_mode):
                    raise DataError(f"{self.path} is no regular file", hint="name another with --file")
                with open(fd, "rb", closefd=False) as file:
                    return file.read(), (info.st_mtime_ns, info.st_size, info.st_ino)
            finally:
                os.close(fd)
        except FileNotFoundError:
            if self.path.is_symlink():
                raise DataError(
                    f"{self.path} is a link to {self.path.readlink()}, which does not exist",
                    hint="mend the link or remove it",
                ) from None
            return None
        except OSError as error:
            raise os_error("read", self.path, error) from error

    def _parse(self, data: bytes, stamp: Stamp, *, consume: bool = False) -> tuple[Reading, Tables]:
        tables = encoding.parse(data, name=str(self.path))
        version = encoding.schema_version(tables, name=str(self.path))
        if version < SCHEMA_VERSION:
            tables = encoding.migrate(tables, version=version)
        context = Context(timezone=_machine_zone, written_at=_from_ns(stamp[0]))
        reading = documents.read(tables, context=context, stamp=stamp, version=version, consume=consume)
        return reading, tables

    # ---- changing

    def add(self, jobs: Sequence[Job], now: datetime, *, check: Check | None = None) -> JobFile:
        """Add `jobs` as created `now`, all or none; a file that is not there yet is made.

        Raises JobExists, InvalidValue (dependencies), what `check` raises, and what every change does: Busy, DataError,
        InputOutputError, NotPermitted, CannotCreate.
        """
        with self._change(create=True) as change:
            taken = _taken_ids(change.before)
            for job in jobs:
                if job.id in taken:
                    raise _exists(job.id)
                taken.add(job.id)
            added = [job.model_copy(update={"created_at": now}).rescheduled(now) for job in jobs]
            after = _checked(change.before, added, check)
            change.insert(added)
        return after

    def merge(
        self,
        jobs: Sequence[Job],
        *,
        replacing: Collection[str] = (),
        defaults: Defaults | None = None,
        check: Check | None = None,
    ) -> Path | None:
        """Put `jobs` into the file as they are, all or none: over those whose ids are in `replacing`, else as new ones.

        Where some are replaced, the old file is kept as NAME.bak, whose path is returned. Raises what `add` does.
        """
        with self._change(create=True) as change:
            taken = _taken_ids(change.before)
            for job in jobs:
                if job.id in taken and job.id not in replacing:
                    raise _exists(job.id)
            before = change.before if defaults is None else replace(change.before, defaults=defaults)
            _checked(before, jobs, check)
            over = [job for job in jobs if job.id in taken]
            change.put(over)
            change.insert([job for job in jobs if job.id not in taken])
            if defaults is not None:
                change.set_defaults(defaults)
            return self._backup(self._real()) if over else None

    def edit(self, job_id: str, change: Callable[[Job], Job], *, check: Check | None = None) -> Job:
        """Change one job in place; where `change` or a check raises, it stays as it was. Raises NotFound and what `add` raises."""
        return self.edit_all([job_id], change, check=check)[0]

    def edit_all(
        self, job_ids: Sequence[str], change: Callable[[Job], Job], *, check: Check | None = None
    ) -> list[Job]:
        """Change several jobs, all or none. Raises NotFound."""
        with self._change() as transaction:
            before = transaction.before
            changed = [change(before.job(job_id)) for job_id in dict.fromkeys(job_ids)]
            _checked(before, changed, check)
            transaction.put(changed)
        return changed

    def remove(self, job_ids: Sequence[str]) -> None:
        """Remove jobs, all or none; one that cannot be used may be removed too. Raises NotFound, UsageError."""
        with self._change() as change:
            _check_removal(change.before, job_ids)
            change.delete(job_ids)

    def check_removal(self, job_ids: Sequence[str]) -> None:
        """Raises what `remove` would, without removing anything."""
        _check_removal(self.load(schedules=False), job_ids)

    def create(
        self, jobs: Sequence[Job], *, defaults: Defaults | None = None, replace_existing: bool = False
    ) -> Path | None:
        """Make a new file of `jobs` and `defaults`; an old one is kept as NAME.bak, whose path is returned.

        Raises CannotCreate where there is one and `replace_existing` is not given.
        """
        real = self._real()
        with self._locked(real):
            exists = real.exists()
            if exists and not real.is_file():
                raise CannotCreate(f"{self.path} is no regular file", hint="name a file with --file")
            if exists and not replace_existing:
                raise CannotCreate(
                    f"{self.path} is there already", hint="keep it, or replace it with init --force"
                )
            backup = self._backup(real) if exists else None
            change = _started(JobFile(), _empty() | documents.write_defaults(defaults or Defaults()))
            change.insert(jobs)
            change.commit(real)
            if not exists:
                _to_the_folders_owner(real)
        return backup

    def _real(self) -> Path:
        """The file behind the links. Raises CannotCreate without a folder for it, NotPermitted where nobody may look."""
        real = Path(os.path.realpath(self.path))
        try:
            real.stat()
        except (FileNotFoundError, NotADirectoryError):
            if not real.parent.is_dir():
                raise CannotCreate(
                    f"cannot create {self.path}: there is no folder {real.parent}",
                    hint=f"mkdir -p {real.parent}",
                ) from None
        except OSError as error:
            raise os_error("read", real, error) from error
        return real

    @contextmanager
    def _locked(self, real: Path) -> Iterator[None]:
        # Beside the real file, so that two names for one file have one lock.
        lock = KernelLock(real.with_name(f".{real.name}.lock"), what="changing jobs", mode=0o644)
        if not lock.acquire(LOCK_WAIT_SECONDS, poll_seconds=0.005):
            raise Busy(
                f"{self.path} is being changed by {lock.holder()}",
                hint="try again; if it hangs, look at that process",
            )
        with lock:
            _to_the_folders_owner(lock.path)
            yield

    @contextmanager
    def _change(self, *, create: bool = False) -> Iterator[Change]:
        """The file under the lock, for one change; written when the block ends well, untouched when it raises."""
        real = self._real()
        if not create and not real.exists():
            yield _started(JobFile(), _empty())  # nothing is known, so that nothing can be changed
            return
        with self._locked(real):
            found = self._read()
            if found is None:
                job_file, tables = JobFile(), _empty()
            else:
                reading, tables = self._parse(*found)
                job_file = reading.job_file
                tables["jobs"].update(
                    (number, documents.write_job(job)) for number, job in reading.unsettled.items()
                )
            if job_file.schema_version > SCHEMA_VERSION:
                raise DataError(
                    f"{self.path} was written by a newer pipesched (schema {job_file.schema_version},"
                    f" this one knows {SCHEMA_VERSION})",
                    hint="upgrade pipesched; nothing was changed",
                    code="schema_newer",
                )
            change = _started(job_file, tables)
            yield change
            if change.changed and job_file.exists and job_file.schema_version < SCHEMA_VERSION:
                self._backup(real)
            change.commit(real)
            if not job_file.exists:
                _to_the_folders_owner(real)

    @staticmethod
    def _backup(real: Path) -> Path:
        """Keep the file's bytes as NAME.bak, which is its owner's alone where they hold secrets, or cannot be read for any."""
        backup = real.with_name(real.name + ".bak")
        try:
            data, mode = real.read_bytes(), real.stat().st_mode & 0o777
        except OSError as error:
            raise os_error("read", real, error) from error
        write_atomic(backup, data, mode=mode & PRIVATE_FILE if _may_hold_secrets(data) else mode)
        _to_the_folders_owner(backup)
        return backup


def _may_hold_secrets(data: bytes) -> bool:
    try:
        return encoding.holds_secrets(encoding.parse(data, name=""))
    except DataError:
        return True


def _exists(job_id: str) -> JobExists:
    return JobExists(
        f"there is a job {job_id!r} already", hint=f"change it: pipesched edit {job_id}; or choose another id"
    )


def _checked(before: JobFile, changed: Sequence[Job], check: Check | None) -> JobFile:
    after = before.with_jobs(changed)
    ids = [job.id for job in changed]
    check_dependencies(after.jobs, ids)
    if check is not None:
        check(after, ids)
    return after


def _check_removal(job_file: JobFile, job_ids: Sequence[str]) -> None:
    known = _taken_ids(job_file)
    for job_id in job_ids:
        if job_id not in known:
            raise unknown_job(job_id, known)
    check_removal(job_file.jobs, job_ids)


def _taken_ids(job_file: JobFile) -> set[str]:
    return set(job_file.jobs) | {p.job_id for p in job_file.problems if p.job_id is not None}


def _to_the_folders_owner(path: Path) -> None:
    """What root makes in somebody's folder becomes theirs, who else could not change their jobs any more."""
    if os.geteuid() != 0 or not path.exists():
        return
    try:
        owner, made = path.parent.stat(), path.lstat()
        if made.st_uid == 0 and owner.st_uid != 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    except OSError as error:  # a container's root may not; what was to be done is done all the same
        log.warning("%s stays root's, where its folder's owner cannot change it: %s", path, error.strerror)


def _started(before: JobFile, tables: Tables) -> Change:
    from pipesched.jobs.tables import Change  # with TinyDB, which who only reads does without

    return Change(before, tables)


def _empty() -> Tables:
    return {"meta": {"1": {"schema_version": SCHEMA_VERSION}}, "defaults": {"1": {}}, "jobs": {}}


def _machine_zone() -> str:
    from pipesched.machine import machine_zone

    return machine_zone()


def _from_ns(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
