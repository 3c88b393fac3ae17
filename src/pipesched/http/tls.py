"""The certificate that the endpoint shows: read, checked, read again, and how long it is good for."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipesched.errors import ConfigurationError, DataError, NotPermitted

_BEGINNINGS: Final = {"--tls-cert": b"-----BEGIN CERTIFICATE-----", "--tls-key": b"PRIVATE KEY-----"}
_SELF_SIGNED: Final = (
    "openssl req -x509 -newkey rsa:3072 -nodes -keyout key.pem -out cert.pem -days 365"
    " -subj /CN=NAME -addext subjectAltName=DNS:NAME makes a pair"
)
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, which `ssl` has no name for."""


class Certificate:
    """A certificate (with its chain) and its private key, two PEM files. `context` is replaced whole, never changed.

    `until` (aware, UTC): when the certificate ends that is shown now, whatever the file holds meanwhile; None: it does not say.

    Raises ConfigurationError (a file that is not there), NotPermitted, DataError (what is no PEM, or no pair).
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self.cert, self.key = cert, key
        self.context = load(cert, key)
        self.until = ends_at(self.context, cert)

    def reload(self) -> None:
        """Connections from now on get what the files hold now. Raises as the constructor does, and keeps the old pair."""
        self.context = load(self.cert, self.key)
        self.until = ends_at(self.context, self.cert)


def load(cert: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and later, with the library's own choice of ciphers. Raises as Certificate."""
    for option, path in (("--tls-cert", cert), ("--tls-key", key)):
        check(option, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])

    def passphrase() -> str:  # asked for by OpenSSL, which would otherwise ask the terminal
        raise DataError(
            f"--tls-key: {key} wants a passphrase, and a daemon has nobody to ask",
            hint=f"store it without one, for the daemon's user alone: openssl pkey -in {key} -out NEW",
        )

    try:
        context.load_cert_chain(cert, key, password=passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise DataError(
                f"the certificate {cert} and the key {key} do not belong together",
                hint="give the key that the certificate was made for",
            ) from error
        raise DataError(
            f"the certificate {cert} and the key {key} cannot be used: {error.reason or error}",
            hint=f"see: openssl x509 -in {cert} -noout -text; openssl pkey -in {key} -noout",
        ) from error
    except OSError as error:  # one of the two went a moment ago
        raise ConfigurationError(
            f"the certificate {cert} and the key {key} cannot be read: {error.strerror}", hint=_SELF_SIGNED
        ) from error
    return context


def ends_at(context: ssl.SSLContext, cert: Path) -> datetime | None:
    """When the certificate that `context` shows is no longer valid: what a client that trusts it would see, asked in memory.

    None where no client can be made to trust it, as where the file was replaced a moment ago.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client.load_verify_locations(cert)
        asking = client.wrap_bio(to_client, to_server)
        showing = context.wrap_bio(to_server, to_client, server_side=True)
        for side in (asking, showing, asking):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        shown = asking.getpeercert() or {}
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
    except (OSError, KeyError, ValueError):
        return None


def check(option: str, path: Path) -> None:
    """Say which of the two files it is; OpenSSL would not. Raises as Certificate."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(f"{option}: there is no file {path}", hint=_SELF_SIGNED) from error
    except PermissionError as error:
        raise NotPermitted(f"{option}: {path} may not be read", hint=f"see: ls -l {path}") from error
    except OSError as error:
        raise ConfigurationError(f"{option}: {path}: {error.strerror}", hint=_SELF_SIGNED) from error
    if _BEGINNINGS[option] not in data:
        what = "certificate" if option == "--tls-cert" else "private key"
        raise DataError(f"{option}: {path} holds no {what} in PEM form", hint=_SELF_SIGNED)
