"""Whether all is well: each check a rule over facts, with its reason and what to do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pipesched.runs.model import FAILED, Run
from pipesched.views.ages import ago, count, span
from pipesched.views.checks import JOB_CHECK, RANK, Check, Health, HealthStatus, put_back, worst
from pipesched.views.index_rules import (
    CollectionFacts,
    EmbedderFacts,
    check_deletes,
    check_drift,
    check_embedder,
)
from pipesched.views.scheduler import SchedulerFacts
from pipesched.views.slot_rules import WORDS, check_cut_off, check_once, to_come

__all__ = [
    "Check",
    "CollectionFacts",
    "DiskFacts",
    "EmbedderFacts",
    "Health",
    "HealthFacts",
    "HealthStatus",
    "JobFacts",
    "health",
]

LOOP_SECONDS: Final = 90.0
"""A loop that has not turned for so long is stuck: it wakes at least every 30 s and beats every 15 s."""
LATE_SLOTS: Final = 2
LATE_AFTER: Final = timedelta(minutes=5)
OVERDUE_SLOTS: Final = 4
OVERDUE_AFTER: Final = timedelta(hours=1)
"""Late (warn): so many occurrences, each at least so old, without a success since. Overdue (fail): likewise."""
CATCH_UP: Final = timedelta(minutes=10)
"""How long a scheduler that has just started may take to catch up before lateness is a failure."""
FAILURES_IN_ROW: Final = 3
RATE_RUNS: Final = 4
RATE: Final = 0.5
"""Failing: a success rate below this over at least so many runs."""
CERTIFICATE_DAYS: Final = 14
"""A certificate that ends sooner is warned of; those who renew by machine do so 30 days ahead."""
DISK_FAIL_BYTES: Final = 256 * 2**20
DISK_WARN_BYTES: Final = 2**30
DISK_WARN_SHARE: Final = 0.02
LISTED_JOBS: Final = 50
"""Up to so many jobs, each has its check; above, only those that are not well."""
LISTED_BAD_JOBS: Final = 200


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What health asks of one job that nobody has paused and that is not done.

    `synced_at`: when its newest success ended (partial ones included; of a job that only ever does dry runs: any); None:
    never. `unmet`: the first OVERDUE_SLOTS occurrences since that success, oldest first; none for a job that is up to date.
    `once`: it has one occurrence. `last`: its newest finished run. `success_rate` is over its last `rated` finished runs.
    `running_since`: of its oldest running run. `slot`: of a job without a success (since its only time), the newest that ended or
    did not run at all. `next_at`: its next occurrence.
    """

    job_id: str
    synced_at: datetime | None = None
    unmet: tuple[datetime, ...] = ()
    once: bool = False
    last: Run | None = None
    success_rate: float | None = None
    rated: int = 0
    failures_in_row: int = 0
    running_since: datetime | None = None
    auto_paused_at: datetime | None = None
    slot: Run | None = None
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """One file system. `what`: which of our folders lie on it; sizes in bytes."""

    what: str
    path: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """Everything health depends on, gathered at the edge. `now` is aware.

    `job_file_gone`: there is none, and there has been one. `job_file_error`: (message, hint) where the file cannot be used at all; `problems`: what in it cannot, each said with its place.
    `enabled`: jobs that are neither paused nor done. `over`: one-time jobs that are done. `paused`: how many are paused. `no_scheduler`: something else fires the jobs.
    `collections`: those that jobs write to; `embedders`: the models of enabled jobs.
    `notifying`: how many of the enabled jobs have somebody to tell; `can_notify`: what sends it is installed.
    `refused`: (job id, target without its secret, why) of each target that took nothing when it was asked last.
    """

    now: datetime
    scheduler: SchedulerFacts
    job_file: str
    job_file_exists: bool = True
    job_file_gone: bool = False
    job_file_error: tuple[str, str] | None = None
    problems: tuple[str, ...] = ()
    enabled: tuple[JobFacts, ...] = ()
    over: tuple[JobFacts, ...] = ()
    paused: int = 0
    disks: tuple[DiskFacts, ...] = ()
    no_scheduler: bool = False
    collections: tuple[CollectionFacts, ...] = ()
    embedders: tuple[EmbedderFacts, ...] = ()
    notifying: int = 0
    can_notify: bool = True
    refused: tuple[tuple[str, str, str], ...] = ()


def health(facts: HealthFacts) -> Health:
    """All checks, the general ones first."""
    checks = {"job_file": check_job_file(facts), "scheduler": check_scheduler(facts)}
    if facts.scheduler.running:
        checks["loop"] = check_loop(facts.scheduler, facts.now)
        if facts.scheduler.certificate_until is not None:
            checks["certificate"] = check_certificate(facts.scheduler.certificate_until, facts.now)
    if facts.disks:
        checks["disk"] = check_disk(facts.disks)
    if facts.embedders:
        checks["embedder"] = check_embedder(facts.embedders)
    if facts.collections:
        checks["deletes"] = check_deletes(facts.collections, facts.now)
        checks["drift"] = check_drift(facts.collections, facts.now)
    if facts.notifying:
        checks["notifications"] = check_notifications(facts)
    if facts.enabled or not (facts.job_file_error or facts.job_file_gone):
        checks.update(check_jobs(facts))
    return Health(checks)


def check_job_file(facts: HealthFacts) -> Check:
    if facts.job_file_error is not None:
        message, hint = facts.job_file_error
        if facts.scheduler.running:
            message += "; degraded: the scheduler goes on with the jobs it had"
        return Check("fail", message, hint)
    if facts.job_file_gone:
        stop = "; or stop the daemon" if facts.scheduler.running else ""
        return Check("fail", f"the job file {facts.job_file} is gone", put_back(facts.job_file) + stop)
    if not facts.job_file_exists:
        return Check("warn", f"there is no job file {facts.job_file}", "pipesched init, or --file PATH")
    if facts.problems:
        more = f" (and {len(facts.problems) - 3} more)" if len(facts.problems) > 3 else ""
        return Check(
            "warn",
            f"degraded: not all of {facts.job_file} can be used: " + "; ".join(facts.problems[:3]) + more,
            "mend it with pipesched edit JOB_ID, or in the file; the other jobs go on",
        )
    return Check("pass", f"{facts.job_file} can be read")


def check_scheduler(facts: HealthFacts) -> Check:
    scheduler = facts.scheduler
    if scheduler.running:
        pid = f", pid {scheduler.pid}" if scheduler.pid is not None else ""
        since = f", up {span(facts.now - scheduler.started_at)}" if scheduler.started_at else ""
        return Check("pass", f"running{pid}{since}")
    if facts.no_scheduler:
        return Check("pass", "not asked for (--no-scheduler)")
    if not facts.enabled:
        unknown = facts.job_file_error is not None or facts.job_file_gone
        return Check("pass", "not running" if unknown else "not running, and no job needs it")
    seen = f"; last seen {ago(scheduler.last_tick, facts.now)}" if scheduler.last_tick else ""
    return Check(
        "fail",
        f"{count(len(facts.enabled), 'job')} enabled and no scheduler running{seen}",
        "start it: pipesched daemon; or, where cron or another scheduler starts the runs, --no-scheduler",
    )


def check_loop(scheduler: SchedulerFacts, now: datetime) -> Check:
    if scheduler.last_tick is None:
        return Check("pass", "the scheduler is starting")
    age = (now - scheduler.last_tick).total_seconds()
    if age > LOOP_SECONDS:
        return Check(
            "fail",
            f"the scheduling loop has not turned for {span(now - scheduler.last_tick)}: nothing is fired",
            "restart the daemon, and keep its log: its last lines say where it hangs",
        )
    return Check("pass", f"turned {ago(scheduler.last_tick, now)}")


def check_certificate(until: datetime, now: datetime) -> Check:
    """Of the certificate that is shown, which may be older than its file. It stops no job, so that it is no failure."""
    hint = "renew it, then have the daemon read it again: systemctl reload pipesched, or kill -HUP PID"
    if until <= now:
        return Check("warn", f"the endpoint's certificate ended {ago(until, now)}: clients refuse it", hint)
    if until - now < timedelta(days=CERTIFICATE_DAYS):
        return Check("warn", f"the endpoint's certificate ends in {span(until - now)}", hint)
    return Check("pass", f"the endpoint's is good for {span(until - now)}")


def check_disk(disks: Sequence[DiskFacts]) -> Check:
    """The worst of the file systems that we write to."""
    found: list[Check] = []
    for disk in disks:
        room = f"{size(disk.free)} of {size(disk.total)} free for {disk.what} ({disk.path})"
        if disk.free < DISK_FAIL_BYTES:
            found.append(
                Check(
                    "fail",
                    f"disk nearly full: {room}",
                    f"free some space: df -h {disk.path}; pipesched prune",
                )
            )
        elif disk.free < DISK_WARN_BYTES and disk.free < DISK_WARN_SHARE * disk.total:
            found.append(Check("warn", f"disk filling up: {room}", f"free some space: df -h {disk.path}"))
        else:
            found.append(Check("pass", room))
    return max(found, key=lambda check: RANK[check.status])


def check_notifications(facts: HealthFacts) -> Check:
    if facts.can_notify and facts.refused:
        said = [f"job {job_id}: {target}: {reason}" for job_id, target, reason in facts.refused[:3]]
        more = f" (and {len(facts.refused) - 3} more)" if len(facts.refused) > 3 else ""
        return Check(
            "warn",
            "targets take nothing: " + "; ".join(said) + more,
            "mend it, a variable in the daemon's environment with a restart; then pipesched notify-test "
            + facts.refused[0][0],
        )
    if facts.can_notify:
        return Check("pass", f"{count(facts.notifying, 'job')} with somebody to tell")
    return Check(
        "warn",
        f"nobody is told of {count(facts.notifying, 'job')}: Apprise is not installed",
        "pip install 'pipesched[notify]', then restart the daemon",
    )


def check_jobs(facts: HealthFacts) -> dict[str, Check]:
    """`jobs`, the sum, and `job:ID` for each (above LISTED_JOBS, for each that is not well)."""
    each = {f"{JOB_CHECK}{job.job_id}": check_job(job, facts) for job in facts.enabled}
    over = {f"{JOB_CHECK}{job.job_id}": check_once(job, facts.now) for job in facts.over}
    each |= {name: check for name, check in over.items() if check is not None}
    bad = {name: check for name, check in each.items() if check.status != "pass"}
    paused = f"; {facts.paused} paused" if facts.paused else ""
    if not each:
        return {"jobs": Check("pass", f"no job is enabled{paused}")}
    if not bad:
        total = Check("pass", f"{count(len(each), 'job')} enabled, all well{paused}")
    else:
        listed = f", the worst {LISTED_BAD_JOBS} listed" if len(bad) > LISTED_BAD_JOBS else ""
        total = Check(
            worst(check.status for check in bad.values()),
            f"{len(bad)} of {count(len(each), 'job')} not well{listed}{paused}",
            "see each of them: pipesched health; pipesched history JOB_ID",
        )
    if len(each) <= LISTED_JOBS:
        return {"jobs": total, **each}
    ordered = sorted(bad.items(), key=lambda item: -RANK[item[1].status])
    return {"jobs": total, **dict(ordered[:LISTED_BAD_JOBS])}


def check_job(job: JobFacts, facts: HealthFacts) -> Check:
    """The worst thing that is true of a job; at one rank, the first of: paused, failing, late, last run."""
    found = [
        check
        for check in (
            check_auto_pause(job, facts.now),
            check_failures(job),
            check_lateness(job, facts),
            check_cut_off(job),
        )
        if check is not None
    ]
    if found:
        return max(found, key=lambda check: RANK[check.status])
    if job.synced_at is not None:
        return Check("pass", f"last success {ago(job.synced_at, facts.now)}")
    if job.running_since is not None:
        return Check("pass", f"its first run has been running for {span(facts.now - job.running_since)}")
    return Check("pass", to_come(job, facts.now))


def check_auto_pause(job: JobFacts, now: datetime) -> Check | None:
    if job.auto_paused_at is None:
        return None
    return Check(
        "fail",
        f"paused {ago(job.auto_paused_at, now)} after {job.failures_in_row} failures in a row{_why(job)}",
        f"mend the cause (pipesched logs {job.job_id}), then pipesched resume {job.job_id}",
    )


def check_failures(job: JobFacts) -> Check | None:
    """Failing: several failures in a row, or most of the last runs; else how the last one ended."""
    hint = f"pipesched logs {job.job_id}"
    if job.failures_in_row >= FAILURES_IN_ROW:
        return Check("fail", f"{job.failures_in_row} failures in a row{_why(job)}", hint)
    if job.success_rate is not None and job.rated >= RATE_RUNS and job.success_rate < RATE:
        failed = round(job.rated * (1 - job.success_rate))
        return Check("fail", f"{failed} of the last {job.rated} runs failed{_why(job)}", hint)
    if job.last is None:
        return None
    if job.last.status in FAILED:
        return Check("warn", f"the last run {WORDS[job.last.status]}{_why(job)}", hint)
    if job.last.status == "partial":
        return Check(
            "warn",
            f"the last run was partial{_why(job)}",
            f"pipesched report {job.last.run_id} names each document",
        )
    return None


def _why(job: JobFacts) -> str:
    """The last run's reason, where that was bad, as an ending of a sentence."""
    bad = job.last is not None and (job.last.status in FAILED or job.last.status == "partial")
    return f": {job.last.reason}" if bad and job.last is not None and job.last.reason else ""


def check_lateness(job: JobFacts, facts: HealthFacts) -> Check | None:
    """Late: occurrences have passed without a success since. A run under way, or a fresh start, is given time."""
    now = facts.now
    late = sum(at <= now - LATE_AFTER for at in job.unmet)
    overdue = sum(at <= now - OVERDUE_AFTER for at in job.unmet)
    if late < (1 if job.once else LATE_SLOTS):
        return None
    under_way = job.running_since is not None and now - job.running_since < OVERDUE_AFTER
    last = "it never succeeded" if job.synced_at is None else f"last success {ago(job.synced_at, now)}"
    due = f"due {ago(job.unmet[0], now)}"
    if job.once:
        return Check(
            "warn",
            f"late: {due}, and it has not succeeded",
            f"pipesched run {job.job_id}, or pipesched remove {job.job_id}",
        )
    message = f"late: {last}; {due}, and since then again"
    hint = f"pipesched history {job.job_id} says why it did not run"
    if overdue < OVERDUE_SLOTS:
        return None if under_way else Check("warn", message, hint)
    started = facts.scheduler.started_at
    if facts.scheduler.running and started is not None and now - started < CATCH_UP:
        return Check("warn", f"{message}; the scheduler started {ago(started, now)} and is catching up", hint)
    if under_way and job.running_since is not None:
        return Check("warn", f"{message}; a run has been under way for {span(now - job.running_since)}", hint)
    return Check("fail", message, hint)


def size(number: float) -> str:
    """Bytes for people: `3.2 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit in {"B", "kB"} or number >= 100 else f"{number:.1f} {unit}"
