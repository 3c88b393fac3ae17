"""`--after`: unknown jobs, cycles, removal."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipesched.errors import InvalidValue, UsageError
from pipesched.jobs.dependencies import check_dependencies, check_removal, find_cycle
from pipesched.jobs.model import JobPolicy


def graph(job, **edges: str) -> dict:
    return {name: job(name, policy=JobPolicy(after=tuple(others.split()))) for name, others in edges.items()}


def test_an_unknown_job_is_named_with_the_nearest(job) -> None:
    jobs = graph(job, nightly="", b="nigthly")
    with pytest.raises(InvalidValue) as caught:
        check_dependencies(jobs, ["b"])
    assert "'nigthly'" in caught.value.message
    assert "nightly" in caught.value.hint


@pytest.mark.parametrize(
    "edges", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c d", "c": "", "d": "e", "e": "a"}]
)
def test_a_cycle_is_refused_and_shown(job, edges: dict) -> None:
    with pytest.raises(InvalidValue, match=r"a waits for .*a, so that"):
        check_dependencies(graph(job, **edges), ["a"])


def test_several_ways_to_one_job_are_no_cycle(job) -> None:
    check_dependencies(graph(job, a="b c", b="d", c="d", d=""), ["a", "b", "c", "d"])


def test_a_long_chain_is_followed_to_its_end(job) -> None:
    edges = {f"j{i}": f"j{i + 1}" for i in range(3000)} | {"j3000": ""}
    jobs = graph(job, **edges)
    check_dependencies(jobs, ["j0"])
    jobs["j3000"] = job("j3000", policy=JobPolicy(after=("j0",)))
    assert len(find_cycle(jobs, "j0")) == 3002


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_a_cycle_that_is_shown_is_one_and_none_means_none(job, pairs: list) -> None:
    edges: dict[str, set[str]] = {str(i): set() for i in range(6)}
    for one, other in pairs:
        edges[str(one)].add(str(other))
    jobs = graph(job, **{name: " ".join(sorted(others)) for name, others in edges.items()})
    reach = {name: set(others) for name, others in edges.items()}
    for _ in range(6):
        reach = {name: others.union(*(reach[other] for other in others)) for name, others in reach.items()}
    for name in edges:
        cycle = find_cycle(jobs, name)
        assert bool(cycle) == (name in reach[name])
        if cycle:
            assert cycle[0] == cycle[-1] == name
            assert all(later in edges[earlier] for earlier, later in pairwise(cycle))


def test_a_job_that_others_wait_for_goes_only_with_them(job) -> None:
    jobs = graph(job, a="", b="a", c="")
    with pytest.raises(UsageError, match="b runs after a"):
        check_removal(jobs, ["a", "c"])
    check_removal(jobs, ["a", "b"])
    check_removal(jobs, ["b"])
