"""What is shown of a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.jobs.masking import masked


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("env:HOOK", "env:HOOK"),
        ("https://hc-ping.com/0b1c", "https://hc-ping.com/***"),
        ("https://user:pw@example.org:8443/x?y=z#f", "https://***@example.org:8443/***"),
        ("https://example.org", "https://example.org"),
        ("https://example.org?key=1", "https://example.org/***"),
        ("https://[::1]:80/x", "https://[::1]:80/***"),
        ("mailto://joe:pw@example.com", "mailto://***@example.com"),
        ("slack://T1/B2/C3", "slack://***"),
        ("tgram://123:abc/42", "tgram://***"),
        ("https://a:notaport/x", "https://***"),
        ("nonsense", "***"),
    ],
)
def test_only_scheme_and_host_are_shown(url: str, shown: str) -> None:
    assert masked(url) == shown


@given(
    st.sampled_from(["https", "slack", "mailto", "json", "discord"]),
    st.text("abcdefghij0123456789:@/?#[]%", max_size=12),
    st.text("abcdefghij0123456789:@/?#[]%", max_size=12),
)
def test_what_comes_before_the_at_or_after_the_host_is_never_shown(
    scheme: str, before: str, after: str
) -> None:
    shown = masked(f"{scheme}://{before}SECRET@example.org/{after}SECRET")
    assert "SECRET" not in shown
