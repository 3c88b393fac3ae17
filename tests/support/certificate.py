"""A certificate for localhost, its key, and a client that trusts it."""

import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.machine import program


@dataclass(frozen=True)
class Pair:
    cert: Path
    key: Path

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.cert))

    def connect(self, address: tuple[str, int], context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A connection that has agreed on TLS, the name checked."""
        plain = socket.create_connection(address, timeout=20)
        return (context or self.client()).wrap_socket(plain, server_hostname="localhost")


def make_pair(folder: Path, name: str = "server", *, days: int = 2) -> Pair:
    """Self-signed, for localhost and 127.0.0.1, good for so many days from now."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    subprocess.run(
        [
            program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", str(days), "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout", str(pair.key), "-out", str(pair.cert),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return pair
