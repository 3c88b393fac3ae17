"""A job with a window in which it does not run, under a daemon."""

from support.scheduling import START, Daemon, job


def test_slots_in_a_window_are_one_row_of_history_and_the_first_after_it_runs(daemon: Daemon) -> None:
    daemon.jobs(job("a", every=60, not_during=("12:01-12:05",)))
    daemon.pass_time(4 * 60 + 30)
    assert daemon.launched == []
    (row,) = daemon.ledger.history("a")
    assert (row.status, row.count, row.reason) == ("skipped", 4, "not during 12:01-12:05")
    daemon.pass_time(60)
    (launch,) = daemon.launched
    assert (launch.scheduled_for - START).total_seconds() == 300


def test_a_dependency_that_is_met_in_a_window_starts_its_dependent_at_the_windows_end(daemon: Daemon) -> None:
    parent = job("parent", at=START.replace(minute=1))
    child = job(
        "child",
        at=START.replace(minute=2),
        after=("parent",),
        trigger_on="failure",
        not_during=("12:03-12:30",),
    )
    daemon.jobs(parent, child)
    daemon.pass_time(5 * 60)
    (launch,) = daemon.launched
    daemon.end(launch, code=2)
    daemon.pass_time(60)
    assert len(daemon.launched) == 1
    daemon.pass_time(25 * 60, turns=30)
    assert [each.job_id for each in daemon.launched] == ["parent", "child"]
    assert daemon.run(daemon.launched[1]).trigger == "dependency"
