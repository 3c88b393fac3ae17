"""The status endpoint's public face: bind, guard, start, stop."""

from __future__ import annotations

import errno
import hashlib
import hmac
import logging
import math
import os
import socket
import time
from base64 import b64decode
from binascii import Error as Base64Error
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from pipesched.errors import Busy, ConfigurationError, InputOutputError, NotPermitted, PipeschedError
from pipesched.http.address import Address, is_loopback, split
from pipesched.http.connections import Answers, Connections
from pipesched.http.messages import (
    Parts,
    Refused,
    Request,
    Response,
    bad_request,
    error_document,
    refusal,
    serialise,
)
from pipesched.http.rate import RateLimit, client_of
from pipesched.http.routes import Routes
from pipesched.http.source import Source
from pipesched.settings import ENV_HTTP_TOKEN

if TYPE_CHECKING:
    from pipesched.http.tls import Certificate
    from pipesched.views.vitals import Reach

__all__ = ["Source", "StatusServer"]

log = logging.getLogger(__name__)

OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
"""Asked by machines that have no token; they give a status and nothing else."""
UNLIMITED_PATH: Final = "/livez"
"""A refusal would cost as much as its answer, and whoever restarts what is not alive must not take a noisy neighbour's
429 (behind one proxy, all share an address) for death."""
_BACKLOG: Final = 512
_CHALLENGE: Final = 'Basic realm="pipesched", charset="UTF-8", Bearer realm="pipesched"'


class StatusServer:
    """Serves the documents of `source` at `address` (HOST:PORT), read-only, in threads of its own.

    `token`: what clients must send, from PIPESCHED_HTTP_TOKEN; None or blank: nothing. Where the address is no loopback
    one, there must be one. `reach`: see `health_facts`. `certificate`: for HTTPS. Raises InvalidValue for an address that
    is none.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None,
        source: Source,
        reach: Reach | None = None,
        certificate: Certificate | None = None,
        limit: RateLimit | None = None,
    ) -> None:
        self.address = Address.parse(address)
        self._certificate = certificate
        self._limit = RateLimit() if limit is None else limit
        self._token = token_digest(token)
        self._source = source
        self._routes = Routes(source, reach)
        self._loopback = True
        self._connections: Connections | None = None

    def start(self) -> tuple[str, int]:
        """Bind, and serve until `stop`. The host and port are those bound.

        Raises ConfigurationError (an address that this machine has not, or that needs a token), Busy (the port is
        taken), NotPermitted (a port below 1024).
        """
        family, host = resolve(self.address.host)
        self._loopback = is_loopback(host)
        if not self._loopback and self._token is None:
            raise ConfigurationError(
                f"the endpoint at {self.address} could be read by other machines, and there is no token",
                hint=f"set {ENV_HTTP_TOKEN}, or listen on this machine only: --http 127.0.0.1:8765",
            )
        listener = bind(family, host, self.address)
        self.address = Address(host, listener.getsockname()[1])
        certificate = self._certificate
        self._connections = Connections(
            listener,
            Answers(at_once=self._at_once, worked=self._worked, refused=self._refused, busy=self._busy),
            None if certificate is None else lambda: certificate.context,
        )
        self._connections.start()
        return self.address.host, self.address.port

    @property
    def url(self) -> str:
        """`http://HOST:PORT`, or https, as bound; after `start`."""
        return f"{'http' if self._certificate is None else 'https'}://{self.address}"

    @property
    def certificate_until(self) -> datetime | None:
        """When the certificate ends that is shown now; None without one."""
        return None if self._certificate is None else self._certificate.until

    def reload(self) -> None:
        """Show the certificate that the files hold now; one that cannot be used changes nothing, and is warned of."""
        if self._certificate is None:
            return
        try:
            self._certificate.reload()
        except PipeschedError as error:
            log.warning("%s; the old certificate goes on (%s)", error.message, error.hint)
        else:
            log.info("certificate read again: %s", self._certificate.cert)

    def stop(self) -> None:
        """Close everything, within two seconds; a second call does nothing."""
        if self._connections is not None:
            self._connections.stop()

    def _at_once(self, request: Request, peer: str) -> Parts | None:
        try:
            if request.path != UNLIMITED_PATH:
                self._count(peer)
            guard(request, loopback=self._loopback, token=self._token)
            if request.path == "/livez":
                return self._parts(request, self._routes.livez())
        except Refused as refused:
            return self._parts(request, refusal(refused))
        except Exception:  # one request's fault must not end the thread that serves them all
            log.exception("GET %s", request.path)
            return self._parts(request, failed())
        return None

    def _count(self, peer: str) -> None:
        """Raises Refused."""
        wait = self._limit.take(client_of(peer), time.monotonic())
        if wait:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_requests",
                "this address asks too often",
                headers={"Retry-After": str(math.ceil(wait))},
            )

    def _worked(self, request: Request) -> Parts:
        try:
            response = self._routes.answer(request)
        except Refused as refused:
            response = refusal(refused)
        except Exception:  # as above
            log.exception("GET %s", request.path)
            response = failed()
        return self._parts(request, response)

    def _refused(self, refused: Refused) -> Parts:
        return serialise(refusal(refused), head_only=False, now=self._source.now())

    def _busy(self, request: Request) -> Parts:
        response = error_document(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "too many requests at once")
        return self._parts(request, response.with_headers({"Retry-After": "1"}))

    def _parts(self, request: Request, response: Response) -> Parts:
        return serialise(response, head_only=request.method == "HEAD", now=self._source.now())


def failed() -> Response:
    return error_document(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "this could not be answered",
        hint="see the daemon's log",
    )


def guard(request: Request, *, loopback: bool, token: bytes | None) -> None:
    """Who may ask, and how. Raises Refused."""
    host, _port = split(request.host)
    if host is None:
        raise bad_request("the Host header is no host")
    if loopback and not is_loopback(host):
        # Else a web page whose name points to 127.0.0.1 could read this endpoint through a visitor's browser.
        raise Refused(
            HTTPStatus.MISDIRECTED_REQUEST,
            "host",
            "this endpoint answers to localhost and loopback addresses only",
        )
    if request.method not in {"GET", "HEAD"}:
        raise Refused(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this endpoint is read-only: changes go through the command line",
            headers={"Allow": "GET, HEAD"},
        )
    if token is not None and request.path not in OPEN_PATHS and not authorised(request.authorization, token):
        raise Refused(
            HTTPStatus.UNAUTHORIZED,
            "unauthorized",
            f"send the token of {ENV_HTTP_TOKEN}, as a bearer token or as the Basic password",
            headers={"WWW-Authenticate": _CHALLENGE},
        )


def token_digest(token: str | None) -> bytes | None:
    """What a token is compared by; None where it is blank."""
    given = os.fsencode((token or "").strip())
    return hashlib.sha256(given).digest() if given else None


def authorised(header: bytes | None, token: bytes) -> bool:
    """Whether an Authorization header bears the token of this digest; on bytes, and in constant time."""
    scheme, _, credentials = (header or b"").partition(b" ")
    credentials = credentials.strip(b" ")
    if scheme.lower() == b"basic":
        try:
            credentials = b64decode(credentials, validate=True).partition(b":")[2]
        except (Base64Error, ValueError):
            return False
    elif scheme.lower() != b"bearer":
        return False
    return hmac.compare_digest(hashlib.sha256(credentials).digest(), token)


def resolve(host: str) -> tuple[socket.AddressFamily, str]:
    """The numeric address of `host`, of IPv4 where it has both. Raises ConfigurationError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"--http: there is no host {host!r}: {error}", hint="use 127.0.0.1:8765, or --no-http"
        ) from error
    family, _type, _proto, _name, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, str(address[0])


def bind(family: socket.AddressFamily, host: str, address: Address) -> socket.socket:
    """A listening socket. Raises Busy, ConfigurationError, NotPermitted, InputOutputError."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise bind_error(address, error) from error
    return listener


def bind_error(
    address: Address, error: OSError
) -> Busy | ConfigurationError | NotPermitted | InputOutputError:
    if error.errno == errno.EADDRINUSE:
        return Busy(
            f"{address} is in use by another process",
            hint="take a free port (--http 127.0.0.1:0; pipesched status says which), or --no-http",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPermitted(f"cannot listen on {address}: {error.strerror}", hint="take a port above 1023")
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigurationError(
            f"{address} is no address of this machine", hint="use 127.0.0.1:8765, or see: ip address"
        )
    return InputOutputError(f"cannot listen on {address}: {error.strerror}", hint="or use --no-http")
