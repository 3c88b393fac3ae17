"""A client of the endpoint: whole answers over raw sockets, so that bad requests can be sent too."""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


def exchange(address: tuple[str, int], data: bytes, *, timeout: float = 20) -> Answer:
    """Send `data` on a connection of its own, and read until the endpoint closes it."""
    began = time.monotonic()
    with socket.create_connection(address, timeout=timeout) as client:
        client.sendall(data)
        received = b""
        while part := client.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split()[1]), headers, body, time.monotonic() - began)


def get(
    address: tuple[str, int], path: str, *, method: str = "GET", host: str = "localhost", **fields: str
) -> Answer:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return exchange(address, ("\r\n".join(lines) + "\r\n\r\n").encode())
