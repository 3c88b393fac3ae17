"""Any sequence of what can happen, against a model in memory; reopened, and read by another connection, at any time."""

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipesched.runs.ledger import Ledger
from pipesched.runs.model import EXECUTED, FAILED
from pipesched.schedule.model import PendingRetry, Policy, Progress, Skip, TimedJob
from pipesched.schedule.parse import interval

START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
JOBS = ("a", "b", "c")
AFTER = {"a": (), "b": ("a",), "c": ("a", "b")}

jobs = st.sampled_from(("a", *JOBS, "a"))  # one of them often, so that things meet
endings = st.sampled_from(["succeeded", "partial", "failed", "timeout", "interrupted", "lost", "skipped"])


@dataclass
class Row:
    run_id: str
    job: str
    status: str
    slot: int | None
    attempt: int
    manual: bool = False
    dry_run: bool = False
    count: int = 1
    reason: str = ""


@dataclass
class Known:
    """A job in the model. Slots are minutes since START."""

    handled: int | None = None
    claimed: int = 0
    failures: int = 0
    retry: tuple[int, int] | None = None
    paused: bool = False
    joinable: Row | None = None
    ran: int = 0
    synced: int = 0
    failed: int = 0
    ended: int = 0
    recent: str = ""
    counts: Counter[str] = field(default_factory=Counter)


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")  # where syncing costs nothing
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.path = self.folder / "state" / "ledger.sqlite3"
        self.ledger = Ledger.open(self.path, create=True)
        self.rows: list[Row] = []
        self.jobs = {name: Known() for name in JOBS}
        self.attempts: set[tuple[str, int, int]] = set()
        self.documents: Counter[str] = Counter()
        self.recent = ""
        self.clock = 0
        self.events = 0
        self.number = 0

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)

    # What can happen

    @rule(minutes=st.integers(-3, 5))
    def time_passes(self, minutes: int) -> None:
        self.clock = max(0, self.clock + minutes)

    @rule(job=jobs, ahead=st.integers(-1, 3), dry_run=st.booleans())
    def a_slot_is_claimed(self, job: str, ahead: int, *, dry_run: bool) -> None:
        known, run_id = self.jobs[job], self.new_id()
        slot = (self.clock if known.handled is None else known.handled) + ahead
        won = self.ledger.claim(
            run_id, job, scheduled_for=at(slot), attempt=1, trigger="schedule", now=self.now, dry_run=dry_run
        )
        assert won == (known.handled is None or slot > known.handled)
        if won:
            known.handled, known.joinable = slot, None
            known.claimed += 1
            known.ran = self.event()
            self.attempts.add((job, slot, 1))
            self.rows.append(Row(run_id, job, "queued", slot, 1, dry_run=dry_run))

    @rule(job=jobs)
    def a_retry_is_claimed(self, job: str) -> None:
        known = self.jobs[job]
        if known.retry is None:
            return
        (slot, attempt), run_id = known.retry, self.new_id()
        won = self.ledger.claim(
            run_id, job, scheduled_for=at(slot), attempt=attempt, trigger="retry", now=self.now
        )
        assert won == ((job, slot, attempt) not in self.attempts)
        if won:
            self.attempts.add((job, slot, attempt))
            known.retry, known.ran = None, self.event()
            self.rows.append(Row(run_id, job, "queued", slot, attempt))

    @rule(job=jobs, dry_run=st.booleans())
    def somebody_starts_a_run(self, job: str, *, dry_run: bool) -> None:
        run_id = self.new_id()
        self.ledger.begin_manual(run_id, job, now=self.now, pid=1, dry_run=dry_run)
        if not dry_run:
            self.jobs[job].ran = self.event()
        self.rows.append(Row(run_id, job, "running", None, 1, manual=True, dry_run=dry_run))

    @precondition(lambda self: self.of("queued"))
    @rule(data=st.data())
    def a_run_starts(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.of("queued")))
        self.ledger.started(row.run_id, pid=None, pid_started=None, now=self.now)
        self.ledger.started(row.run_id, pid=7, pid_started=8, now=self.now)
        row.status = "running"

    @precondition(lambda self: self.claimed_running())
    @rule(data=st.data())
    def a_run_finds_its_store_busy(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.claimed_running()))
        self.ledger.requeue(row.run_id, not_before=self.now + MINUTE, reason="busy")
        row.status = "queued"

    @precondition(lambda self: self.of("queued", "running"))
    @rule(data=st.data(), status=endings, retry=st.booleans())
    def a_run_ends(self, data: st.DataObject, status: str, *, retry: bool) -> None:
        row = data.draw(st.sampled_from(self.of("queued", "running")))
        known = self.jobs[row.job]
        retry = retry and status in FAILED and not row.manual
        assert self.ledger.finish(
            row.run_id,
            status=status,  # type: ignore[arg-type]
            now=self.now,
            documents={"new": 2},
            retry_at=self.now + MINUTE if retry else None,
        )
        row.status = status
        known.counts[status] += 1
        looked = row.manual and row.dry_run
        if status in EXECUTED | FAILED:
            mark = "1" if status in EXECUTED else "0"
            self.recent, known.recent = (self.recent + mark)[-20:], (known.recent + mark)[-20:]
        if status in EXECUTED and not looked:
            known.failures = 0
        if status in FAILED and not looked:
            known.failures += 1
        if status in EXECUTED and not row.dry_run:
            known.synced = known.ended = self.event()
            self.documents["new"] += 2
        elif not retry and not row.dry_run and status in FAILED | {"interrupted"}:
            known.ended = self.event()
            known.failed = known.ended if status in FAILED else known.failed
        if retry:
            assert row.slot is not None
            known.retry = (row.slot, row.attempt + 1)

    @precondition(lambda self: [row for row in self.rows if row.status in EXECUTED | FAILED])
    @rule(data=st.data())
    def an_ended_run_ends_again(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from([row for row in self.rows if row.status in EXECUTED | FAILED]))
        assert not self.ledger.finish(row.run_id, status="failed", now=self.now)

    @rule(
        job=jobs,
        first=st.integers(-2, 3),
        count=st.integers(1, 4),
        why=st.sampled_from([("missed", "down"), ("skipped", "paused"), ("skipped", "still running")]),
    )
    def slots_do_not_run(self, job: str, first: int, count: int, why: tuple[str, str]) -> None:
        known, (status, reason) = self.jobs[job], why
        slot = (self.clock if known.handled is None else known.handled) + first
        if known.retry is not None and known.retry[0] == slot and count == 1:
            return  # that supersedes the retry: the next rule
        last = slot + count - 1
        self.ledger.record_slots(Skip(job, at(slot), at(last), count, status, reason), self.now)  # type: ignore[arg-type]
        if known.handled is not None and last <= known.handled:
            return
        known.handled = last
        known.counts[status] += count
        row = known.joinable
        if row is not None and (row.status, row.reason) == (status, reason):
            row.count += count
        else:
            known.joinable = Row("", job, status, slot, 1, count=count, reason=reason)
            self.rows.append(known.joinable)

    @rule(job=jobs)
    def the_next_slot_supersedes_a_retry(self, job: str) -> None:
        known = self.jobs[job]
        if known.retry is None:
            return
        slot, attempt = known.retry
        self.ledger.record_slots(Skip(job, at(slot), at(slot), 1, "skipped", "superseded"), self.now)
        known.retry = None
        known.failed = known.ended = self.event()
        known.counts["skipped"] += 1
        self.rows.append(Row("", job, "skipped", slot, attempt, reason="superseded"))

    @rule(job=jobs, paused=st.booleans())
    def a_job_is_paused_by_its_failures_or_resumed(self, job: str, *, paused: bool) -> None:
        self.jobs[job].paused = paused
        if paused:
            self.ledger.auto_pause(job, self.now, "failed")
        else:
            self.ledger.reset_failures(job)
            self.jobs[job].failures = 0

    @rule()
    def the_scheduler_starts_again(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.path, create=True)

    # What must hold

    @invariant()
    def progress_is_the_models(self) -> None:
        timed = [TimedJob(name, interval(60, START), Policy(after=AFTER[name]), START) for name in JOBS]
        for name, found in self.ledger.progress(timed).items():
            known = self.jobs[name]
            active = [
                row for row in self.of("queued", "running", job=name) if not (row.manual and row.dry_run)
            ]
            retry = found.retry
            assert (retry and (retry.scheduled_for, retry.attempt)) == (
                known.retry and (at(known.retry[0]), known.retry[1])
            )
            assert found == Progress(
                handled=None if known.handled is None else at(known.handled),
                active=tuple(row.run_id for row in active),
                queued=any(row.status == "queued" for row in active),
                claimed=known.claimed,
                retry=PendingRetry(retry.scheduled_for, retry.attempt, retry.not_before) if retry else None,
                failures_in_row=known.failures,
                auto_paused_at=found.auto_paused_at,
                waits_for=tuple(dep for dep in AFTER[name] if self.jobs[dep].synced <= known.ran),
            )
            assert (found.auto_paused_at is not None) == known.paused

    @invariant()
    def who_waits_for_a_failure_or_any_end_is_told_the_models(self) -> None:
        for how in ("failure", "any"):
            policies = {name: Policy(after=AFTER[name], trigger_on=how) for name in JOBS}
            timed = [TimedJob(name, interval(60, START), policies[name], START) for name in JOBS]
            for name, found in self.ledger.progress(timed).items():
                last = {dep: self.jobs[dep] for dep in AFTER[name]}
                times = {dep: each.failed if how == "failure" else each.ended for dep, each in last.items()}
                assert found.waits_for == tuple(
                    dep for dep in AFTER[name] if times[dep] <= self.jobs[name].ran
                )

    @invariant()
    def counts_are_the_models_for_a_reader_too(self) -> None:
        with Ledger.open(self.path, create=False) as reader:
            counters, totals, summaries = reader.counters(), reader.totals(), reader.summaries(JOBS)
        both = sum((known.counts for known in self.jobs.values()), Counter())
        assert counters.executed == both["succeeded"] + both["partial"]
        assert counters.failed == both["failed"] + both["timeout"] + both["lost"]
        assert (counters.missed, counters.skipped) == (both["missed"], both["skipped"])
        assert counters.success_rate == rate(self.recent)
        assert totals.documents == {key: value for key, value in self.documents.items() if value}
        for name, summary in summaries.items():
            assert summary.totals == dict(self.jobs[name].counts)
            assert summary.success_rate == rate(self.jobs[name].recent)

    @invariant()
    def history_has_each_row_once(self) -> None:
        found = Counter(
            (run.job_id, run.status, run.scheduled_for, run.attempt, run.count, run.dry_run)
            for run in self.ledger.history(limit=None)
        )
        assert found == Counter(
            (
                row.job,
                row.status,
                None if row.slot is None else at(row.slot),
                row.attempt,
                row.count,
                row.dry_run,
            )
            for row in self.rows
        )

    # Words

    @property
    def now(self) -> datetime:
        return at(self.clock)

    def new_id(self) -> str:
        self.number += 1
        return f"run{self.number}"

    def event(self) -> int:
        self.events += 1
        return self.events

    def of(self, *statuses: str, job: str | None = None) -> list[Row]:
        return [row for row in self.rows if row.status in statuses and row.run_id and job in {None, row.job}]

    def claimed_running(self) -> list[Row]:
        return [row for row in self.of("running") if not row.manual]


def at(minute: int) -> datetime:
    return START + minute * MINUTE


def rate(recent: str) -> float | None:
    return recent.count("1") / len(recent) if recent else None


TestLedgerAgainstItsModel = pytest.mark.slow(LedgerMachine.TestCase)
TestLedgerAgainstItsModel.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
