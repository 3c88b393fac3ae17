"""HTTP/1.1 as the endpoint speaks it: a strict request head in, a whole response out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from pipesched.settings import SCHEMA_VERSION

MAX_REQUEST_LINE: Final = 8 * 1024
MAX_HEADER_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"[\x21-\x7e]+")
_VERSION = re.compile(rb"HTTP/([0-9])\.[0-9]")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AUTHORITY_FORM = re.compile(r"https?://([^/?#]*)([^#]*)", re.IGNORECASE)


class Refused(Exception):
    """A request that gets an error instead of an answer. Never crosses the endpoint's own border."""

    def __init__(
        self, status: HTTPStatus, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head. `path` is decoded once, text; `host` is the authority asked for, port included, as sent."""

    method: str
    path: str
    query: str
    host: str
    authorization: bytes | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; the body is kept for a HEAD too, which sends its length only."""

    status: HTTPStatus
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, headers: Mapping[str, str]) -> Response:
        return replace(self, headers={**self.headers, **headers})


def document(data: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """One JSON document, `schema_version` first."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **data}, ensure_ascii=False, default=str)
    return Response(status, text.encode("utf-8", "backslashreplace") + b"\n")


def error_document(status: HTTPStatus, code: str, message: str, *, hint: str = "") -> Response:
    """An error in the shape that commands print with --json."""
    return document({"error": {"code": code, "message": message, "hint": hint}}, status)


def refusal(refused: Refused) -> Response:
    return error_document(refused.status, refused.code, refused.message).with_headers(refused.headers)


SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


Parts = tuple[bytes, ...]
"""What is sent, in order. The body is apart, so that a thousand clients of one kept document share its bytes."""


def serialise(response: Response, *, head_only: bool, now: datetime) -> Parts:
    """The head, and the body unless `head_only`. `now` is aware, UTC. Each answer ends its connection."""
    headers = {
        "Date": http_date(now),
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Connection": "close",
        **SECURITY_HEADERS,
        **response.headers,
    }
    lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return (head,) if head_only else (head, response.body)


def http_date(time: datetime) -> str:
    """`Sun, 06 Nov 1994 08:49:37 GMT`, whatever the locale. `time` is in UTC."""
    day, month = _DAYS[time.weekday()], _MONTHS[time.month - 1]
    return f"{day}, {time.day:02} {month} {time.year:04} {time:%H:%M:%S} GMT"


class HeadReader:
    """Collects the bytes of one request head, within limits, until it is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._line_end = -1

    def feed(self, data: bytes) -> Request | None:
        """The request once it is whole. Raises Refused as soon as it cannot become one."""
        self._buffer += data
        if self._line_end < 0:
            start = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))  # robustness, RFC 9112 2.2
            if start > 16:
                raise bad_request("the request starts with empty lines")
            del self._buffer[:start]
            self._line_end = self._buffer.find(b"\n")
            if (self._line_end if self._line_end >= 0 else len(self._buffer)) > MAX_REQUEST_LINE:
                raise Refused(
                    HTTPStatus.REQUEST_URI_TOO_LONG,
                    "uri_too_long",
                    f"the request line is longer than {MAX_REQUEST_LINE} bytes",
                )
            if self._line_end < 0:
                return None
            # A line that is no HTTP is refused at once, not after waiting for headers that will never come.
            parse_request_line(self._line(0, self._line_end))
        return self._headers()

    def _headers(self) -> Request | None:
        blank = _BLANK_LINE.search(self._buffer, self._line_end)
        end = len(self._buffer) if blank is None else blank.start()
        start = min(self._line_end + 1, end)
        lines = self._buffer.count(b"\n", start, end) + (end > start)
        if lines > MAX_HEADERS or end - start > MAX_HEADER_BYTES:
            raise Refused(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers_too_large",
                f"more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them",
            )
        if blank is None:
            return None
        method, target = parse_request_line(self._line(0, self._line_end))
        fields = bytes(self._buffer[start:end]).split(b"\n") if end > start else []
        return make_request(method, target, [parse_field(line.removesuffix(b"\r")) for line in fields])

    def _line(self, start: int, end: int) -> bytes:
        return bytes(self._buffer[start:end]).removesuffix(b"\r")


def bad_request(message: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "bad_request", message)


def parse_request_line(line: bytes) -> tuple[str, str]:
    """The method and the target. Raises Refused."""
    parts = line.split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise bad_request("this is no HTTP/1.1 request line")
    version = _VERSION.fullmatch(parts[2])
    if version is None:
        raise bad_request("this is no HTTP version")
    if version[1] != b"1":
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "http_version", "only HTTP/1.1 is spoken here")
    return parts[0].decode(), parts[1].decode()


def parse_field(line: bytes) -> tuple[str, bytes]:
    """A header's lower-cased name and its value. Raises Refused (folded lines, blanks before the colon, NUL)."""
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or not _TOKEN.fullmatch(name) or _BAD_VALUE.search(value):
        raise bad_request("a header is malformed")
    return name.decode().lower(), value


def make_request(method: str, target: str, fields: list[tuple[str, bytes]]) -> Request:
    """Raises Refused: Host missing, doubled or not text; a target that is neither a path nor a URL; two Authorizations."""
    hosts = [value for name, value in fields if name == "host"]
    if len(hosts) != 1:
        raise bad_request("there is no Host header" if not hosts else "there are several Host headers")
    try:
        host = hosts[0].decode("ascii")
    except UnicodeDecodeError as error:
        raise bad_request("the Host header is no host") from error
    if absolute := _AUTHORITY_FORM.fullmatch(target):
        # RFC 9112 3.2.2: the host of such a target counts, not the header's.
        host, target = absolute[1], absolute[2] or "/"
    path, _, query = target.partition("?")
    if method in {"GET", "HEAD"} and not path.startswith("/"):
        raise bad_request("the target is no path")
    given = [value for name, value in fields if name == "authorization"]
    if len(given) > 1:
        raise bad_request("there are several Authorization headers")
    return Request(
        method=method,
        path=decode_path(path) if path.startswith("/") else path,
        query=query,
        host=host,
        authorization=given[0] if given else None,
    )


def decode_path(path: str) -> str:
    """Percent-decoded once. Raises Refused for broken escapes, bytes that are no UTF-8, and control characters."""
    if _BAD_ESCAPE.search(path) or "#" in path:
        raise bad_request("the path has a broken escape")
    try:
        decoded = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad_request("the path is no UTF-8") from error
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in decoded):
        raise bad_request("the path has control characters")
    return decoded
