"""What each path answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from pipesched.errors import DataError, NotFound, PipeschedError
from pipesched.http.documents import Documents
from pipesched.http.messages import Refused, Request, Response, document, error_document
from pipesched.http.source import Source
from pipesched.settings import HISTORY_LIMIT

if TYPE_CHECKING:
    from pipesched.views.vitals import Reach

REPORTS = "/pipeline/reports"
LOGS = "/pipeline/logs/"
MAX_REPORTS = 1000
_LIMIT = re.compile(r"[0-9]{1,6}")


class Routes:
    """The paths of the endpoint over the documents of one source."""

    def __init__(self, source: Source, reach: Reach | None = None) -> None:
        self._source = source
        self._documents = Documents(source, reach=reach)
        self._exact: dict[str, Callable[[], Response]] = {
            "/": self._documents.page,
            "/health": self._documents.health,
            "/scheduler/health": self._documents.health,
            "/livez": self.livez,
            "/readyz": self._readyz,
            "/scheduler/status": self._documents.status,
            "/scheduler/jobs": self._documents.jobs,
            "/metrics": self._documents.metrics,
        }

    def answer(self, request: Request) -> Response:
        """Raises Refused."""
        try:
            if request.path == "/" and request.query == "refresh=off":
                return self._documents.still_page()
            if answer := self._exact.get(request.path):
                return answer()
            if request.path == REPORTS:
                return self._documents.reports(limit_of(request.query))
            if request.path.startswith(REPORTS + "/"):
                return self._documents.report(request.path.removeprefix(REPORTS + "/"))
            if request.path.startswith(LOGS):
                return self._documents.log(request.path.removeprefix(LOGS))
        except NotFound as error:
            return error_of(HTTPStatus.NOT_FOUND, error)
        except DataError as error:
            return error_of(HTTPStatus.INTERNAL_SERVER_ERROR, error)
        except PipeschedError as error:
            # The ledger is locked, a disk fails: the endpoint lives, and says what it met.
            return error_of(HTTPStatus.SERVICE_UNAVAILABLE, error)
        raise Refused(HTTPStatus.NOT_FOUND, "not_found", "there is nothing at this path")

    def livez(self) -> Response:
        """Whether the scheduling loop turns; asks nothing else, waits for nothing."""
        alive = self._source.alive()
        status = HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE
        return document({"status": "pass" if alive else "fail"}, status)

    def _readyz(self) -> Response:
        status, ready = self._documents.readiness()
        return document({"status": status}, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


def error_of(status: HTTPStatus, error: PipeschedError) -> Response:
    return error_document(status, error.code, error.message, hint=error.hint)


def limit_of(query: str) -> int:
    """`?limit=N` of the reports. Raises Refused."""
    given = parse_qs(query).get("limit")
    if given is None:
        return HISTORY_LIMIT
    limit = int(given[-1]) if _LIMIT.fullmatch(given[-1]) else 0
    if not 1 <= limit <= MAX_REPORTS:
        raise Refused(HTTPStatus.BAD_REQUEST, "bad_request", f"limit must be from 1 to {MAX_REPORTS}")
    return limit
