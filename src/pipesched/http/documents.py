"""The endpoint's documents, made at most about once a second however often they are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pipesched.http.messages import Response, document
from pipesched.http.source import Source

if TYPE_CHECKING:
    from pipesched.views.health import Health
    from pipesched.views.snapshot import Snapshot

FRESH_SECONDS: Final = 1.0
SHARE: Final = 5.0
"""What took long to make is kept that many times as long, so that the endpoint takes a fifth of a core at most."""

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
        """Whoever asks while it is made waits, and gets what was made."""
        with self._lock:
            began = self.clock()
            if self._value is None or began >= self._until:
                self._value = self.make()
                ended = self.clock()
                self._until = ended + max(FRESH_SECONDS, SHARE * (ended - began))
            return self._value


class Documents:
    """Each document as a response, from the same views as the commands."""

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.monotonic) -> None:
        from pipesched.views.snapshot import NextFires

        self._source = source
        self._fires = NextFires()
        self._snapshot = Kept(self._take, clock)
        self._health = Kept(self._check, clock)
        self.status = Kept(self._status, clock).get
        self.jobs = Kept(self._jobs, clock).get
        self.health = Kept(self._health_document, clock).get
        self.metrics = Kept(self._metrics, clock).get
        self.page = Kept(self._page, clock).get

    def readiness(self) -> tuple[str, bool]:
        """The overall status, and whether that is ready; a state folder that cannot be read is not."""
        from pipesched.errors import PipeschedError

        try:
            status = self._health.get().status
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
        from pipesched.runs.ledger import Ledger
        from pipesched.views.snapshot import take

        source = self._source
        with Ledger.open(source.paths.ledger, create=False) as ledger:
            return take(
                now=source.now(),
                paths=source.paths,
                job_file=source.job_file(),
                job_file_error=source.job_file_error(),
                facts=source.facts(),
                ledger=ledger,
                fires=self._fires,
            )
