"""Documents are made by one thread at a time, kept for a while, and given out while a new one is made."""

import threading
from collections.abc import Callable

import pytest

from pipesched.http.documents import FRESH_SECONDS, SHARE, STALE_SECONDS, Kept


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def counting(clock: Clock, cost: float = 0.0) -> Callable[[], int]:
    made = iter(range(1000))

    def make() -> int:
        clock.time += cost
        return next(made)

    return make


def test_a_value_is_kept_for_a_second(clock: Clock) -> None:
    kept = Kept(counting(clock), clock)
    assert (kept.get(), kept.get()) == (0, 0)
    clock.time += FRESH_SECONDS
    assert kept.get() == 1


def test_what_took_long_is_kept_longer(clock: Clock) -> None:
    kept = Kept(counting(clock, cost=2.0), clock)
    assert kept.get() == 0
    clock.time += 2.0 * SHARE - 0.1
    assert kept.get() == 0
    clock.time += 0.1
    assert kept.get() == 1


def test_a_fault_is_not_kept(clock: Clock) -> None:
    answers = iter([OSError("no"), 7])

    def make() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    kept = Kept(make, clock)
    with pytest.raises(OSError, match="no"):
        kept.get()
    assert kept.get() == 7


@pytest.mark.parametrize(("age", "waits"), [(STALE_SECONDS - 1, False), (STALE_SECONDS + 1, True)])
def test_while_a_new_one_is_made_the_last_is_given_out_unless_it_is_too_old(
    clock: Clock, age: float, waits: bool
) -> None:
    go_on, making = threading.Event(), threading.Event()
    numbers = iter(range(10))

    def make() -> int:
        number = next(numbers)
        if number == 1:
            making.set()
            assert go_on.wait(10)
        return number

    kept = Kept(make, clock)
    assert kept.get() == 0
    clock.time += FRESH_SECONDS + age
    maker = threading.Thread(target=kept.get)
    maker.start()
    assert making.wait(10)
    if waits:
        threading.Timer(0.05, go_on.set).start()
    assert kept.get() == (1 if waits else 0)
    go_on.set()
    maker.join(10)
