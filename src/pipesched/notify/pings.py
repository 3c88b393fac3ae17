"""Heartbeat pings in the style of healthchecks.io: URL/start, URL, URL/fail or URL/EXIT_CODE, each with the run's id."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    build_opener,
)

from pipesched import __version__
from pipesched.jobs.targets import HINT, is_allowed, is_refused
from pipesched.runs.model import EXECUTED, FAILED, RunState

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 10.0
"""For one try, connecting and redirects included."""
PAUSES: Final = (1.0, 3.0)
"""Seconds before the second and the third try."""
MOST_TRIES: Final = 1 + len(PAUSES)
MOST_REDIRECTS: Final = 3
_RETRIED: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Ping:
    """One signal: `suffix` is "start", "", "fail" or an exit code; `run_id` becomes a UUID, the same for a run's two pings."""

    url: str
    suffix: str
    run_id: str

    @property
    def full_url(self) -> str:
        """The suffix goes before the query, the run's UUID into it."""
        parts = urlsplit(self.url)
        path = parts.path.rstrip("/") + (f"/{self.suffix}" if self.suffix else "")
        netloc = parts.netloc.rpartition("@")[2]
        query = [*parse_qsl(parts.query, keep_blank_values=True), ("rid", str(run_uuid(self.run_id)))]
        return urlunsplit((parts.scheme, netloc, path, urlencode(query), ""))

    @property
    def authorization(self) -> str | None:
        """What the URL's user and password come to, as a header."""
        parts = urlsplit(self.url)
        if parts.username is None and parts.password is None:
            return None
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"


def run_uuid(run_id: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"pipesched run {run_id}")


def suffix_of(status: RunState, exit_code: int | None, *, retrying: bool) -> str | None:
    """How a run's end is pinged; None: not at all (another attempt follows; or somebody ended it, which tells nothing)."""
    if status in EXECUTED:
        return ""
    if status not in FAILED or retrying:
        return None
    return str(exit_code) if exit_code is not None and 0 < exit_code < 256 and status == "failed" else "fail"


class Refused(OSError):
    """The target is where pings never go."""


def send(
    ping: Ping,
    environ: Mapping[str, str],
    *,
    tries: int = MOST_TRIES,
    pause: Callable[[float], object] = time.sleep,
    total: float = TOTAL_SECONDS,
) -> str:
    """Empty when it was taken, else why not, in words without the URL. Raises nothing."""
    reason = ""
    for attempt in range(tries):
        if attempt:
            pause(PAUSES[attempt - 1])
        reason, again = _once(ping, allowed=is_allowed(environ), total=total)
        if not again:
            break
    return reason


def _once(ping: Ping, *, allowed: bool, total: float) -> tuple[str, bool]:
    """The reason of a failure, and whether to try again."""
    line = _Line(allowed=allowed, until=time.monotonic() + total)
    watch = threading.Timer(total, line.hang_up)
    watch.daemon = True
    watch.start()
    try:
        request = Request(ping.full_url, headers={"User-Agent": f"pipesched/{__version__}"})  # noqa: S310  checked: http(s)
        if ping.authorization is not None:
            request.add_unredirected_header("Authorization", ping.authorization)
        with line.opener().open(request, timeout=CONNECT_SECONDS):
            return "", False
    except HTTPError as error:
        error.close()
        return f"it answered {error.code}", error.code >= 500 or error.code in _RETRIED
    except (URLError, OSError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, Refused):
            return f"it leads to a link-local address or a metadata service; {HINT}", False
        if isinstance(error, ValueError):  # an OSError too where it is a bad certificate
            return "its URL cannot be used", False
        if isinstance(cause, TimeoutError) or time.monotonic() >= line.until:
            return "it did not answer in time", True
        if isinstance(cause, ssl.SSLError):
            return "its certificate or its TLS cannot be used", False
        return f"no connection: {getattr(cause, 'strerror', None) or type(cause).__name__}", True
    finally:
        watch.cancel()
        line.close()


class _Line:
    """The connections of one try: each is looked at before it is made, all end at the deadline."""

    def __init__(self, *, allowed: bool, until: float) -> None:
        self._allowed = allowed
        self.until = until
        self._handles: list[socket.socket] = []
        """A second handle on each connection, by which it can be ended, also once TLS has taken the first one."""

    def connect(self, address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        host, port = address
        error: OSError | None = None
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        if not self._allowed and (is_refused(host) or any(is_refused(str(each[4][0])) for each in found)):
            raise Refused("refused")
        for family, kind, protocol, _name, where in found:
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(max(0.01, min(CONNECT_SECONDS, self.until - time.monotonic())))
                self._handles.append(made.dup())
                made.connect(where)
            except OSError as failed:
                made.close()
                error = failed
            else:
                return made
        raise error or OSError("no address")

    def hang_up(self) -> None:
        """From another thread: whoever waits for an answer waits no more."""
        for each in list(self._handles):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for each in self._handles:
            each.close()

    def opener(self) -> OpenerDirector:
        return build_opener(_Plain(self), _Secure(self), _Redirects(self))

    def check(self, host: str | None) -> None:
        """Before a proxy, which would look the name up itself, is asked."""
        if not self._allowed and is_refused(host or ""):
            raise Refused("refused")


class _Plain(HTTPHandler):
    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def http_open(self, request: Request) -> http.client.HTTPResponse:
        self._line.check(urlsplit(request.full_url).hostname)

        def connection(host: str, **options: Any) -> http.client.HTTPConnection:
            made = http.client.HTTPConnection(host, **options)
            made._create_connection = self._line.connect  # type: ignore[attr-defined]  # noqa: SLF001  its one seam
            return made

        return self.do_open(connection, request)


class _Secure(HTTPSHandler):
    def __init__(self, line: _Line) -> None:
        self._tls = ssl.create_default_context()
        super().__init__(context=self._tls)
        self._line = line

    def https_open(self, request: Request) -> http.client.HTTPResponse:
        self._line.check(urlsplit(request.full_url).hostname)

        def connection(host: str, **options: Any) -> http.client.HTTPSConnection:
            made = http.client.HTTPSConnection(host, context=self._tls, **options)
            made._create_connection = self._line.connect  # type: ignore[attr-defined]  # noqa: SLF001  its one seam
            return made

        return self.do_open(connection, request)


class _Redirects(HTTPRedirectHandler):
    max_redirections = MOST_REDIRECTS

    def __init__(self, line: _Line) -> None:
        self._line = line

    def redirect_request(
        self, request: Request, file: Any, code: int, message: str, headers: Any, new_url: str
    ) -> Request | None:
        parts = urlsplit(new_url)
        if parts.scheme not in {"http", "https"}:
            return None
        try:
            self._line.check(parts.hostname)
        except Refused:
            file.close()
            raise
        return super().redirect_request(request, file, code, message, headers, new_url)


def host_key(url: str) -> str:
    """What fails together: one server. Empty for what is no URL, which `send` says."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""
