"""Who may ask, and what a server binds."""

import base64
import socket
from http import HTTPStatus
from pathlib import Path

import pytest

from pipesched.errors import Busy, ConfigurationError, InvalidValue
from pipesched.http.messages import Refused, Request
from pipesched.http.server import StatusServer, authorised, guard, token_digest
from support.world import World, WorldSource

TOKEN = "s3cret-tökén"
DIGEST = token_digest(TOKEN)
assert DIGEST is not None


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {TOKEN}".encode(),
        f"bearer   {TOKEN}".encode(),
        basic("anybody", TOKEN),
        basic("", TOKEN),
    ],
)
def test_the_token_opens_as_bearer_or_as_basic_password(header: bytes) -> None:
    assert authorised(header, DIGEST)


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        TOKEN.encode(),
        b"Bearer " + TOKEN.encode()[:-1],
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer \xff\xfe\x00",
        b"Bearer " + TOKEN.encode("latin-1"),
        b"Basic not base64!",
        b"Basic " + base64.b64encode(TOKEN.encode()),
        basic(TOKEN, "wrong"),
        b"Basic \xe9",
        b"Digest " + TOKEN.encode(),
    ],
)
def test_anything_else_does_not(header: bytes | None) -> None:
    assert not authorised(header, DIGEST)


@pytest.mark.parametrize("blank", [None, "", "  ", "\n"])
def test_a_blank_token_is_none(blank: str | None) -> None:
    assert token_digest(blank) is None


def test_a_newline_from_a_secrets_file_is_no_part_of_the_token() -> None:
    assert token_digest(TOKEN + "\n") == DIGEST


def status_of(request: Request, *, loopback: bool = True, token: bytes | None = None) -> int:
    try:
        guard(request, loopback=loopback, token=token)
    except Refused as refused:
        return refused.status
    return HTTPStatus.OK


def request(path: str = "/health", host: str = "localhost", method: str = "GET") -> Request:
    return Request(method, path, "", host)


def test_on_loopback_the_host_must_be_a_loopback_name() -> None:
    assert status_of(request(host="127.0.0.1:8765")) == 200
    assert status_of(request(host="evil.example")) == 421
    assert status_of(request(host="evil.example", path="/livez")) == 421
    assert status_of(request(host="")) == 400
    assert status_of(request(host="evil.example"), loopback=False) == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_all_but_get_and_head_are_refused(method: str) -> None:
    with pytest.raises(Refused) as caught:
        guard(request(method=method), loopback=True, token=None)
    assert caught.value.status == 405
    assert caught.value.headers == {"Allow": "GET, HEAD"}


def test_the_token_is_asked_for_on_all_but_the_probes() -> None:
    for path in (
        "/",
        "/health",
        "/metrics",
        "/scheduler/status",
        "/pipeline/reports/x",
        "/nope",
        "/livez/",
        "/livez/../health",
    ):
        assert status_of(request(path), token=DIGEST) == 401, path
    for path in ("/livez", "/readyz"):
        assert status_of(request(path), token=DIGEST) == 200, path


@pytest.fixture
def source(tmp_path: Path) -> WorldSource:
    return WorldSource(World(tmp_path))


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_another_address_without_a_token_is_refused(source: WorldSource, address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StatusServer(address, token=None, source=source).start()
    assert caught.value.exit_code == 78
    assert "PIPESCHED_HTTP_TOKEN" in caught.value.hint


def test_another_address_with_a_token_is_taken(source: WorldSource) -> None:
    server = StatusServer("0.0.0.0:0", token=TOKEN, source=source)
    try:
        assert server.start()[0] == "0.0.0.0"
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("address", "family"), [("127.0.0.1:0", socket.AF_INET), ("[::1]:0", socket.AF_INET6)]
)
def test_port_0_takes_a_free_one(source: WorldSource, address: str, family: socket.AddressFamily) -> None:
    server = StatusServer(address, token=None, source=source)
    host, port = server.start()
    try:
        assert port > 0
        assert server.url == f"http://{'[::1]' if family == socket.AF_INET6 else host}:{port}"
        with socket.socket(family) as client:
            client.connect((host, port))
    finally:
        server.stop()


def test_a_port_in_use_is_said_with_what_to_do(source: WorldSource) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Busy) as caught:
            StatusServer(f"127.0.0.1:{other.getsockname()[1]}", token=None, source=source).start()
    assert "in use" in caught.value.message
    assert "--http 127.0.0.1:0" in caught.value.hint
    assert "--no-http" in caught.value.hint


def test_an_address_of_another_machine_is_a_configuration_error(source: WorldSource) -> None:
    with pytest.raises(ConfigurationError, match="no address of this machine"):
        StatusServer("192.0.2.1:0", token=TOKEN, source=source).start()


def test_a_host_that_nobody_knows_is_a_configuration_error(source: WorldSource) -> None:
    with pytest.raises(ConfigurationError, match="there is no host"):
        StatusServer("nobody.invalid:0", token=TOKEN, source=source).start()


def test_an_address_that_is_none_is_a_usage_error(source: WorldSource) -> None:
    with pytest.raises(InvalidValue):
        StatusServer("8765", token=None, source=source)


def test_a_stopped_server_is_gone_and_stops_once(source: WorldSource) -> None:
    server = StatusServer("127.0.0.1:0", token=None, source=source)
    server.stop()  # never started
    address = server.start()
    server.stop()
    server.stop()
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(address)
    again = StatusServer(f"{address[0]}:{address[1]}", token=None, source=source)
    assert again.start() == address, "the port is free at once"
    again.stop()
