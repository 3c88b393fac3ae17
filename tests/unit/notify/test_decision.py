"""What is told of a job, from what was told before and how it is."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipesched.notify.decision import Standing, Told, decide
from pipesched.runs.model import Run

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(status: str = "failed", at: datetime = NOW) -> Run:
    return Run(run_id="r1", job_id="j", status=status, trigger="schedule", finished_at=at, reason="why")


def failing(times: int = 1, since: datetime = NOW, **fields) -> Standing:
    return Standing("j", run(), failures=times, failing_since=since, **fields)


def well(synced_at: datetime | None = NOW, **fields) -> Standing:
    return Standing("j", run("succeeded"), synced_at=synced_at, **fields)


def kinds(told: Told | None, standing: Standing, now: datetime = NOW) -> tuple[list[str], Told]:
    news, told = decide(told, standing, now)
    return [each.kind for each in news], told


def test_a_streak_of_failures_is_told_once_and_its_end_once() -> None:
    said, told = kinds(None, failing())
    assert said == ["failure"]
    said, told = kinds(told, failing(2), NOW + MINUTE)
    assert said == []
    said, told = kinds(told, well(NOW + 2 * MINUTE), NOW + 2 * MINUTE)
    assert said == ["recovery"]
    assert kinds(told, well(NOW + 3 * MINUTE)) == ([], told)
    assert kinds(told, failing(1, NOW + 4 * MINUTE))[0] == ["failure"]


def test_a_failure_with_a_retry_to_come_is_not_told_yet() -> None:
    said, told = kinds(None, failing(retrying=True))
    assert said == []
    assert kinds(told, failing(2))[0] == ["failure"]


def test_a_success_that_was_never_preceded_by_a_told_failure_is_no_recovery() -> None:
    assert kinds(None, well()) == ([], Told())


def test_failures_that_were_only_forgotten_are_no_recovery() -> None:
    _, told = kinds(None, failing())
    resumed = Standing("j", run(), failures=0, synced_at=NOW - MINUTE)
    assert kinds(told, resumed) == ([], told)


def test_a_new_streak_after_a_success_that_nobody_saw_is_told() -> None:
    _, told = kinds(None, failing(since=NOW))
    later = failing(since=NOW + 3 * MINUTE, synced_at=NOW + 2 * MINUTE)
    assert kinds(told, later)[0] == ["failure"]


def test_a_job_that_paused_itself_is_told_as_paused_only() -> None:
    paused = failing(3, auto_paused_at=NOW)
    said, told = kinds(None, paused)
    assert said == ["paused"]
    assert kinds(told, paused) == ([], told)
    said, told = kinds(told, well(NOW + MINUTE))
    assert said == ["recovery"]
    assert told == Told()


def test_pausing_after_a_told_failure_is_told_too() -> None:
    _, told = kinds(None, failing())
    assert kinds(told, failing(3, auto_paused_at=NOW))[0] == ["paused"]


def test_lateness_is_told_once_until_it_is_in_time_again() -> None:
    late = Standing("j", run("succeeded"), synced_at=NOW - timedelta(days=2), late="late: ...")
    said, told = kinds(None, late)
    assert said == ["late"]
    assert kinds(told, late, NOW + MINUTE) == ([], told)
    said, told = kinds(told, well(NOW + MINUTE), NOW + MINUTE)
    assert said == ["recovery"]
    assert told == Told()


def test_a_job_that_is_late_because_it_fails_is_told_as_failing_only() -> None:
    assert kinds(None, failing(late="late: ..."))[0] == ["failure"]


def test_a_job_that_is_late_no_more_because_its_schedule_was_changed_is_not_told() -> None:
    _, told = kinds(None, Standing("j", synced_at=NOW - timedelta(days=2), late="late: ..."))
    assert kinds(told, well(NOW - timedelta(days=2))) == ([], Told())


def test_missed_runs_are_told_once_until_it_has_succeeded_again() -> None:
    missed = well(NOW - timedelta(hours=5), missed=3, missed_at=NOW, missed_reason="no scheduler ran")
    news, told = decide(None, missed, NOW)
    assert [each.what for each in news] == ["missed 3 runs: no scheduler ran"]
    more = well(NOW - timedelta(hours=5), missed=4, missed_at=NOW + MINUTE)
    assert kinds(told, more, NOW + MINUTE) == ([], told)
    news, told = decide(told, well(NOW + 2 * MINUTE, missed=5, missed_at=NOW + 3 * MINUTE), NOW + 3 * MINUTE)
    assert [each.what for each in news] == ["missed 2 runs"]


def test_what_was_missed_long_before_anybody_asked_to_be_told_is_not_told() -> None:
    said, told = kinds(None, well(missed=50, missed_at=NOW - timedelta(days=3)))
    assert (said, told) == ([], Told(missed=50))


STANDINGS = st.builds(
    lambda failures, fresh, paused, late, missed, retrying: (failures, fresh, paused, late, missed, retrying),
    st.integers(0, 4), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 3), st.booleans(),
)  # fmt: skip


@given(st.lists(STANDINGS, max_size=12))
def test_nothing_is_told_twice_while_nothing_changes(history) -> None:
    told: Told | None = None
    synced: datetime | None = None
    since: datetime | None = None
    missed = 0
    for step, (failures, fresh, paused, late, more, retrying) in enumerate(history):
        now = NOW + step * MINUTE
        if failures == 0 and fresh:
            synced = now
        since = None if failures == 0 else since or now
        missed += more
        standing = Standing(
            "j",
            run("failed" if failures else "succeeded"),
            failures=failures,
            failing_since=since,
            retrying=retrying,
            synced_at=synced,
            auto_paused_at=since if paused and failures else None,
            late="late" if late else "",
            missed=missed,
            missed_at=now if missed else None,
        )
        _, told = decide(told, standing, now)
        assert decide(told, standing, now + timedelta(seconds=1)) == ((), told)
