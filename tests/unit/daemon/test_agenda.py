"""The heap of wake times."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipesched.daemon.agenda import Agenda

START = datetime(2026, 3, 1, tzinfo=UTC)
moments = st.integers(0, 50).map(lambda minutes: START + timedelta(minutes=minutes))
jobs = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(st.tuples(jobs, st.one_of(st.none(), moments)), max_size=400), moments)
def test_a_job_is_due_at_the_time_that_was_set_last_and_only_then(changes, now):
    agenda = Agenda()
    expected: dict[str, datetime] = {}
    for job, wake in changes:
        agenda.set(job, wake)
        if wake is None:
            expected.pop(job, None)
        else:
            expected[job] = wake

    assert agenda.next_wake() == min(expected.values(), default=None)
    due = agenda.due(now, limit=10)
    assert sorted(due) == sorted((job, at) for job, at in expected.items() if at <= now)
    assert [at for _, at in due] == sorted(at for _, at in due)
    assert agenda.next_wake() == min((at for at in expected.values() if at > now), default=None)


def test_at_most_as_many_are_taken_as_were_asked_for():
    agenda = Agenda()
    for number in range(10):
        agenda.set(f"job{number}", START + timedelta(seconds=number))

    later = START + timedelta(hours=1)
    assert [job for job, _ in agenda.due(later, limit=3)] == ["job0", "job1", "job2"]
    assert [job for job, _ in agenda.due(later, limit=100)] == [f"job{number}" for number in range(3, 10)]


def test_a_job_that_is_set_ten_thousand_times_does_not_fill_the_memory():
    agenda = Agenda()
    for number in range(10_000):
        agenda.set("a", START + timedelta(seconds=number))

    assert len(agenda._heap) < 100
