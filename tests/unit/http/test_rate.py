"""The law of the token bucket, and whom an address stands for."""

from hypothesis import given
from hypothesis import strategies as st

from pipesched.http.rate import BURST, REQUESTS_A_SECOND, RateLimit, client_of

waits = st.lists(st.floats(0, 3), max_size=60)


@given(waits, st.floats(0.5, 50), st.integers(1, 10))
def test_no_window_of_time_lets_more_than_its_tokens_through(
    pauses: list[float], rate: float, burst: int
) -> None:
    limit, now, let = RateLimit(rate, burst), 1000.0, []
    for pause in pauses:
        now += pause
        if limit.take("a", now) == 0:
            let.append(now)
    for first, begin in enumerate(let):
        for last in range(first, len(let)):
            assert last - first + 1 <= burst + rate * (let[last] - begin) + 1e-6


@given(waits, st.floats(0.5, 50), st.integers(1, 10))
def test_who_waits_as_long_as_told_is_let_in_and_no_sooner(
    pauses: list[float], rate: float, burst: int
) -> None:
    limit, now = RateLimit(rate, burst), 1000.0
    for pause in pauses:
        now += pause
        wait = limit.take("a", now)
        assert 0 <= wait <= 1 / rate + 1e-6
        if wait > 1e-3:
            assert limit.take("a", now + wait / 2) > 0
            now += wait + 1e-6
            assert limit.take("a", now) == 0


def test_a_burst_and_then_the_rate() -> None:
    limit = RateLimit()
    assert [limit.take("a", 5.0) for _ in range(BURST)] == [0] * BURST
    assert 0 < limit.take("a", 5.0) <= 1 / REQUESTS_A_SECOND + 1e-6
    assert limit.take("b", 5.0) == 0, "each client has a bucket of its own"
    assert sum(limit.take("a", 6.0) == 0 for _ in range(100)) == REQUESTS_A_SECOND
    assert [limit.take("a", 6.0 + BURST / REQUESTS_A_SECOND) for _ in range(BURST)] == [0] * BURST


def test_a_page_that_reloads_and_a_scraper_never_wait() -> None:
    limit = RateLimit()
    for second in range(600):
        for _ in range(
            10
        ):  # ten people behind one proxy, each with ten open pages, and a scraper every second
            assert limit.take("proxy", float(second)) == 0


def test_memory_is_bounded_and_keeps_who_asked_last() -> None:
    limit = RateLimit(1, 1, clients=10)
    assert limit.take("first", 0) == 0
    for number in range(1000):
        limit.take(f"c{number}", number / 1e6)
        limit.take("first", number / 1e6)
    assert len(limit) == 10
    assert limit.take("first", 0.001) > 0, "whoever keeps asking is not forgotten"
    assert limit.take("c0", 0.001) == 0


def test_an_ipv6_host_is_its_64_and_an_ipv4_one_its_address() -> None:
    assert client_of("192.0.2.7") == "192.0.2.7"
    assert client_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_of("2001:db8:1:2:3:4:5:6") == client_of("2001:db8:1:2::9") != client_of("2001:db8:1:3::9")
    assert client_of("fe80::1%eth0") != client_of("fe80::2%eth0")
    assert client_of("unix") == "unix"
