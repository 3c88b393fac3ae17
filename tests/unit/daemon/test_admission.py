"""Which waiting runs may start."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipesched.daemon.admission import Occupied, Seats, Waiting, admit

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def waiting(
    run_id: str, *, job: str = "", store: str = "", due: int = 0, not_before: int = 0, order: int = 0
) -> Waiting:
    return Waiting(
        run_id=run_id,
        job_id=job or f"job-{run_id}",
        scheduled_for=NOW + timedelta(seconds=due),
        attempt=1,
        not_before=NOW + timedelta(seconds=not_before),
        store=store,
        order=order,
    )


runs = st.builds(
    waiting,
    st.uuids().map(str),
    job=st.sampled_from("abcdef"),
    store=st.sampled_from(["", "s1", "s2", "s3"]),
    due=st.integers(-5, 0),
    not_before=st.integers(-2, 2),
    order=st.integers(0, 100),
)


@given(st.lists(runs, max_size=20), st.lists(runs, max_size=3), st.integers(1, 5))
def test_what_starts_never_shares_a_store_or_a_job_and_keeps_to_the_limit(queue, busy, limit):
    running = [Occupied(run.run_id, run.job_id, run.store) for run in busy]
    admission = admit(queue, running, limit=limit, now=NOW)

    assert len(admission.start) <= max(0, limit - len(running))
    jobs = [run.job_id for run in admission.start]
    stores = [run.store for run in admission.start if run.store]
    assert len(set(jobs)) == len(jobs)
    assert len(set(stores)) == len(stores)
    assert not set(jobs) & {run.job_id for run in running}
    assert not set(stores) & {run.store for run in running}
    assert all(run.not_before <= NOW for run in admission.start)
    # Nobody is forgotten: each run starts, waits for a reason, or its time has not come.
    later = [run for run in queue if run.not_before > NOW]
    assert len(admission.start) + len(admission.wait) + len(later) == len(queue)
    assert admission.next_at == min((run.not_before for run in later), default=None)


@given(st.lists(runs, min_size=1, max_size=20), st.integers(1, 5))
def test_a_worker_is_never_left_idle_while_a_run_could_start(queue, limit):
    admission = admit(queue, [], limit=limit, now=NOW)

    if len(admission.start) < limit:
        jobs = {run.job_id for run in admission.start}
        stores = {run.store for run in admission.start if run.store}
        for run, _ in admission.wait:
            assert run.job_id in jobs or run.store in stores


def test_runs_start_in_the_order_in_which_they_were_due():
    queue = [waiting("c", due=-1), waiting("a", due=-3), waiting("b", due=-2)]

    assert [run.run_id for run in admit(queue, [], limit=2, now=NOW).start] == ["a", "b"]


def test_a_busy_store_does_not_hold_up_the_others():
    queue = [waiting("a", store="s", due=-3), waiting("b", store="t", due=-1)]
    admission = admit(queue, [Occupied("x", "other", "s")], limit=2, now=NOW)

    assert [run.run_id for run in admission.start] == ["b"]
    assert admission.wait == ((queue[0], "waits for run x on the same store"),)


def test_runs_without_a_store_of_their_own_do_not_wait_for_each_other():
    queue = [waiting("a"), waiting("b")]

    assert len(admit(queue, [], limit=2, now=NOW).start) == 2


@given(st.lists(runs, max_size=6), st.lists(runs, max_size=3), st.lists(runs, max_size=6), st.integers(1, 5))
def test_a_new_claim_starts_at_once_only_past_nobody_who_waits(queue, busy, new, limit):
    running = [Occupied(run.run_id, run.job_id, run.store) for run in busy]
    seats = Seats(queue, running, limit=limit, now=NOW)
    started = [run for run in new if seats.take(run)]

    due = [run for run in queue if run.not_before <= NOW]
    ahead = [*running, *due]
    assert len(started) <= max(0, limit - len(ahead))
    assert not {run.job_id for run in started} & {run.job_id for run in ahead}
    # With those that wait already out of the way, admission would have started the very same runs.
    stores = [run.store for run in [*started, *ahead] if run.store]
    assert all(stores.count(run.store) == 1 for run in started if run.store)
    assert all(run.not_before <= NOW for run in started)
