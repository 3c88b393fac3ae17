"""Asks another process's endpoint whether all is well there."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from pipesched.errors import InvalidValue
from pipesched.settings import ENV_HTTP_TOKEN
from pipesched.views.health import Check, Health, HealthStatus

TIMEOUT_SECONDS: Final = 10.0
MAX_BYTES: Final = 16 * 1024 * 1024


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would take the token along to wherever it points."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


def ask_health(url: str, *, token: str | None, timeout: float = TIMEOUT_SECONDS) -> Health:
    """The health that the endpoint at `url` (its root, or its /health) reports; one that does not answer fails, by a check.

    Raises InvalidValue for what is no http or https URL, and for a token that no header can hold.
    """
    target = health_url(url)
    request = Request(target, headers={"Accept": "application/json"})  # noqa: S310  the scheme is checked
    if token and token.strip():
        request.add_unredirected_header("Authorization", _bearer(token.strip()))
    # Environment proxies are for the outside; an endpoint is asked directly.
    opener = build_opener(_NoRedirect, ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return read_health(target, answer.read(MAX_BYTES))
    except HTTPError as error:
        with error:
            if error.code == 401:
                return failed(target, "it wants a token", f"set {ENV_HTTP_TOKEN} to the daemon's")
            body = error.read(MAX_BYTES)
        if error.code == 503:
            return read_health(target, body)
        if b'"https_only"' in body:
            return failed(target, "it speaks HTTPS", f"ask https{target.removeprefix('http')}")
        return failed(target, f"it answers {error.code} {error.reason}", "is this pipesched's endpoint?")
    except (URLError, OSError, http.client.HTTPException, UnicodeError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return failed(
                target,
                f"its certificate is not accepted: {reason.verify_message}",
                "ask by a name that it holds; where its authority is your own, name that with SSL_CERT_FILE=FILE",
            )
        return failed(
            target, f"unreachable: {reason}", "is the daemon running, and with --http? see pipesched status"
        )


def _bearer(token: str) -> str:
    """The header's value, without a word of the token in an error. Raises InvalidValue."""
    if any(character < " " or character == "\x7f" for character in token):
        raise InvalidValue(
            f"{ENV_HTTP_TOKEN} holds a line break or another control character",
            hint="set it to the daemon's, on one line",
        )
    # The daemon compares bytes; http.client writes each of these characters as one.
    return f"Bearer {os.fsencode(token).decode('latin-1')}"


def health_url(url: str) -> str:
    """Raises InvalidValue."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port_is_good = parts.port is None or parts.port >= 0
    except ValueError:
        port_is_good = False
        parts = urlsplit("")
    printable = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_good or not printable:
        raise InvalidValue(f"--url: {url!r} is no http or https URL", hint="such as http://127.0.0.1:8765")
    if parts.username is not None or parts.password is not None:
        raise InvalidValue("--url: the token does not belong into the URL", hint=f"set {ENV_HTTP_TOKEN}")
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path or '/health'}"


def read_health(url: str, body: bytes) -> Health:
    """From the document; what is no such document fails."""
    try:
        data = json.loads(body)
        return Health(
            {
                str(name): Check(_status(check["status"]), str(check["message"]), str(check.get("hint", "")))
                for name, check in data["checks"].items()
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return failed(url, "it does not answer with a health document", "is this pipesched's endpoint?")


def _status(word: object) -> HealthStatus:
    if word not in {"pass", "warn", "fail"}:
        raise ValueError("no health status")
    return word


def failed(url: str, message: str, hint: str) -> Health:
    return Health({"endpoint": Check("fail", f"{url}: {message}", hint)})
