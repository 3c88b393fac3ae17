"""Addresses to listen on, and hosts that name this machine."""

import pytest

from pipesched.errors import InvalidValue
from pipesched.http.address import Address, is_loopback, split


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8765", "127.0.0.1", 8765),
        ("localhost:0", "localhost", 0),
        ("[::1]:8765", "::1", 8765),
        ("0.0.0.0:80", "0.0.0.0", 80),
        (" blog.example:65535 ", "blog.example", 65535),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", "8765", ":8765", "localhost", "localhost:", "::1:8765", "[::1]", "[::1]8765", "[127.0.0.1]:1", "a:65536",
     "a:-1", "a:1:2", "a b:1", "http://localhost:1", "a:１", "[fe80::1%eth0]:1", "-a:1", "a/b:1"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Address.parse(text)
    assert "127.0.0.1:8765" in caught.value.hint


def test_an_address_puts_ipv6_in_brackets() -> None:
    assert str(Address("::1", 80)) == "[::1]:80"
    assert str(Address("127.0.0.1", 80)) == "127.0.0.1:80"


@pytest.mark.parametrize(
    "authority",
    ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.255.3.4:99", "[::1]", "[::1]:8765", "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_loopback_names_are_this_machine(authority: str) -> None:
    host, _ = split(authority)
    assert host is not None
    assert is_loopback(host)


@pytest.mark.parametrize(
    "authority",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "10.0.0.1", "[::]", "[::2]", "2130706433",
     "127.1", "localhos", "[::ffff:10.0.0.1]"],
)  # fmt: skip
def test_other_names_are_not(authority: str) -> None:
    host, _ = split(authority)
    assert host is None or not is_loopback(host)


@pytest.mark.parametrize(
    "authority",
    ["", ":80", "a b", "localhost:x", "localhost:123456", "[::1", "::1", "a@localhost", "localhost/", "é"],
)
def test_what_is_no_host_is_none(authority: str) -> None:
    assert split(authority)[0] is None
