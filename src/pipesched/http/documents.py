"""The endpoint's documents, made at most about once a second however often they are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pipesched.http.messages import Response, document
from pipesched.http.source import Source

if TYPE_CHECKING:
    from pipesched.runs.ledger import Ledger
    from pipesched.views.health import Health, HealthFacts
    from pipesched.views.snapshot import Snapshot
    from pipesched.views.vitals import Reach

FRESH_SECONDS: Final = 1.0
STALE_SECONDS: Final = 5.0
"""While a new one is made, the last one is given out for so long."""
SHARE: Final = 5.0
"""What took long to make is kept that many times as long, so that the endpoint takes a fifth of a core at most."""

RECENT_RUNS: Final = 15
LAST_ERRORS: Final = 20
LISTED_REPORTS: Final = 5
BARS: Final = 20
LOG_BYTES: Final = 2**20

T = TypeVar("T")


@dataclass(slots=True)
class Kept(Generic[T]):
    """A value that is made by one thread at a time and kept for a while."""

    make: Callable[[], T]
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _value: T | None = None
    _until: float = 0.0

    def get(self) -> T:
        """Whoever asks while it is made gets the last one, or waits where that is too old."""
        if not self._lock.acquire(blocking=False):
            value = self._value
            if value is not None and self.clock() < self._until + STALE_SECONDS:
                return value
            self._lock.acquire()
        try:
            began = self.clock()
            if self._value is None or began >= self._until:
                self._value = self.make()
                ended = self.clock()
                self._until = ended + max(FRESH_SECONDS, SHARE * (ended - began))
            return self._value
        finally:
            self._lock.release()


class Documents:
    """Each document as a response, from the same views as the commands."""

    def __init__(
        self,
        source: Source,
        *,
        clock: Callable[[], float] = time.monotonic,
        reach: Reach | None = None,
    ) -> None:
        from pipesched.views.snapshot import Memory

        self._source = source
        self._reach = reach
        self._memory = Memory()
        self._snapshot = Kept(self._take, clock)
        self._vitals = Kept(self._check, clock)
        self.status = Kept(self._status, clock).get
        self.jobs = Kept(self._jobs, clock).get
        self.health = Kept(self._health_document, clock).get
        self.metrics = Kept(self._metrics, clock).get
        self.page = Kept(lambda: self._page(refreshing=True), clock).get
        self.still_page = Kept(lambda: self._page(refreshing=False), clock).get

    def readiness(self) -> tuple[str, bool]:
        """The overall status, and whether that is ready; a state folder that cannot be read is not."""
        from pipesched.errors import PipeschedError

        try:
            status = self._vitals.get()[1].status
        except PipeschedError:
            return "fail", False
        return status, status != "fail"

    def reports(self, limit: int) -> Response:
        from pipesched.runs import reports

        return document({"reports": reports.list_reports(self._source.paths.output_dir, limit)})

    def report(self, name: str) -> Response:
        """Raises NotFound."""
        from pipesched.runs import reports

        return document(reports.read_report(self._source.paths.output_dir, name))

    def _take(self) -> Snapshot:
        from pipesched.views.snapshot import take

        source = self._source
        with self._ledger() as ledger:
            return take(
                now=source.now(),
                paths=source.paths,
                job_file=source.job_file(),
                job_file_error=source.job_file_error(),
                facts=source.facts(),
                ledger=ledger,
                memory=self._memory,
                environment=source.environment,
            )

    def _ledger(self) -> Ledger:
        from pipesched.runs.ledger import Ledger

        return Ledger.open(self._source.paths.ledger, create=False)

    def _check(self) -> tuple[HealthFacts, Health]:
        from pipesched.views.health import health
        from pipesched.views.vitals import health_facts

        snapshot = self._snapshot.get()
        with self._ledger() as ledger:
            facts = health_facts(
                snapshot, ledger=ledger, environment=self._source.environment, reach=self._reach
            )
        return facts, health(facts)

    def _health_document(self) -> Response:
        _, found = self._vitals.get()
        failing = found.status == "fail"
        return document(found.as_json(), HTTPStatus.SERVICE_UNAVAILABLE if failing else HTTPStatus.OK)

    def _status(self) -> Response:
        from pipesched.views.status import status_document

        return document(status_document(self._snapshot.get()))

    def _jobs(self) -> Response:
        from pipesched.views.jobs import JobDocuments

        snapshot = self._snapshot.get()
        documents = JobDocuments(
            job_file=snapshot.job_file,
            environment=self._source.environment,
            home=snapshot.paths.home,
            now=snapshot.now,
        )
        return document({"jobs": [documents.of_view(view) for view in snapshot.jobs.values()]})

    def _metrics(self) -> Response:
        from pipesched.http.metrics import Scrape, metrics
        from pipesched.views.vitals import last_finished

        (facts, health), snapshot = self._vitals.get(), self._snapshot.get()
        with self._ledger() as ledger:
            finished = {
                job_id: run
                for job_id, view in snapshot.jobs.items()
                if (run := last_finished(view, ledger)) is not None
            }
            return metrics(Scrape(snapshot, ledger.totals(), finished, facts, health))

    def log(self, run_id: str) -> Response:
        """The end of what a run wrote, as text. Raises NotFound."""
        from pipesched.errors import InvalidValue, NotFound
        from pipesched.http.markup import visible
        from pipesched.runs import logs

        try:
            path = logs.log_path(self._source.paths.logs_dir, run_id)
        except InvalidValue as error:
            raise NotFound(error.message, hint="see pipesched history", code="log_not_found") from error
        output = b"".join(logs.read(path))
        cut = (
            f"[the last {LOG_BYTES >> 20} MiB of {len(output):,} bytes]\n" if len(output) > LOG_BYTES else ""
        )
        shown = cut + visible("\n".join(logs.lines([output[-LOG_BYTES:]]))) + "\n"
        return Response(HTTPStatus.OK, shown.encode("utf-8"), content_type="text/plain; charset=utf-8")

    def _page(self, *, refreshing: bool) -> Response:
        from pipesched.http.page import page
        from pipesched.http.panels import PageFacts, grouped, listed_jobs
        from pipesched.http.timeline import BACK, LANE_RUNS, Lane, fires, moving
        from pipesched.runs import reports
        from pipesched.runs.hints import last_hint
        from pipesched.runs.model import FAILED
        from pipesched.views.vitals import FINISHED

        (_, health), snapshot = self._vitals.get(), self._snapshot.get()
        now, paths = snapshot.now, self._source.paths
        jobs = listed_jobs(snapshot, health)
        with self._ledger() as ledger:
            past = {
                view.job.id: ledger.history(view.job.id, FINISHED, None, BARS)
                for view in jobs
                if view.summary.last_run is not None
            }
            recent = ledger.history(None, None, None, RECENT_RUNS)
            errors = ledger.history(None, FAILED, None, LAST_ERRORS)
            lanes = []
            for view in moving(jobs, now):
                runs = ledger.history(view.job.id, None, now - BACK, LANE_RUNS)
                # One that is still running may have begun before.
                runs += [
                    run for run in view.summary.active if run.run_id not in {known.run_id for known in runs}
                ]
                lanes.append(Lane(view, runs, fires(view, now)))
        shown = {run.run_id for run in (*recent, *errors)}
        shown |= {view.summary.last_run.run_id for view in jobs if view.summary.last_run is not None}
        return page(
            PageFacts(
                snapshot=snapshot,
                health=health,
                jobs=jobs,
                past=past,
                lanes=lanes,
                recent=recent,
                failures=grouped(errors, lambda run: last_hint(run, paths)),
                reported=frozenset(
                    shown.intersection(map(reports.run_id_of, reports.names(paths.output_dir)))
                ),
                logged=frozenset(run_id for run_id in shown if (paths.logs_dir / f"{run_id}.log").is_file()),
                reports=reports.list_reports(paths.output_dir, LISTED_REPORTS),
            ),
            refreshing=refreshing,
        )
