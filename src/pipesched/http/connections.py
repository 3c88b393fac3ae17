"""Many connections on one thread: TLS is agreed on, heads are read, and answers sent, without ever waiting for a client."""

from __future__ import annotations

import contextlib
import logging
import queue
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from pipesched.http.messages import HeadReader, Parts, Refused, Request

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 256
HEAD_SECONDS: Final = 5.0
"""In which a client agrees on TLS and sends its whole request head, counted from its connect."""
NEW_SECONDS: Final = 1.0
"""For which a connection is taken to be about to send its request: who does not take an answer is given up before it."""
SEND_SECONDS: Final = 15.0
"""In which a client takes its whole answer, and a second more for each of these bytes."""
SLOWEST_BYTES: Final = 64 * 1024
LINGER_SECONDS: Final = 1.0
"""For which what a client still sends after its answer is thrown away: closing at once would reset the connection,
and the client would lose the answer (a 414 above all)."""
WORKERS: Final = 2
MAX_WAITING: Final = 64
"""Requests that wait for a worker; further ones get the `busy` answer."""

_ACCEPT_AT_ONCE: Final = 64
_RECEIVE: Final = 16 * 1024
"""No less than a TLS record, so that nothing of it stays where the selector does not see it."""
_TLS_HANDSHAKE: Final = b"\x16"
"""The first byte of a client that speaks TLS."""
_IS_HTTPS: Final = Refused(HTTPStatus.BAD_REQUEST, "https_only", "this endpoint speaks HTTPS")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the connections ask of the endpoint; each gives what is to be sent.

    `at_once` is asked on the connections' own thread, with the peer's address, so it must not wait, and gives None for
    what a worker is to answer; `worked` is asked on a worker's.
    """

    at_once: Callable[[Request, str], Parts | None]
    worked: Callable[[Request], Parts]
    refused: Callable[[Refused], Parts]
    busy: Callable[[Request], Parts]


class _State(Enum):
    GREETING = auto()  # its first byte says whether it is TLS
    AGREEING = auto()  # on TLS
    READING = auto()
    WORKING = auto()
    SENDING = auto()
    LINGERING = auto()


_IDLE: Final = frozenset({_State.GREETING, _State.AGREEING, _State.READING, _State.LINGERING})


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    peer: str
    accepted: float
    deadline: float | None
    state: _State
    head: HeadReader = field(default_factory=HeadReader)
    answer: list[memoryview] = field(default_factory=list)


class Connections:
    """Serves `listener` (bound, listening) from `start` until `stop`. `tls`: what new connections agree on TLS by; None: none."""

    def __init__(
        self, listener: socket.socket, answers: Answers, tls: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self._listener = listener
        self._answers = answers
        self._tls = tls
        self._selector = selectors.DefaultSelector()
        self._open: dict[_Connection, None] = {}  # in the order of their arrival
        self._wake_in, self._wake_out = socket.socketpair()
        self._work: queue.SimpleQueue[tuple[_Connection, Request] | None] = queue.SimpleQueue()
        self._done: deque[tuple[_Connection, Parts]] = deque()
        self._stopping = threading.Event()
        self._accept_again: float | None = None
        self._threads = [
            threading.Thread(target=self._serve, name="http", daemon=True),
            *(threading.Thread(target=self._answer, name=f"http-{n}", daemon=True) for n in range(WORKERS)),
        ]

    def start(self) -> None:
        self._listener.setblocking(False)
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close every connection. A worker in the middle of an answer is left to end by itself."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        for _ in range(WORKERS):
            self._work.put(None)
        self._wake()
        self._threads[0].join(2)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake anyhow; closed: it has stopped
            self._wake_in.send(b"\0")

    def _answer(self) -> None:
        while (item := self._work.get()) is not None:
            connection, request = item
            self._done.append((connection, self._answers.worked(request)))
            self._wake()

    def _serve(self) -> None:
        try:
            while not self._stopping.is_set():
                for key, _ in self._selector.select(self._patience()):
                    self._ready(key)
                while self._done:
                    self._send(*self._done.popleft())
                self._close_late(time.monotonic())
        finally:
            for connection in list(self._open):
                self._close(connection)
            self._listener.close()
            self._selector.close()
            self._wake_in.close()
            self._wake_out.close()

    def _patience(self) -> float | None:
        """Seconds until something is due; None: nothing is, so an idle endpoint costs nothing."""
        dues = [each.deadline for each in self._open if each.deadline is not None]
        if self._accept_again is not None:
            dues.append(self._accept_again)
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _ready(self, key: selectors.SelectorKey) -> None:
        if key.fileobj is self._listener:
            self._accept()
        elif key.fileobj is self._wake_out:
            with contextlib.suppress(BlockingIOError):
                self._wake_out.recv(4096)
        elif key.data in self._open:  # not one that was closed for another in this same round
            self._try(key.data, self._step)

    def _try(self, connection: _Connection, step: Callable[[_Connection], None]) -> None:
        """As far as it goes without waiting for the client; what cannot go on is closed."""
        try:
            step(connection)
        except (BlockingIOError, InterruptedError):
            pass
        except ssl.SSLWantReadError:
            self._await(connection, selectors.EVENT_READ)
        except ssl.SSLWantWriteError:
            self._await(connection, selectors.EVENT_WRITE)
        except OSError as error:  # reset by the client, or no TLS that we speak: its own affair
            log.debug("%s: %s", connection.peer, error)
            self._close(connection)

    def _step(self, connection: _Connection) -> None:
        if connection.state is _State.GREETING:
            self._greet(connection)
        if connection.state is _State.AGREEING:
            self._agree(connection)
        elif connection.state is _State.READING:
            self._read(connection)
        elif connection.state is _State.SENDING:
            self._go_on_sending(connection)
        elif connection.state is _State.LINGERING:
            self._drain(connection)

    def _await(self, connection: _Connection, events: int) -> None:
        self._selector.modify(connection.socket, events, connection)

    def _accept(self) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                client, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                # Out of file handles or memory: the connection stays in the queue, and trying at once would spin.
                log.warning("cannot accept a connection: %s", error)
                self._selector.unregister(self._listener)
                self._accept_again = time.monotonic() + 1
                return
            if len(self._open) >= MAX_CONNECTIONS:
                self._make_room(time.monotonic())
            client.setblocking(False)
            state = _State.READING if self._tls is None else _State.GREETING
            now = time.monotonic()
            connection = _Connection(client, str(address[0]), now, now + HEAD_SECONDS, state)
            self._open[connection] = None
            self._selector.register(client, selectors.EVENT_READ, connection)

    def _make_room(self, now: float) -> None:
        """Give up the connection that has waited longest without a whole request, or else without taking its answer.

        There is one: no more than MAX_WAITING requests wait for the WORKERS. So nobody is shut out by clients that do nothing.
        """
        idle = next((each for each in self._open if each.state in _IDLE), None)
        sending = next((each for each in self._open if each.state is _State.SENDING), None)
        if idle is not None and (sending is None or idle.accepted <= now - NEW_SECONDS):
            self._close(idle)
        elif sending is not None:
            self._close(sending)

    def _greet(self, connection: _Connection) -> None:
        first = connection.socket.recv(1, socket.MSG_PEEK)
        if not first:
            self._close(connection)
        elif first != _TLS_HANDSHAKE:
            self._send(connection, self._answers.refused(_IS_HTTPS))
        elif self._tls is not None:
            self._selector.unregister(connection.socket)
            connection.socket = self._tls().wrap_socket(
                connection.socket, server_side=True, do_handshake_on_connect=False
            )
            connection.state = _State.AGREEING
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _agree(self, connection: _Connection) -> None:
        assert isinstance(connection.socket, ssl.SSLSocket)
        try:
            connection.socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            log.debug("%s: %s", connection.peer, error)
            self._linger(connection)  # so that the client gets the alert that says why
            return
        connection.state = _State.READING
        self._read(connection)  # what came along with the handshake may be here already

    def _read(self, connection: _Connection) -> None:
        self._await(connection, selectors.EVENT_READ)
        data = connection.socket.recv(_RECEIVE)
        if not data:
            self._close(connection)
            return
        try:
            request = connection.head.feed(data)
        except Refused as refused:
            self._send(connection, self._answers.refused(refused))
            return
        if request is None:
            return
        answer = self._answers.at_once(request, connection.peer)
        if answer is None and self._work.qsize() >= MAX_WAITING:
            answer = self._answers.busy(request)
        if answer is not None:
            self._send(connection, answer)
            return
        connection.state = _State.WORKING
        connection.deadline = None  # the worker's end is the deadline; its answer finds the client gone
        self._selector.unregister(connection.socket)
        self._work.put((connection, request))

    def _send(self, connection: _Connection, answer: Parts) -> None:
        if connection.state is _State.WORKING:
            self._selector.register(connection.socket, selectors.EVENT_WRITE, connection)
        else:
            self._await(connection, selectors.EVENT_WRITE)
        connection.state = _State.SENDING
        connection.answer = [memoryview(part) for part in answer if part]
        connection.deadline = time.monotonic() + SEND_SECONDS + sum(map(len, answer)) / SLOWEST_BYTES
        self._try(connection, self._go_on_sending)

    def _go_on_sending(self, connection: _Connection) -> None:
        if isinstance(connection.socket, ssl.SSLSocket):  # which has no sendmsg
            sent = connection.socket.send(connection.answer[0])
        else:
            sent = connection.socket.sendmsg(connection.answer)
        while connection.answer and sent >= len(connection.answer[0]):
            sent -= len(connection.answer.pop(0))
        if connection.answer:
            connection.answer[0] = connection.answer[0][sent:]
            self._await(connection, selectors.EVENT_WRITE)
            return
        if isinstance(connection.socket, ssl.SSLSocket):
            with contextlib.suppress(OSError):  # it has said goodbye, and would now wait for the client's
                connection.socket.unwrap()
        self._linger(connection)

    def _linger(self, connection: _Connection) -> None:
        connection.socket.shutdown(socket.SHUT_WR)
        connection.state = _State.LINGERING
        connection.deadline = time.monotonic() + LINGER_SECONDS
        self._await(connection, selectors.EVENT_READ)

    def _drain(self, connection: _Connection) -> None:
        if not connection.socket.recv(_RECEIVE):
            self._close(connection)

    def _close_late(self, now: float) -> None:
        if self._accept_again is not None and now >= self._accept_again:
            self._accept_again = None
            self._selector.register(self._listener, selectors.EVENT_READ)
        for connection in [each for each in self._open if each.deadline is not None and each.deadline <= now]:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        if self._open.pop(connection, self) is self:
            return
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()
