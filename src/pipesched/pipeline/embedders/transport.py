"""An httpx transport that ends every request by one deadline, and all of them when it is told to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

import httpcore
import httpx

LARGEST_ANSWER: Final = 64 * 2**20
"""Bytes; 2,048 vectors of 4,096 numbers, written out, are 180 MB, and no batch of ours has over a few dozen."""

_NO_TIME: Final = 1e-3


class DeadlineTransport(httpx.BaseTransport):
    """httpx's own timeouts are for one read each, so that an answer of a byte a second never ends; here the clock decides.

    `connect` and `total` are seconds; `total` counts from the start of a request, connecting included. A request over it
    raises httpx.ReadTimeout or WriteTimeout; other failures raise what httpx's own transport raises. No proxy is used.
    Safe for several threads, each with one request at a time.
    """

    def __init__(self, *, connect: float, total: float) -> None:
        self._connect = connect
        self._total = total
        self._backend = _Backend()
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(), network_backend=self._backend, keepalive_expiry=5.0
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._backend.begin(self._total)
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            with self._pool.stream(
                request.method,
                target,
                headers=request.headers.raw,
                content=request.read(),
                extensions={"timeout": {"connect": self._connect}},
            ) as answer:
                body = _bounded(answer.iter_stream())
                return httpx.Response(answer.status, headers=answer.headers, content=body)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            # httpx names its own after those of httpcore.
            raise getattr(httpx, type(error).__name__)(str(error), request=request) from error

    def abort(self) -> None:
        """End what is under way in other threads, with httpx.ReadError there."""
        self._backend.hang_up()

    def close(self) -> None:
        self._pool.close()


def _bounded(chunks: Iterable[bytes]) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise httpcore.RemoteProtocolError(f"an answer of over {LARGEST_ANSWER} bytes")
    return bytes(body)


class _Backend(httpcore.SyncBackend):
    """httpcore's backend, with streams that know the deadline of their thread's request."""

    def __init__(self) -> None:
        self._request = threading.local()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()

    def begin(self, total: float) -> None:
        self._request.until = time.monotonic() + total

    def remaining(self, timeout: float | None) -> float:
        """Seconds left, at most `timeout`, never 0, with which a socket does not wait at all."""
        until: float = self._request.until
        left = max(_NO_TIME, until - time.monotonic())
        return left if timeout is None else min(left, timeout)

    def expired(self) -> bool:
        return self.remaining(None) <= _NO_TIME

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, self.remaining(timeout), local_address, socket_options)
        return _Stream(self, stream)

    def opened(self, stream: httpcore.NetworkStream) -> None:
        with self._lock:
            self._sockets.add(stream.get_extra_info("socket"))

    def closed(self, stream: httpcore.NetworkStream) -> None:
        with self._lock:
            self._sockets.discard(stream.get_extra_info("socket"))

    def hang_up(self) -> None:
        with self._lock:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class _Stream(httpcore.NetworkStream):
    def __init__(self, backend: _Backend, stream: httpcore.NetworkStream) -> None:
        self._backend = backend
        self._stream = stream
        backend.opened(stream)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._backend.expired():
            raise httpcore.ReadTimeout("the deadline has passed")
        return self._stream.read(max_bytes, self._backend.remaining(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._backend.expired():
            raise httpcore.WriteTimeout("the deadline has passed")
        self._stream.write(buffer, self._backend.remaining(timeout))

    def close(self) -> None:
        self._backend.closed(self._stream)
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._backend.closed(self._stream)
        inner = self._stream.start_tls(ssl_context, server_hostname, self._backend.remaining(timeout))
        return _Stream(self._backend, inner)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
