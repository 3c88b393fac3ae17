"""What the daemon writes down of runs, in order, and again when the disk would not take it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pipesched.daemon.admission import Waiting
from pipesched.daemon.observer import Ended, Nobody, Observer
from pipesched.daemon.verdict import Verdict
from pipesched.errors import PipeschedError
from pipesched.runs.model import FAILED
from pipesched.schedule.delays import retry_after

if TYPE_CHECKING:
    from pipesched.runs.ledger import Ledger
    from pipesched.schedule.model import TimedJob

log = logging.getLogger(__name__)

TRY_AGAIN_SECONDS: Final = 5.0
BUSY_SECONDS: Final = 2.0
"""Until the second try at a store in use; doubled for each further one."""
BUSY_CAP_SECONDS: Final = 60.0
_MOST_DOUBLINGS: Final = 40
"""A float holds a thousand of them; a store may be in use for days."""


class Recorder:
    """Writes to the ledger. What could not be written is kept and tried again, the oldest first.

    So a full disk delays the record of a run that has ended; it neither loses it nor ends the daemon.
    """

    def __init__(self, ledger: Ledger, observer: Observer | None = None) -> None:
        self.ledger = ledger
        self.observer = observer or Nobody()
        self._unwritten: deque[tuple[str, Callable[[], None]]] = deque()
        self._again_at = 0.0

    @property
    def unwritten(self) -> int:
        return len(self._unwritten)

    def later(self, what: str, write: Callable[[], None], *, monotonic: float) -> None:
        self._unwritten.append((what, write))
        if len(self._unwritten) == 1:
            self._again_at = monotonic
        self.flush(monotonic=monotonic)

    def flush(self, *, monotonic: float) -> None:
        while self._unwritten and monotonic >= self._again_at:
            what, write = self._unwritten[0]
            try:
                write()
            except PipeschedError as error:
                log.error("%s cannot be recorded yet: %s", what, error.message)  # noqa: TRY400  said, not a bug
                self._again_at = monotonic + TRY_AGAIN_SECONDS
                return
            except Exception:
                log.exception("%s cannot be recorded", what)
            self._unwritten.popleft()

    def flush_now(self) -> None:
        """The last chance; what cannot be written now, the next daemon finds out from processes and reports."""
        self.flush(monotonic=float("inf"))
        if self._unwritten:
            log.error(
                "%d records are lost with this process: %s ...", len(self._unwritten), self._unwritten[0][0]
            )

    def next_try(self) -> float | None:
        """On the monotonic clock."""
        return self._again_at if self._unwritten else None

    def ended(
        self,
        run: Waiting,
        verdict: Verdict,
        *,
        job: TimedJob | None,
        documents: Mapping[str, int] | None,
        now: datetime,
        monotonic: float,
        retry_exit_code: int | None = None,
        owed: bool = False,
        then: Callable[[], None],
    ) -> None:
        """A run that was started, or should have been, is over; `then`, once it is written down.

        `job` None: it was removed meanwhile, and nothing follows. `retry_exit_code`: for the retry policy, where no process
        gave one. `owed`: the daemon's own stop cut it off, so the next daemon starts it again, whatever the job's retries are.
        """

        def write() -> None:
            retry_at = None
            if job is not None and owed and verdict.status == "interrupted":
                retry_at = now
            elif job is not None and verdict.status in FAILED:
                stops = 0
                if run.attempt > 1:
                    stops = self.ledger.stops(run.job_id, run.scheduled_for, before=run.attempt)
                retry_at = retry_after(
                    job.policy,
                    job_id=run.job_id,
                    scheduled_for=run.scheduled_for,
                    attempt=run.attempt - stops,
                    exit_code=verdict.exit_code if retry_exit_code is None else retry_exit_code,
                    status=verdict.status,
                    now=now,
                )
            self.ledger.finish(
                run.run_id,
                status=verdict.status,
                exit_code=verdict.exit_code,
                reason=verdict.reason,
                now=now,
                documents=documents,
                retry_at=retry_at,
            )
            if retry_at is not None:
                log.info(
                    "job %s: attempt %d %s",
                    run.job_id,
                    run.attempt,
                    f"failed, the next is at {retry_at.isoformat()}"
                    if verdict.status in FAILED
                    else "was cut off, and is the next daemon's to start again",
                    extra=run.ids,
                )
            elif job is not None and verdict.status in FAILED:
                self._pause_after_failures(job, now)
            self.observer.run_ended(
                Ended(
                    run.run_id, run.job_id, verdict.status, verdict.exit_code, retrying=retry_at is not None
                )
            )
            then()

        self.later(f"the end of run {run.run_id}", write, monotonic=monotonic)

    def _pause_after_failures(self, job: TimedJob, now: datetime) -> None:
        limit = job.policy.pause_after_failures
        if limit is None:
            return
        progress = self.ledger.progress([job])[job.id]
        if progress.failures_in_row >= limit and progress.auto_paused_at is None:
            reason = f"paused after {progress.failures_in_row} failures in a row"
            self.ledger.auto_pause(job.id, now, reason)
            log.warning(
                "job %s: %s; mend it, then: pipesched resume %s",
                job.id,
                reason,
                job.id,
                extra={"job_id": job.id},
            )

    def never_started(
        self, run: Waiting, reason: str, *, now: datetime, monotonic: float, then: Callable[[], None]
    ) -> None:
        """A claimed occurrence that is not to run any more; `then`, once it is written down."""

        def write() -> None:
            self.ledger.finish(
                run.run_id, status="skipped", exit_code=None, reason=reason, now=now, documents=None
            )
            then()

        self.later(f"that run {run.run_id} is not to start", write, monotonic=monotonic)

    def busy(self, run: Waiting, reason: str, *, now: datetime, monotonic: float) -> datetime:
        """The run's store was in use by a process of somebody else's: it waits in the queue again. Until when is returned."""
        seconds = min(BUSY_SECONDS * 2 ** min(run.busy_count, _MOST_DOUBLINGS), BUSY_CAP_SECONDS)
        not_before = now + timedelta(seconds=seconds)

        def write() -> None:
            self.ledger.requeue(run.run_id, not_before=not_before, reason=reason)

        self.later(f"that run {run.run_id} waits again", write, monotonic=monotonic)
        return not_before
