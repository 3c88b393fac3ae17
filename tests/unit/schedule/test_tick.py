"""What becomes of each occurrence, and when to look again."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipesched.schedule.delays import jitter_offset, retry_after
from pipesched.schedule.model import (
    Fire,
    JobPlan,
    PendingRetry,
    Policy,
    Progress,
    Skip,
    TimedJob,
)
from pipesched.schedule.outlook import upcoming
from pipesched.schedule.parse import cron, interval, once
from pipesched.schedule.tick import plan_job, plan_start

T0 = datetime(2026, 6, 1, tzinfo=UTC)
HOURLY = cron("0 * * * *", zone="UTC", job_id="job")
DAILY = cron("0 2 * * *", zone="Europe/Berlin", job_id="job")  # midnight UTC in summer
MINUTELY = cron("* * * * *", zone="UTC", job_id="job")


def at(hours=0.0, **more):
    return T0 + timedelta(hours=hours, **more)


def job(schedule=HOURLY, *, since=T0, paused_at=None, **policy):
    return TimedJob("job", schedule, Policy(**policy), since, paused_at)


def kinds(plan):
    return [
        (type(decision).__name__, decision.status if isinstance(decision, Skip) else decision.trigger)
        for decision in plan.decisions
    ]


# On time


def test_nothing_is_due_before_the_first_slot():
    assert plan_job(job(), Progress(), at(0.5)) == JobPlan((), at(1))


def test_a_slot_is_due_at_its_instant_and_not_before():
    assert plan_job(job(), Progress(), at(1, microseconds=-1)).decisions == ()
    plan = plan_job(job(), Progress(), at(1))
    assert plan == JobPlan((Fire("job", at(1), "schedule", start_at=at(1)),), at(2))


def test_a_slot_that_was_handled_is_not_due_again():
    assert plan_job(job(), Progress(handled=at(1)), at(1.5)) == JobPlan((), at(2))


def test_slots_count_strictly_after_the_jobs_beginning():
    assert plan_job(job(since=at(1)), Progress(), at(1.5)).decisions == ()


def test_a_clock_that_goes_back_fires_nothing_again():
    assert plan_job(job(), Progress(handled=at(5)), at(1)) == JobPlan((), at(6))


def test_a_minute_late_is_still_on_time():
    assert kinds(plan_job(job(catch_up="none"), Progress(), at(1, seconds=60))) == [("Fire", "schedule")]


def test_a_collapsed_occurrence_says_so_in_its_fire():
    schedule = cron("0,30 2 * * *", zone="Europe/Berlin", job_id="job")
    begin = datetime(2026, 3, 28, 12, tzinfo=UTC)
    (fire,) = plan_job(job(schedule, since=begin), Progress(), datetime(2026, 3, 29, 1, tzinfo=UTC)).decisions
    assert fire.collapsed == 2
    assert "does not exist" in fire.reason


# Catching up


def test_latest_makes_up_for_all_missed_slots_with_one_run():
    plan = plan_job(job(grace=7200.0), Progress(handled=at(1)), at(4.5))
    assert plan.decisions == (
        Skip("job", at(2), at(2), 1, "missed", "late by more than the grace of 2h"),
        Skip("job", at(3), at(3), 1, "missed", "made up for by the run for 2026-06-01T04:00:00+00:00"),
        Fire("job", at(4), "catch_up", start_at=at(4.5), reason="30m late, for 2 slots"),
    )
    assert plan.wake_at == at(5)


def test_latest_lets_a_slot_go_that_is_later_than_its_grace():
    (skip,) = plan_job(job(DAILY, grace=3600.0), Progress(), at(25.5)).decisions
    assert (skip.count, skip.status) == (1, "missed")


def test_a_slot_exactly_as_late_as_its_grace_still_runs():
    late = job(DAILY, grace=3600.0)
    (fire,) = plan_job(late, Progress(), at(25)).decisions
    assert (fire.trigger, fire.reason) == ("catch_up", "1h late")
    assert kinds(plan_job(late, Progress(), at(25, microseconds=1))) == [("Skip", "missed")]


def test_a_grace_of_nothing_leaves_the_loop_a_second():
    strict = job(grace=0.0)
    assert kinds(plan_job(strict, Progress(), at(1, seconds=1))) == [("Fire", "schedule")]
    assert kinds(plan_job(strict, Progress(), at(1, seconds=1.1))) == [("Skip", "missed")]


@pytest.mark.parametrize(
    ("schedule", "runs", "too_late"),
    [
        (
            interval(10, T0),
            timedelta(seconds=5),
            None,
        ),  # a new slot each ten seconds: the newest is never old
        (HOURLY, timedelta(minutes=59), None),
        (cron("0 0 1 * *", zone="UTC", job_id="job"), timedelta(hours=24), timedelta(hours=24, seconds=1)),
        (once(at(1)), timedelta(hours=24), timedelta(hours=24, seconds=1)),
        (cron("0 0 29 2 *", zone="UTC", job_id="job"), timedelta(hours=24), timedelta(hours=24, seconds=1)),
    ],
)
def test_the_grace_is_a_period_between_a_minute_and_a_day(schedule, runs, too_late):
    slot = schedule.next(T0).at
    timed = job(schedule)
    assert any(isinstance(each, Fire) for each in plan_job(timed, Progress(), slot + runs).decisions)
    if too_late is not None:
        assert kinds(plan_job(timed, Progress(), slot + too_late)) == [("Skip", "missed")]


def test_none_catches_nothing_up():
    plan = plan_job(job(catch_up="none"), Progress(), at(3.5))
    assert plan.decisions == (Skip("job", at(1), at(3), 3, "missed", "late, and nothing is caught up"),)


def test_all_runs_each_missed_slot_oldest_first():
    plan = plan_job(job(catch_up="all"), Progress(), at(3.5))
    assert [(fire.scheduled_for, fire.trigger) for fire in plan.decisions] == [
        (at(hour), "catch_up") for hour in (1, 2, 3)
    ]


def test_all_runs_the_newest_hundred_and_says_what_became_of_the_others():
    plan = plan_job(job(MINUTELY, catch_up="all"), Progress(), at(10))
    skip, *fires = plan.decisions
    assert (skip.first, skip.last, skip.count) == (at(minutes=1), at(minutes=500), 500)
    assert "more than 100" in skip.reason
    assert [fire.scheduled_for for fire in fires] == [at(minutes=501 + minute) for minute in range(100)]


def test_all_keeps_to_a_grace_that_was_set():
    plan = plan_job(job(catch_up="all", grace=7200.0), Progress(), at(5))
    assert kinds(plan) == [("Skip", "missed"), *[("Fire", "catch_up")] * 2, ("Fire", "schedule")]


def test_a_month_down_of_a_minutely_job_is_one_row_and_takes_no_time():
    timed = job(MINUTELY, since=T0 - timedelta(days=30))
    begin = time.perf_counter()
    plan = plan_job(timed, Progress(), at(seconds=90))
    assert time.perf_counter() - begin < 0.1
    assert [decision.count for decision in plan.decisions if isinstance(decision, Skip)] == [43_200]
    assert kinds(plan)[-1] == ("Fire", "schedule")


def test_stagger_delays_what_is_late_alone():
    (late,) = plan_job(job(DAILY), Progress(), at(26), stagger=7.0).decisions
    (on_time,) = plan_job(job(DAILY), Progress(), at(24), stagger=7.0).decisions
    assert late.start_at == at(26, seconds=7)
    assert on_time.start_at == at(24)


# Overlap


def test_skip_records_the_slot_that_came_too_soon():
    (skip,) = plan_job(job(), Progress(handled=at(1), active=("r1",)), at(2)).decisions
    assert skip == Skip("job", at(2), at(2), 1, "skipped", "run r1 had not ended")


def test_queue_keeps_one():
    queueing = job(overlap="queue")
    (fire,) = plan_job(queueing, Progress(handled=at(1), active=("r1",)), at(2)).decisions
    assert isinstance(fire, Fire)
    assert fire.replaces == ()
    assert "r1" in fire.reason
    (skip,) = plan_job(queueing, Progress(handled=at(2), active=("r1", "r2"), queued=True), at(3)).decisions
    assert (skip.status, skip.reason) == ("skipped", "another run was queued already")


def test_replace_names_the_runs_to_end():
    (fire,) = plan_job(job(overlap="replace"), Progress(handled=at(1), active=("r1",)), at(2)).decisions
    assert fire.replaces == ("r1",)


def test_of_several_runs_only_the_first_replaces():
    plan = plan_job(job(overlap="replace", catch_up="all"), Progress(active=("r1",)), at(3))
    assert [fire.replaces for fire in plan.decisions] == [("r1",), (), ()]


def test_what_all_catches_up_runs_behind_a_run_that_has_not_ended_but_what_is_on_time_does_not():
    plan = plan_job(job(catch_up="all"), Progress(active=("r1",)), at(3))
    assert [(type(each), each.reason) for each in plan.decisions] == [
        (Fire, "2h late"),
        (Fire, "1h late"),
        (Skip, "run r1 had not ended"),
    ]
    a_minute_late = plan_job(job(catch_up="all"), Progress(active=("r1",)), at(1, seconds=60))
    assert kinds(a_minute_late) == [("Skip", "skipped")]
    last = plan_job(job(catch_up="all", max_runs=2), Progress(active=("r1",)), at(3))
    assert kinds(last) == [("Fire", "catch_up")] * 2


# Pauses, beginnings and ends


def test_a_paused_jobs_slots_are_skipped_and_those_of_the_time_before_missed():
    paused = job(paused_at=at(2.5))
    plan = plan_job(paused, Progress(), at(5.5))
    assert plan.decisions == (
        Skip("job", at(1), at(2), 2, "missed", "not run before the job was paused"),
        Skip("job", at(3), at(5), 3, "skipped", "paused"),
    )
    assert plan.wake_at == at(6)


def test_a_job_paused_by_its_failures_says_so():
    plan = plan_job(job(pause_after_failures=3), Progress(handled=at(2), auto_paused_at=at(2.1)), at(3))
    assert plan.decisions == (Skip("job", at(3), at(3), 1, "skipped", "paused after 3 failures in a row"),)


def test_each_of_two_pauses_has_its_slots():
    timed = job(pause_after_failures=3, paused_at=at(3.5))
    plan = plan_job(timed, Progress(handled=at(1), auto_paused_at=at(1.5)), at(5))
    assert [(skip.count, skip.reason) for skip in plan.decisions] == [
        (2, "paused after 3 failures in a row"),
        (2, "paused"),
    ]


def test_start_and_end_bound_the_slots():
    timed = job(start=at(2), end=at(3))
    assert plan_job(timed, Progress(), at(1.5)) == JobPlan((), at(2))
    assert kinds(plan_job(timed, Progress(), at(2))) == [("Fire", "schedule")]
    assert plan_job(timed, Progress(handled=at(2)), at(3)).wake_at is None
    assert plan_job(timed, Progress(handled=at(3)), at(9)) == JobPlan()
    assert [fire.at for fire in upcoming(timed, Progress(), T0)] == [at(2), at(3)]


def test_a_job_is_done_after_its_runs():
    timed = job(max_runs=2)
    assert plan_job(timed, Progress(handled=at(1), claimed=1), at(2)).wake_at is None
    assert plan_job(timed, Progress(handled=at(2), claimed=2), at(9)) == JobPlan()
    assert [fire.at for fire in upcoming(timed, Progress(claimed=1), at(1))] == [at(2)]
    assert list(upcoming(timed, Progress(claimed=2), at(1))) == []
    both = plan_job(job(max_runs=2, catch_up="all"), Progress(), at(5)).decisions
    assert [fire.scheduled_for for fire in both] == [at(1), at(2)]


def test_nothing_is_upcoming_for_a_paused_job():
    assert list(upcoming(job(paused_at=at(1)), Progress(), at(1))) == []
    assert list(upcoming(job(), Progress(auto_paused_at=at(1)), at(1))) == []


def test_a_one_time_job_runs_once_and_is_done():
    timed = job(once(at(1)))
    assert plan_job(timed, Progress(), at(0)).wake_at == at(1)
    assert kinds(plan_job(timed, Progress(), at(1))) == [("Fire", "schedule")]
    assert plan_job(timed, Progress(handled=at(1), claimed=1), at(2)) == JobPlan()


# Jitter


def test_jitter_moves_the_start_and_not_the_scheduled_time():
    (fire,) = plan_job(job(jitter=600.0), Progress(), at(1)).decisions
    assert fire.scheduled_for == at(1)
    assert at(1) < fire.start_at <= at(1, minutes=10)
    assert fire.start_at == plan_job(job(jitter=600.0), Progress(), at(1)).decisions[0].start_at
    others = {jitter_offset(f"job-{number}", 600.0, timedelta(hours=1)) for number in range(50)}
    assert len(others) == 50


@given(st.text(max_size=10), st.floats(0, 10**6), st.integers(1, 10**6))
def test_jitter_stays_below_the_period(name, jitter, period):
    offset = jitter_offset(name, jitter, timedelta(seconds=period))
    assert timedelta(0) <= offset < timedelta(seconds=period)
    assert offset.total_seconds() <= jitter


# Retries


RETRY = PendingRetry(at(1), 2, at(1, minutes=5))


def test_a_retry_waits_for_its_time():
    waiting = Progress(handled=at(1), retry=RETRY)
    assert plan_job(job(retries=2), waiting, at(1, minutes=4)) == JobPlan((), at(1, minutes=5))
    plan = plan_job(job(retries=2), waiting, at(1, minutes=5))
    assert plan.decisions == (
        Fire("job", at(1), "retry", start_at=at(1, minutes=5), attempt=2, reason="attempt 2 of 3"),
    )
    assert plan.wake_at == at(2)


def test_a_retry_yields_to_the_next_slot():
    late = replace(RETRY, not_before=at(2.5))
    plan = plan_job(job(retries=2), Progress(handled=at(1), retry=late), at(2))
    assert plan.decisions == (
        Skip("job", at(1), at(1), 1, "skipped", "superseded"),
        Fire("job", at(2), "schedule", start_at=at(2)),
    )


def test_a_retry_waits_while_a_run_by_hand_is_in_the_way():
    plan = plan_job(job(retries=2), Progress(handled=at(1), retry=RETRY, active=("hand",)), at(1.5))
    assert plan == JobPlan((), at(2))


def test_a_paused_job_tries_nothing_again():
    plan = plan_job(job(retries=2, paused_at=at(1.2)), Progress(handled=at(1), retry=RETRY), at(1.5))
    assert plan.decisions == (Skip("job", at(1), at(1), 1, "skipped", "paused"),)


def test_the_last_run_of_a_job_is_tried_again_too():
    timed = job(retries=2, max_runs=1)
    plan = plan_job(timed, Progress(handled=at(1), claimed=1, retry=RETRY), at(1.5))
    assert kinds(plan) == [("Fire", "retry")]


def test_nothing_is_tried_again_after_the_jobs_end():
    plan = plan_job(job(retries=2, end=at(1, minutes=3)), Progress(handled=at(1), retry=RETRY), at(1.5))
    assert plan.decisions == (Skip("job", at(1), at(1), 1, "skipped", "after the job's end"),)


def test_a_retry_whose_time_was_before_the_end_is_too_late_after_it():
    early = replace(RETRY, not_before=at(1, minutes=1))
    timed = job(retries=2, end=at(1, minutes=3))
    assert kinds(plan_job(timed, Progress(handled=at(1), retry=early), at(1, minutes=2))) == [
        ("Fire", "retry")
    ]
    assert kinds(plan_job(timed, Progress(handled=at(1), retry=early), at(1, minutes=4))) == [
        ("Skip", "skipped")
    ]


def retried(policy=None, *, attempt=1, exit_code=1, status="failed"):
    found = retry_after(
        policy or Policy(retries=3, retry_delay=60.0),
        job_id="job",
        scheduled_for=at(1),
        attempt=attempt,
        exit_code=exit_code,
        status=status,
        now=T0,
    )
    return None if found is None else (found - T0).total_seconds()


def test_delays_double_up_to_an_hour_and_are_spread():
    policy = Policy(retries=50, retry_delay=60.0)
    for attempt in range(1, 51):
        plain = min(60.0 * 2 ** (attempt - 1), 3600.0)
        assert 0.8 * plain <= retried(policy, attempt=attempt) <= min(1.2 * plain, 3600.0)
    assert retried(policy, attempt=2) == retried(policy, attempt=2)
    assert 7200 * 0.8 <= retried(Policy(retries=1, retry_delay=7200.0)) <= 7200


@pytest.mark.parametrize(
    ("status", "exit_code", "again"),
    [
        *[("failed", code, True) for code in (1, 69, 74, 137, 139, -9, None)],
        *[("failed", code, False) for code in (2, 65, 73, 75, 77, 78)],
        *[("timeout", None, True), ("timeout", 143, True), ("lost", None, True)],
        *[
            ("succeeded", 0, False),
            ("partial", 3, False),
            ("interrupted", 143, False),
            ("interrupted", 130, False),
        ],
    ],
)
def test_only_what_may_go_better_is_tried_again(status, exit_code, again):
    assert (retried(status=status, exit_code=exit_code) is not None) is again


def test_attempts_have_an_end():
    assert retried(attempt=3) is not None
    assert retried(attempt=4) is None
    assert retried(Policy()) is None


# Dependencies


def test_a_slot_waits_for_what_it_depends_on():
    timed = job(after=("a", "b"), grace=1800.0)
    waiting = plan_job(timed, Progress(waits_for=("b",)), at(1.25))
    assert waiting.decisions == ()
    assert at(1.5) < waiting.wake_at <= at(1.5, seconds=1)
    (fire,) = plan_job(timed, Progress(), at(1.25)).decisions
    assert (fire.trigger, fire.scheduled_for) == ("dependency", at(1))


def test_a_slot_that_waited_in_vain_is_skipped():
    timed = job(after=("a", "b"), grace=1800.0)
    wake_at = plan_job(timed, Progress(waits_for=("b",)), at(1.25)).wake_at
    plan = plan_job(timed, Progress(waits_for=("b",)), wake_at)
    assert plan.decisions == (
        Skip("job", at(1), at(1), 1, "skipped", "waited for b until the grace of 30m ended"),
    )
    assert plan.wake_at == at(2)


def test_dependencies_that_are_met_change_nothing():
    assert kinds(plan_job(job(after=("a",)), Progress(), at(1))) == [("Fire", "schedule")]


def test_a_job_that_catches_nothing_up_still_waits_for_what_it_depends_on():
    (fire,) = plan_job(job(after=("a",), catch_up="none"), Progress(), at(1.5)).decisions
    assert fire.trigger == "dependency"


# The daemon's start


def test_reboot_jobs_are_due_when_the_daemon_starts():
    timed = job(cron("@reboot", zone="UTC", job_id="job"))
    assert plan_job(timed, Progress(), at(5)) == JobPlan()
    assert plan_start(timed, Progress(), at(5)).decisions == (
        Fire("job", at(5), "schedule", start_at=at(5), reason="the daemon started"),
    )
    assert plan_start(job(), Progress(), at(5)) == JobPlan()
    assert plan_start(timed, Progress(handled=at(6)), at(5)) == JobPlan()
    (paused,) = plan_start(replace(timed, paused_at=at(1)), Progress(), at(5)).decisions
    assert (paused.status, paused.reason) == ("skipped", "paused")
    (running,) = plan_start(timed, Progress(active=("r1",)), at(5)).decisions
    assert running.status == "skipped"
    bounded = replace(timed, policy=Policy(start=at(5), end=at(6)))
    assert [len(plan_start(bounded, Progress(), at(hour)).decisions) for hour in (4.9, 5, 6, 6.1)] == [
        0,
        1,
        1,
        0,
    ]
    limited = replace(timed, policy=Policy(max_runs=1))
    assert plan_start(limited, Progress(claimed=1), at(5)) == JobPlan()


# The law: no slot is lost, none is decided twice


class Ledger:
    """What the ledger keeps of one job, with runs that last as long as the test says."""

    def __init__(self, schedule, policy):
        self.schedule, self.policy = schedule, policy
        self.handled = None
        self.claimed = 0
        self.active = []
        self.retry = None
        self.decided = []
        self.waits_for = ()
        self.auto_paused_at = None

    def progress(self):
        return Progress(
            handled=self.handled,
            active=tuple(self.active),
            queued=len(self.active) > 1,
            claimed=self.claimed,
            retry=self.retry,
            auto_paused_at=self.auto_paused_at,
            waits_for=self.waits_for,
        )

    def take(self, decision):
        if isinstance(decision, Skip):
            if self.retry is not None and decision.last == self.retry.scheduled_for:
                self.retry = None
                return
            assert decision.first <= decision.last
            slots = [
                slot.at
                for slot in self.schedule.between(decision.first - timedelta(microseconds=1), decision.last)
            ]
            assert (slots[0], slots[-1], len(slots)) == (decision.first, decision.last, decision.count)
        elif decision.attempt > 1:
            self.retry = None
            self.active.append("retry")
            return
        else:
            slots = [decision.scheduled_for]
            self.claimed += 1
            assert not (self.active and self.policy.overlap == "skip" and self.policy.catch_up != "all")
            self.active = [run for run in self.active if run not in decision.replaces]
            self.active.append(decision.scheduled_for.isoformat())
            assert decision.start_at >= decision.scheduled_for
        assert self.handled is None or slots[0] > self.handled, "decided twice, or out of order"
        self.handled = slots[-1]
        self.decided += slots


SCHEDULES = [
    HOURLY,
    cron("*/20 * * * *", zone="Australia/Lord_Howe", job_id="job"),
    cron("30 2 * * *", zone="Europe/Berlin", job_id="job"),
    cron("0,30 0-3 * * *", zone="America/Havana", job_id="job"),
    interval(1234.5, T0),
    once(at(30)),
]
policies = st.builds(
    Policy,
    catch_up=st.sampled_from(["latest", "all", "none"]),
    grace=st.none() | st.sampled_from([0.0, 30.0, 3000.0, 90_000.0]),
    overlap=st.sampled_from(["skip", "queue", "replace"]),
    jitter=st.sampled_from([0.0, 60.0]),
    retries=st.integers(0, 2),
    after=st.sampled_from([(), ("other",)]),
    start=st.none() | st.integers(-10, 60).map(at),
    end=st.none() | st.integers(20, 400).map(at),
    max_runs=st.none() | st.integers(1, 30),
    pause_after_failures=st.none() | st.just(2),
)
steps = st.tuples(
    st.sampled_from(
        ["sleep"] * 6 + ["down", "back", "jump", "pause", "resume", "fail", "end", "wait", "met", "auto"]
    ),
    st.integers(1, 3000),
)


@given(
    place=st.sampled_from(range(len(SCHEDULES))),
    season=st.sampled_from([T0, datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)]),
    policy=policies,
    script=st.lists(steps, max_size=25),
)
@settings(max_examples=300)
def test_every_slot_becomes_one_fire_or_is_in_one_skip(place, season, policy, script):
    moved = season - T0
    policy = replace(
        policy,
        start=policy.start and policy.start + moved,
        end=policy.end and policy.end + moved,
    )
    schedule = SCHEDULES[place]
    if place == 5:
        schedule = once(at(30) + moved)
    timed = TimedJob("job", schedule, policy, since=season)
    ledger = Ledger(schedule, policy)
    now = latest = season
    floors = []  # what resume leaves behind it is for resume to record

    def tick():
        plan = plan_job(timed, ledger.progress(), now)
        for decision in plan.decisions:
            ledger.take(decision)
        again = plan_job(timed, ledger.progress(), now)
        assert all(isinstance(each, Fire) and each.attempt > 1 for each in again.decisions), (
            "a second look decides anew"
        )
        # Whoever sleeps until wake_at misses nothing: a moment before it there is nothing to decide.
        before = (
            now + timedelta(days=9) if again.wake_at is None else again.wake_at - timedelta(milliseconds=2)
        )
        if not again.decisions and before > now:
            assert plan_job(timed, ledger.progress(), before).decisions == ()
        return again.wake_at

    for action, amount in script:
        wake_at = tick()
        if action == "sleep":  # as the daemon does: until it is to look again, or a while
            until = now + timedelta(minutes=amount)
            while wake_at is not None and wake_at <= until:
                assert wake_at > now, "the daemon would spin"
                now = wake_at
                wake_at = tick()
            now = until
        elif action in {"down", "jump"}:
            now += timedelta(minutes=amount)
        elif action == "back":
            now -= timedelta(minutes=amount % 300)
        elif action == "pause":
            timed = replace(timed, paused_at=timed.paused_at or now)
        elif action == "resume":
            tick()
            if timed.paused_at is not None or ledger.auto_paused_at is not None:
                floors.append((max(timed.since, ledger.handled or timed.since), now))
                timed = replace(timed, paused_at=None, since=max(now, timed.since))
                ledger.auto_paused_at = None
        elif action == "auto" and policy.pause_after_failures:
            ledger.auto_paused_at = ledger.auto_paused_at or now
        elif action == "fail" and ledger.active and policy.retries:
            ledger.active = []
            if ledger.claimed and ledger.handled is not None:
                last = [slot for slot in ledger.decided if slot <= ledger.handled][-1]
                ledger.retry = PendingRetry(last, 2, now + timedelta(minutes=amount % 90))
        elif action == "end":
            ledger.active = []
        elif action == "wait":
            ledger.waits_for = policy.after
        elif action == "met":
            ledger.waits_for = ()
        latest = max(latest, now)

    now = latest + timedelta(days=3)
    ledger.active, ledger.waits_for = [], ()
    tick()
    if policy.max_runs is not None:
        assert ledger.claimed <= policy.max_runs
    begin = season if policy.start is None else max(season, policy.start - timedelta(microseconds=1))
    end = now if policy.end is None else min(now, policy.end)
    expected = [slot.at for slot in schedule.between(begin, end)]
    if policy.max_runs is not None and ledger.claimed == policy.max_runs:
        expected = [slot for slot in expected if ledger.handled is not None and slot <= ledger.handled]
    lost = [slot for slot in expected if slot not in set(ledger.decided)]
    assert all(any(low < slot <= high for low, high in floors) for slot in lost)
    assert len(ledger.decided) == len(set(ledger.decided))
    assert set(ledger.decided) <= set(expected)
