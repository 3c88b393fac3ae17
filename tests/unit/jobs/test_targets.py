"""Where notifications and pings never go."""

import pytest

from pipesched.errors import InvalidValue
from pipesched.jobs.targets import check_targets, is_refused

REFUSED = [
    "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "[fe80::1]", "fd00:ec2::254", "100.100.100.200",
    "192.0.0.192", "168.63.129.16", "metadata.google.internal", "Metadata.Google.Internal.", "metadata",
    "::ffff:169.254.169.254", "2002:a9fe:a9fe::1", "64:ff9b::a9fe:a9fe", "2852039166", "0xa9fea9fe",
    "0251.0376.0251.0376", "169.254.43518",
]  # fmt: skip
ALLOWED = [
    "127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "100.100.100.201", "example.com", "hc-ping.com", "169.253.1.1",
    "fd00:ec2::1", "metadata.example.com", "TokenA", "", "fe80",
]  # fmt: skip


@pytest.mark.parametrize("host", REFUSED)
def test_link_local_and_metadata_are_refused_in_any_spelling(host: str) -> None:
    assert is_refused(host)


@pytest.mark.parametrize("host", ALLOWED)
def test_other_places_are_not(host: str) -> None:
    assert not is_refused(host)


def test_a_url_that_names_one_is_refused_without_its_secret() -> None:
    with pytest.raises(InvalidValue) as caught:
        check_targets(["http://user:CANARY@169.254.169.254/CANARY?CANARY"], environ={})
    assert "169.254.169.254" in caught.value.message
    assert "CANARY" not in caught.value.message + caught.value.hint
    assert "PIPESCHED_ALLOW_LINK_LOCAL" in caught.value.hint


def test_whoever_runs_the_machine_may_allow_them() -> None:
    check_targets(["http://169.254.169.254/"], environ={"PIPESCHED_ALLOW_LINK_LOCAL": "1"})
