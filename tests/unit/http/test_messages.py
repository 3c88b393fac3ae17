"""The request reader: what is a request, what is refused and how, whatever the pieces it comes in."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.http.messages import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_REQUEST_LINE,
    HeadReader,
    Refused,
    Request,
    document,
    http_date,
    serialise,
)

HOST = b"Host: localhost:8765\r\n"


def read(data: bytes) -> Request | None:
    return HeadReader().feed(data)


def refused(data: bytes) -> HTTPStatus:
    with pytest.raises(Refused) as caught:
        read(data)
    return caught.value.status


def test_a_request_is_read() -> None:
    request = read(
        b"GET /pipeline/reports/a%20b?limit=3 HTTP/1.1\r\n" + HOST + b"AUTHORIZATION:  Bearer \xff \r\n\r\n"
    )
    assert request == Request(
        "GET", "/pipeline/reports/a b", "limit=3", "localhost:8765", authorization=b"Bearer \xff"
    )


def test_bare_newlines_and_a_leading_empty_line_are_taken() -> None:
    request = read(b"\r\nHEAD / HTTP/1.0\nHost: [::1]\n\n")
    assert request is not None
    assert (request.method, request.host) == ("HEAD", "[::1]")


def test_a_url_as_target_names_the_host_itself() -> None:
    request = read(b"GET http://evil.example/health HTTP/1.1\r\n" + HOST + b"\r\n")
    assert request is not None
    assert (request.host, request.path) == ("evil.example", "/health")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: l\xf6calhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\x00c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
        (b"GET /\r\n", 400),  # HTTP/0.9
        (b"GET  / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1 \r\n", 400),
        (b"GET /a b HTTP/1.1\r\n", 400),
        (b"GET /\xe4 HTTP/1.1\r\n", 400),
        (b"GET / FTP/1.1\r\n", 400),
        (b"G@T / HTTP/1.1\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n", 400),  # TLS on a plain port
        (b"PRI * HTTP/2.0\r\n", 505),
        (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /% HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /a%0d%0aSet-Cookie:x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"\n" * 20, 400),
        (b"GET /" + b"a" * 70_000, 414),
        (b"GET /" + b"a" * MAX_REQUEST_LINE + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(150)), 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(150)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEADER_BYTES, 431),
    ],
)
def test_bad_input_is_refused_cleanly(data: bytes, status: int) -> None:
    assert refused(data) == status


def test_a_hundred_headers_are_taken() -> None:
    fields = HOST + b"".join(b"X-%d: y\r\n" % n for n in range(MAX_HEADERS - 1))
    assert read(b"GET / HTTP/1.1\r\n" + fields + b"\r\n") is not None
    assert refused(b"GET / HTTP/1.1\r\n" + fields + b"X: y\r\n\r\n") == 431


def test_escapes_are_decoded_once() -> None:
    request = read(b"GET /%252e%2e/x HTTP/1.1\r\n" + HOST + b"\r\n")
    assert request is not None
    assert request.path == "/%2e./x"


COMPLETE = b"GET /health?x=1 HTTP/1.1\r\n" + HOST + b"Accept: */*\r\n\r\n"


@given(st.lists(st.integers(1, len(COMPLETE) - 1), max_size=8))
def test_a_request_is_the_same_in_whatever_pieces_it_comes(cuts: list[int]) -> None:
    reader = HeadReader()
    places = [0, *sorted(set(cuts)), len(COMPLETE)]
    found = [reader.feed(COMPLETE[start:end]) for start, end in pairwise(places)]
    assert found[:-1] == [None] * (len(found) - 1)
    assert found[-1] == read(COMPLETE)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_refused_or_wait_for_more(data: bytes) -> None:
    reader = HeadReader()
    with suppress(Refused):
        for byte in data:
            if reader.feed(bytes([byte])) is not None:
                break


token = st.from_regex(r"[A-Za-z-]{1,10}", fullmatch=True)


@given(token, st.text(max_size=40), st.lists(st.tuples(token, st.text(max_size=20)), max_size=5))
def test_a_request_of_any_text_is_read_or_refused(
    method: str, path: str, fields: list[tuple[str, str]]
) -> None:
    lines = [f"{method} /{path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in fields)]
    with suppress(Refused):
        read(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "backslashreplace"))


def test_an_answer_says_its_length_and_ends_the_connection() -> None:
    response = document({"name": "Grüße \ud800"})
    now = datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC)
    whole, body = serialise(response, head_only=False, now=now)
    head = whole.removesuffix(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert f"Content-Length: {len(body)}" in lines
    assert "Connection: close" in lines
    assert "Date: Fri, 06 Nov 2026 08:49:37 GMT" in lines
    assert json.loads(body)["name"] == "Grüße \ud800"
    assert serialise(response, head_only=True, now=now) == (whole,)


def test_the_date_is_the_one_of_the_standard() -> None:
    from email.utils import format_datetime

    for day in range(1, 365, 29):
        time = datetime(2026, 1, 1, day % 24, day % 60, tzinfo=UTC).replace(
            month=day // 31 + 1, day=day % 28 + 1
        )
        assert http_date(time) == format_datetime(time, usegmt=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
    ],
)
def test_each_answer_has_its_security_headers(name: str, value: str) -> None:
    head: Any = serialise(document({}), head_only=True, now=datetime(2026, 1, 1, tzinfo=UTC))[0].decode()
    assert f"{name}: {value}\r\n" in head
    assert "frame-ancestors 'none'" in head
