"""The endpoint's certificate: what is refused at the start and why, what is shown, what a new one changes."""

import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.errors import ConfigurationError, DataError, NotPermitted, PipeschedError
from pipesched.http.client import ask_health
from pipesched.http.server import StatusServer
from pipesched.http.tls import Certificate
from support.certificate import Pair, make_pair
from support.machine import bound_by_permissions
from support.world import World, WorldSource


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path)


@pytest.fixture
def certificate(pair: Pair) -> Certificate:
    return Certificate(pair.cert, pair.key)


@pytest.fixture
def server(tmp_path: Path, certificate: Certificate) -> Iterator[StatusServer]:
    home = tmp_path / "home"
    home.mkdir()
    made = StatusServer("127.0.0.1:0", token=None, source=WorldSource(World(home)), certificate=certificate)
    made.start()
    yield made
    made.stop()


def address_of(server: StatusServer) -> tuple[str, int]:
    return server.address.host, server.address.port


def ask(connection: ssl.SSLSocket) -> bytes:
    with connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def refusal(cert: Path, key: Path) -> PipeschedError:
    with pytest.raises(PipeschedError) as caught:
        Certificate(cert, key)
    assert caught.value.hint
    return caught.value


def test_a_file_that_is_not_there_is_named(pair: Pair, tmp_path: Path) -> None:
    for option, cert, key in (
        ("--tls-cert", tmp_path / "no.pem", pair.key),
        ("--tls-key", pair.cert, tmp_path / "no.key"),
    ):
        error = refusal(cert, key)
        assert isinstance(error, ConfigurationError)
        assert option in error.message
        assert str(tmp_path / "no.") in error.message
    assert isinstance(refusal(tmp_path, pair.key), ConfigurationError), "a folder"


def test_what_is_no_pem_is_named(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"\xff\x00 hello")
    (tmp_path / "broken").write_bytes(pair.cert.read_bytes()[:200])
    assert "holds no certificate" in refusal(tmp_path / "junk", pair.key).message
    assert "holds no private key" in refusal(pair.cert, pair.cert).message
    assert "holds no certificate" in refusal(pair.key, pair.key).message
    assert isinstance(refusal(tmp_path / "broken", pair.key), DataError)


def test_a_key_of_another_certificate_is_refused(pair: Pair, tmp_path: Path) -> None:
    other = make_pair(tmp_path, "other")
    error = refusal(pair.cert, other.key)
    assert error.exit_code == 65
    assert "do not belong together" in error.message


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(pair: Pair, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", pair.key, "-aes256", "-passout", "pass:x", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    error = refusal(pair.cert, locked)
    assert isinstance(error, DataError)
    assert "passphrase" in error.message


def test_a_key_that_may_not_be_read_is_not_permitted(pair: Pair) -> None:
    from support.command import PIPESCHED

    pair.key.chmod(0)
    done = subprocess.run(
        [*bound_by_permissions(), PIPESCHED, "daemon", "--tls-cert", pair.cert, "--tls-key", pair.key],
        cwd=pair.key.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == NotPermitted.exit_code, done.stderr
    assert "--tls-key" in done.stderr


def test_the_endpoint_speaks_https_and_says_so(server: StatusServer, pair: Pair) -> None:
    assert server.url == f"https://127.0.0.1:{server.address.port}"
    with pair.connect(address_of(server)) as connection:
        assert connection.version() == "TLSv1.3"
    assert ask(pair.connect(address_of(server))).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_each_version_since_1_2_is_spoken(server: StatusServer, pair: Pair, version: ssl.TLSVersion) -> None:
    context = pair.client()
    context.minimum_version = context.maximum_version = version
    assert ask(pair.connect(address_of(server), context)).endswith(b'"pass"}\n'), "and the end is a clean one"


@pytest.mark.filterwarnings("ignore:.*TLSv1.*is deprecated:DeprecationWarning")
def test_older_versions_are_not(server: StatusServer, pair: Pair) -> None:
    context = pair.client()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        pair.connect(address_of(server), context)
    assert ask(pair.connect(address_of(server))).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_new_certificate_is_shown_after_a_reload(
    server: StatusServer, pair: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = pair.connect(address_of(server))
    new = make_pair(tmp_path, "new")
    pair.cert.write_bytes(new.cert.read_bytes())
    server.reload()
    assert "do not belong together" in caplog.text, "half of it is there: the old pair goes on"
    assert ask(before).startswith(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(ssl.SSLCertVerificationError):
        new.connect(address_of(server))
    pair.key.write_bytes(new.key.read_bytes())
    server.reload()
    assert ask(new.connect(address_of(server))).startswith(b"HTTP/1.1 200 OK\r\n")


def signed(folder: Path, *, days: int) -> Pair:
    """A leaf without any extension, of an authority that is in no file of ours."""
    authority = make_pair(folder, "authority")
    leaf = Pair(folder / "leaf.pem", folder / "leaf.key")
    request = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=leaf"]
    request += ["-keyout", leaf.key, "-out", folder / "leaf.csr"]  # type: ignore[list-item]
    signing = ["openssl", "x509", "-req", "-in", folder / "leaf.csr", "-days", str(days)]
    signing += ["-CA", authority.cert, "-CAkey", authority.key, "-out", leaf.cert]
    for command in (request, signing):
        subprocess.run(command, check=True, capture_output=True)
    return leaf


def ends(pair: Pair) -> datetime:
    command = ["openssl", "x509", "-in", pair.cert, "-noout", "-enddate"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter=")), UTC)


def test_a_certificate_says_when_it_ends(pair: Pair, certificate: Certificate) -> None:
    assert certificate.until == ends(pair)
    assert timedelta(days=1) < ends(pair) - datetime.now(UTC) <= timedelta(days=2)


@pytest.mark.parametrize("days", [5, 0])
def test_so_does_one_of_an_authority_that_nobody_knows_also_when_it_has_ended(
    tmp_path: Path, days: int
) -> None:
    leaf = signed(tmp_path, days=days)
    assert Certificate(leaf.cert, leaf.key).until == ends(leaf)


def test_what_counts_is_the_certificate_that_is_shown_not_the_file(
    server: StatusServer, pair: Pair, tmp_path: Path
) -> None:
    before = server.certificate_until
    new = make_pair(tmp_path, "new", days=90)
    pair.cert.write_bytes(new.cert.read_bytes())
    pair.key.write_bytes(new.key.read_bytes())
    assert server.certificate_until == before
    server.reload()
    assert server.certificate_until == ends(new)


def test_health_trusts_whom_the_environment_names(
    server: StatusServer, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrusted = ask_health(server.url, token=None).checks["endpoint"]
    assert "certificate is not accepted" in untrusted.message
    assert "SSL_CERT_FILE" in untrusted.hint
    monkeypatch.setenv("SSL_CERT_FILE", str(pair.cert))
    assert "job_file" in ask_health(server.url, token=None).checks
    plain = ask_health(f"http://127.0.0.1:{server.address.port}", token=None).checks["endpoint"]
    assert (plain.message, plain.hint) == (
        f"http://127.0.0.1:{server.address.port}/health: it speaks HTTPS",
        f"ask https://127.0.0.1:{server.address.port}/health",
    )
