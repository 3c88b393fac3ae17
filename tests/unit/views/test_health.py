"""Each rule of health, by facts on both sides of its line."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.runs.model import Run
from pipesched.views.health import (
    CATCH_UP,
    LISTED_BAD_JOBS,
    LISTED_JOBS,
    Check,
    DiskFacts,
    Health,
    HealthFacts,
    JobFacts,
    check_disk,
    check_job,
    check_jobs,
    check_loop,
    health,
    size,
    worst,
)
from pipesched.views.scheduler import SchedulerFacts

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
RUNNING = SchedulerFacts(
    running=True, pid=4711, started_at=NOW - timedelta(days=2), last_tick=NOW - timedelta(seconds=3)
)
STOPPED = SchedulerFacts(running=False)
GB = 10**9


def ago(**duration: float) -> datetime:
    return NOW - timedelta(**duration)


def facts(*jobs: JobFacts, **given: Any) -> HealthFacts:
    values: dict[str, Any] = {"now": NOW, "scheduler": RUNNING, "job_file": "schedules.json", "enabled": jobs}
    return HealthFacts(**(values | given))


def ended(status: str, reason: str = "") -> Run:
    return Run("r1", "nightly", status, "schedule", finished_at=ago(hours=1), reason=reason)  # type: ignore[arg-type]


WELL = JobFacts("nightly", synced_at=ago(hours=7))
GENERAL = [
    ("all is well", facts(WELL), "jobs", "pass", "1 job enabled, all well"),
    ("the job file can be read", facts(WELL), "job_file", "pass", "can be read"),
    (
        "a damaged job file fails",
        facts(job_file_error=("schedules.json is no JSON: line 3", "mend it"), scheduler=STOPPED),
        "job_file",
        "fail",
        "line 3",
    ),
    (
        "under a live scheduler it is degraded",
        facts(job_file_error=("schedules.json is no JSON: line 3", "mend it")),
        "job_file",
        "fail",
        "degraded: the scheduler goes on",
    ),
    (
        "one bad job warns and is named",
        facts(WELL, problems=("job nightly: --timezone: there is no time zone 'Mars'",)),
        "job_file",
        "warn",
        "degraded: not all of schedules.json can be used: job nightly: --timezone",
    ),
    (
        "of many bad jobs three are named",
        facts(WELL, problems=tuple(f"job{n}: bad" for n in range(5))),
        "job_file",
        "warn",
        "job2: bad (and 2 more)",
    ),
    (
        "a job file that is gone fails",
        facts(job_file_exists=False, job_file_gone=True),
        "job_file",
        "fail",
        "the job file schedules.json is gone",
    ),
    ("no job file warns", facts(job_file_exists=False), "job_file", "warn", "there is no job file"),
    ("a running scheduler passes", facts(WELL), "scheduler", "pass", "running, pid 4711, up 2 d"),
    (
        "jobs without a scheduler fail",
        facts(WELL, scheduler=STOPPED),
        "scheduler",
        "fail",
        "1 job enabled and no scheduler running",
    ),
    (
        "a killed scheduler says when it was seen",
        facts(WELL, scheduler=replace(STOPPED, last_tick=ago(hours=3))),
        "scheduler",
        "fail",
        "last seen 3 h ago",
    ),
    (
        "with --no-scheduler none is needed",
        facts(WELL, scheduler=STOPPED, no_scheduler=True),
        "scheduler",
        "pass",
        "--no-scheduler",
    ),
    (
        "without an enabled job none is needed",
        facts(scheduler=STOPPED, paused=2),
        "scheduler",
        "pass",
        "no job needs it",
    ),
    ("paused jobs do not count", facts(paused=2), "jobs", "pass", "no job is enabled; 2 paused"),
]


@pytest.mark.parametrize(
    ("given_facts", "name", "status", "words"),
    [case[1:] for case in GENERAL],
    ids=[case[0] for case in GENERAL],
)
def test_a_general_check_follows_its_rule(
    given_facts: HealthFacts, name: str, status: str, words: str
) -> None:
    check = health(given_facts).checks[name]
    assert (check.status, words in check.message) == (status, True), check


SLOTS_LATE = (ago(hours=1, minutes=10), ago(minutes=10))
SLOTS_OVERDUE = tuple(ago(hours=hours) for hours in (5, 4, 3, 2))
JOBS = [
    ("a fresh job passes", WELL, "pass", "last success 7 h ago"),
    ("a job that is not due yet passes", JobFacts("nightly"), "pass", "not due yet"),
    (
        "a first run under way passes",
        JobFacts("nightly", running_since=ago(minutes=4)),
        "pass",
        "its first run has been running for 4 min",
    ),
    ("one missed occurrence is not late", replace(WELL, unmet=SLOTS_LATE[:1]), "pass", "last success"),
    (
        "two are late",
        replace(WELL, unmet=SLOTS_LATE),
        "warn",
        "late: last success 7 h ago; due 1 h 10 min ago",
    ),
    (
        "two that are due since a moment are not yet late",
        replace(WELL, unmet=(ago(minutes=4.9), ago(minutes=1))),
        "pass",
        "last success",
    ),
    (
        "two, five minutes old, are",
        replace(WELL, unmet=(ago(minutes=6), ago(minutes=5))),
        "warn",
        "late",
    ),
    ("four that are old are a failure", replace(WELL, unmet=SLOTS_OVERDUE), "fail", "late: last success"),
    (
        "three that are old and a new one are not",
        replace(WELL, unmet=(*SLOTS_OVERDUE[:3], ago(minutes=59))),
        "warn",
        "late",
    ),
    (
        "a job that never succeeded says so",
        JobFacts("nightly", unmet=SLOTS_OVERDUE),
        "fail",
        "it never succeeded",
    ),
    (
        "a run under way is given an hour before the job is late",
        replace(WELL, unmet=SLOTS_LATE, running_since=ago(minutes=59)),
        "pass",
        "last success",
    ),
    (
        "a run that lasts longer is not",
        replace(WELL, unmet=SLOTS_LATE, running_since=ago(minutes=61)),
        "warn",
        "late",
    ),
    (
        "overdue with a young run under way warns",
        replace(WELL, unmet=SLOTS_OVERDUE, running_since=ago(minutes=10)),
        "warn",
        "a run has been under way for 10 min",
    ),
    (
        "a one-time job that did not succeed warns",
        JobFacts("nightly", once=True, unmet=(ago(minutes=6),)),
        "warn",
        "late: due 6 min ago, and it has not succeeded",
    ),
    (
        "a failed last run warns, with its reason",
        replace(WELL, last=ended("failed", "the model is missing"), failures_in_row=1),
        "warn",
        "the last run failed: the model is missing",
    ),
    ("so does a timed-out one", replace(WELL, last=ended("timeout")), "warn", "the last run timed out"),
    ("so does a lost one", replace(WELL, last=ended("lost")), "warn", "the last run was lost"),
    (
        "a run that was cut off warns, with its reason",
        replace(WELL, last=ended("interrupted", "the scheduler stopped")),
        "warn",
        "its last run was cut off: the scheduler stopped",
    ),
    (
        "one that is being made up for does not",
        replace(WELL, last=ended("interrupted", "the daemon stopped"), running_since=NOW),
        "pass",
        "last success",
    ),
    (
        "one that somebody cancelled does not",
        replace(WELL, last=ended("interrupted", "cancelled with pipesched cancel")),
        "pass",
        "last success",
    ),
    (
        "a job whose only slots did not run says so",
        JobFacts("nightly", slot=ended("skipped", "the job is paused"), next_at=ago(hours=-3)),
        "pass",
        "next in 3 h, the last one was skipped: the job is paused",
    ),
    (
        "a partial last run warns",
        replace(WELL, last=ended("partial", "2 documents failed")),
        "warn",
        "the last run was partial: 2 documents failed",
    ),
    (
        "two failures in a row warn",
        replace(WELL, last=ended("failed"), failures_in_row=2),
        "warn",
        "the last run failed",
    ),
    (
        "three fail",
        replace(WELL, last=ended("failed", "no server"), failures_in_row=3),
        "fail",
        "3 failures in a row: no server",
    ),
    (
        "a success rate below a half fails",
        replace(WELL, last=ended("succeeded"), success_rate=0.45, rated=20),
        "fail",
        "11 of the last 20 runs failed",
    ),
    (
        "a half does not",
        replace(WELL, last=ended("succeeded"), success_rate=0.5, rated=4),
        "pass",
        "last success",
    ),
    (
        "nor do three runs, which say little",
        replace(WELL, last=ended("succeeded"), success_rate=1 / 3, rated=3),
        "pass",
        "last success",
    ),
    (
        "an auto-paused job fails",
        replace(WELL, auto_paused_at=ago(hours=2), failures_in_row=5, last=ended("failed", "no disk")),
        "fail",
        "paused 2 h ago after 5 failures in a row: no disk",
    ),
]


@pytest.mark.parametrize(
    ("job", "status", "words"), [case[1:] for case in JOBS], ids=[case[0] for case in JOBS]
)
def test_a_job_is_judged_by_its_rule(job: JobFacts, status: str, words: str) -> None:
    check = check_job(job, facts(job))
    assert (check.status, words in check.message) == (status, True), check
    assert bool(check.hint) == (check.status != "pass"), "what is not well says what to do"


@pytest.mark.parametrize(
    ("ended_as", "status", "words"),
    [
        (ended("failed", "no server"), "fail", "and it failed: no server"),
        (ended("timeout"), "fail", "and it timed out"),
        (
            ended("interrupted", "ended by SIGTERM from outside"),
            "warn",
            "and it was cut off: ended by SIGTERM",
        ),
        (ended("missed", "no scheduler ran"), "warn", "and it was missed: no scheduler ran"),
        (None, "warn", "has not succeeded"),
    ],
)
def test_a_one_time_job_that_is_over_without_a_success_is_told_for_a_week(
    ended_as: Run | None, status: str, words: str
) -> None:
    job = JobFacts("move", once=True, unmet=(ago(hours=2),), slot=ended_as)
    checks = health(facts(over=(job,), scheduler=STOPPED)).checks
    check = checks["job:move"]
    assert (check.status, words in check.message) == (status, True), check
    assert check.hint == "pipesched run move, then pipesched remove move"
    assert checks["jobs"].message.startswith("1 of 1 job not well")
    assert checks["scheduler"].status == "pass", "nothing is to come"
    old = replace(job, unmet=(ago(days=7, minutes=1),))
    settled = replace(job, unmet=())
    assert health(facts(over=(old, settled))).checks["jobs"].message == "no job is enabled"


def test_a_scheduler_that_has_just_started_may_catch_up_first() -> None:
    job = replace(WELL, unmet=SLOTS_OVERDUE)

    def judged(age: timedelta) -> Check:
        return check_job(job, facts(job, scheduler=replace(RUNNING, started_at=NOW - age)))

    assert judged(CATCH_UP - timedelta(seconds=1)).status == "warn"
    assert "is catching up" in judged(CATCH_UP - timedelta(seconds=1)).message
    assert judged(CATCH_UP).status == "fail"


def test_a_run_that_the_daemons_stop_cut_off_is_not_to_be_made_up_for_by_hand() -> None:
    cut = replace(WELL, last=ended("interrupted", "the daemon stopped, and its drain timeout ended"))
    assert check_job(cut, facts(cut)).hint == "the scheduler, once it runs, starts it again"
    other = replace(WELL, last=ended("interrupted", "ended by SIGTERM"))
    assert "pipesched run" in check_job(other, facts(other)).hint


def test_an_auto_paused_job_hints_at_resume() -> None:
    job = JobFacts("nightly", auto_paused_at=ago(hours=2), failures_in_row=5)
    assert "pipesched resume nightly" in check_job(job, facts(job)).hint


@pytest.mark.parametrize(("age", "status"), [(0, "pass"), (90, "pass"), (91, "fail")])
def test_a_loop_that_has_not_turned_for_90_seconds_fails(age: float, status: str) -> None:
    assert check_loop(replace(RUNNING, last_tick=ago(seconds=age)), NOW).status == status


def test_the_loop_of_a_scheduler_that_does_not_run_is_not_judged() -> None:
    assert "loop" not in health(facts(WELL, scheduler=STOPPED)).checks
    assert health(facts(WELL, scheduler=SchedulerFacts(running=True))).checks["loop"].status == "pass"


@pytest.mark.parametrize(
    ("days", "status", "says"),
    [
        (90, "pass", "good for 90 d"),
        (14, "pass", "good for 14 d"),
        (13, "warn", "ends in 13 d"),
        (-2, "warn", "ended 2 d ago"),
    ],
)
def test_a_certificate_is_warned_of_two_weeks_before_it_ends(days: int, status: str, says: str) -> None:
    ending = replace(RUNNING, certificate_until=NOW + timedelta(days=days))
    check = health(facts(WELL, scheduler=ending)).checks["certificate"]
    assert (check.status, says in check.message) == (status, True), check.message
    assert ("reload" in check.hint) is (status == "warn")
    assert "certificate" not in health(facts(WELL)).checks, "plain HTTP has none"


@pytest.mark.parametrize(
    ("free", "total", "status"),
    [
        (200 * GB, 270 * GB, "pass"),
        (2 * GB, 270 * GB, "pass"),
        (1 * GB, 270 * GB, "warn"),
        (1 * GB, 10 * GB, "pass"),
        (0.2 * GB, 10 * GB, "fail"),
        (0, 270 * GB, "fail"),
    ],
)
def test_a_disk_that_is_nearly_full_fails_before_it_is(free: float, total: float, status: str) -> None:
    check = check_disk([DiskFacts("state", "/var", int(free), int(total))])
    assert (check.status, bool(check.hint)) == (status, status != "pass")


def test_the_worst_disk_is_told() -> None:
    full = DiskFacts("reports", "/srv", 0, 10 * GB)
    check = check_disk([DiskFacts("state", "/var", 9 * GB, 10 * GB), full])
    assert check.status == "fail"
    assert "/srv" in check.message


def test_above_the_limit_only_jobs_that_are_not_well_are_listed() -> None:
    well = [JobFacts(f"w{n}", synced_at=ago(hours=1)) for n in range(LISTED_JOBS)]
    assert len(check_jobs(facts(*well))) == LISTED_JOBS + 1
    bad = [JobFacts(f"b{n}", failures_in_row=3) for n in range(LISTED_BAD_JOBS + 5)]
    checks = check_jobs(facts(*well, *bad))
    assert len(checks) == LISTED_BAD_JOBS + 1
    assert "job:w0" not in checks
    assert checks["jobs"].message.startswith(
        f"{len(bad)} of {len(well) + len(bad)} jobs not well, the worst {LISTED_BAD_JOBS} listed"
    )


def test_a_damaged_job_file_says_nothing_about_the_jobs_that_nobody_knows() -> None:
    checks = health(facts(job_file_error=("no JSON", ""), scheduler=STOPPED)).checks
    assert "jobs" not in checks
    assert checks["scheduler"].message == "not running"


def test_the_document_has_the_keys_of_the_contract() -> None:
    document = Health({"scheduler": Check("warn", "slow", "wait")}).as_json()
    assert document == {
        "status": "warn",
        "checks": {"scheduler": {"status": "warn", "message": "slow", "hint": "wait"}},
    }


@given(st.lists(st.sampled_from(["pass", "warn", "fail"])))
def test_the_whole_is_as_bad_as_its_worst_check(statuses: list[Any]) -> None:
    order = ["pass", "warn", "fail"]
    assert worst(statuses) == max(statuses, key=order.index, default="pass")


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (1500, "2 kB"), (84.1e9, "84.1 GB"), (3e15, "3000 TB")]
)
def test_sizes_are_told_in_three_digits(count: float, words: str) -> None:
    assert size(count) == words
