"""Weeks of a scheduler's life in seconds: crashes, clock jumps, pauses and edits at random, and an audit of every occurrence.

The state machine, the planner and the ledger are the real ones; the clock is set, and processes are pretended. A crash is an
exception that the clock or the spawner throws at a random call, so that the daemon is dropped between any two of its steps;
what it had not committed is rolled back, and the next daemon is built over the same ledger file.
"""

import heapq
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipesched.daemon.cancellation import Cancellations
from pipesched.daemon.clock import JumpDetector
from pipesched.daemon.launch import Exit, Launch, Started
from pipesched.daemon.planning import Planner, RunSettings
from pipesched.daemon.records import Recorder
from pipesched.daemon.recovery import recover
from pipesched.daemon.scheduler import LEAD, Scheduler
from pipesched.jobs.build import paused_job, resumed_job
from pipesched.jobs.model import CronTrigger, IntervalTrigger, Job, JobPolicy
from pipesched.runs.ids import new_run_id
from pipesched.runs.ledger import Ledger
from pipesched.runs.model import Run
from pipesched.runs.process import start_ticks
from pipesched.schedule.model import Schedule
from pipesched.schedule.unrecorded import DECIDED, unrecorded_slots
from support.scheduling import FakeClock

START = datetime.fromisoformat("2026-03-01T00:00:00+00:00")
"""The clocks change in New York on the 8th and in Berlin on the 29th."""
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
SHORTEST_SLEEP = 50.0
"""Seconds, within which a run is on time. A job that waits for another looks every 5 s, which would be most of what there is to do."""
STOPPED = "the daemon stopped"
NO_PROCESS = 2**22
"""Beyond any real pid."""


class Crash(BaseException):
    """The daemon dies here."""


class MortalClock(FakeClock):
    """`fuse`: at so many calls from now the daemon dies."""

    def __init__(self) -> None:
        super().__init__()
        self.wall = START
        self.fuse = 0

    def burn(self) -> None:
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Crash

    def now(self) -> datetime:
        self.burn()
        return super().now()

    def monotonic(self) -> float:
        self.burn()
        return super().monotonic()


@dataclass
class Process:
    launch: Launch
    outlives: bool
    """Its daemon's death."""


@dataclass
class Processes:
    """What was started, when it ends, and whether it was started before. `lasting`: seconds that a run takes."""

    clock: MortalClock
    dice: random.Random
    lasting: Callable[[random.Random], float]
    living: dict[str, Process] = field(default_factory=dict)
    started: dict[str, Launch] = field(default_factory=dict)
    ends: list[tuple[float, str]] = field(default_factory=list)
    launches: Counter[tuple[str, datetime, int]] = field(default_factory=Counter)
    busy: Counter[tuple[str, datetime, int]] = field(default_factory=Counter)
    ticks: int | None = field(default_factory=lambda: start_ticks(os.getpid()))

    def launch(self, launch: Launch) -> Started:
        self.clock.burn()
        if self.dice.random() < 0.002:
            raise OSError(24, "Too many open files")
        self.launches[launch.job_id, launch.scheduled_for, launch.attempt] += 1
        outlives = self.dice.random() < 0.5
        self.started[launch.run_id] = launch
        self.living[launch.run_id] = Process(launch, outlives)
        heapq.heappush(self.ends, (self.clock.seconds + self.lasting(self.dice), launch.run_id))
        self.clock.burn()
        # Our own process stands for one that is found alive.
        return Started(os.getpid(), self.ticks) if outlives else Started(NO_PROCESS + 1, 1)

    def adopt(self, run_id: str, process: Started) -> None:
        if (
            run_id not in self.living
        ):  # its end was told to the daemon that died of it: let it live a moment longer
            self.living[run_id] = Process(self.started[run_id], outlives=True)
            self.stop(run_id)

    def stop(self, run_id: str) -> None:
        heapq.heappush(self.ends, (self.clock.seconds + 1, run_id))

    kill = stop

    def over(self) -> Iterator[Process]:
        """Those whose time has come."""
        while self.ends and self.ends[0][0] <= self.clock.seconds:
            process = self.living.pop(heapq.heappop(self.ends)[1], None)
            if process is not None:
                yield process

    def die_with_their_daemon(self) -> list[Process]:
        dead = [process for process in self.living.values() if not process.outlives]
        for process in dead:
            del self.living[process.launch.run_id]
        return dead


@dataclass(frozen=True)
class Epoch:
    """While a job had this schedule: its slots with after < slot <= until; `until` None: to the end."""

    schedule: Schedule
    after: datetime
    until: datetime | None = None
    waits: bool = False
    """For other jobs: then its last slots may be undecided at the end."""
    end: datetime | None = None
    max_runs: int | None = None


@dataclass
class Faults:
    """Days from one to the next, on average."""

    crash: float = 0.5
    jump: float = 3.0
    pause: float = 0.5
    edit: float = 0.5
    remove: float = 2.0
    by_hand: float = 0.5
    stop: float = 1.0
    downtimes: tuple[float, ...] = (0, 0, 1, 30, 600, 4 * 3600, 30 * 3600)
    """Seconds until the next daemon starts, all as likely."""


class Simulation:
    def __init__(
        self,
        folder: Path,
        jobs: list[Job],
        *,
        seed: int,
        workers: int,
        lasting: Callable[[random.Random], float],
        faults: Faults,
        new_trigger: Callable[[random.Random], CronTrigger | IntervalTrigger],
        grain: float = 0.0,
    ) -> None:
        """`grain`: seconds that the loop sleeps at least, whatever happens meanwhile; for many jobs."""
        self.grain = grain
        self.folder = folder
        self.dice = random.Random(seed)
        self.clock = MortalClock()
        self.processes = Processes(self.clock, self.dice, lasting)
        self.jobs = {job.id: job for job in jobs}
        self.removed: dict[str, Job] = {}
        self.workers = workers
        self.new_trigger = new_trigger
        self.reports: dict[str, Mapping[str, Any]] = {}
        self.happened: Counter[str] = Counter()
        self.by_hand: list[tuple[float, str]] = []
        self.downtimes = faults.downtimes
        self.faults = {kind: rate for kind, rate in vars(faults).items() if kind != "downtimes"}
        self.agenda: list[tuple[float, str]] = []
        for kind in self.faults:
            self.plan(kind)
        self.shell = Ledger.open(self.path, create=True)
        self.epochs = {job.id: [self.epoch(job, job.since)] for job in jobs}
        self.scheduler: Scheduler | None = None
        self.ledger: Ledger | None = None

    @property
    def path(self) -> Path:
        return self.folder / "ledger.sqlite3"

    def plan(self, kind: str) -> None:
        days = self.dice.expovariate(1 / self.faults[kind])
        heapq.heappush(self.agenda, (self.clock.seconds + days * 86_400, kind))

    # The daemon

    def start(self) -> None:
        self.ledger = Ledger.open(self.path, create=True)
        planner = Planner(self.ledger, settings=self.settings)
        self.jumps = JumpDetector(self.clock.now(), self.clock.monotonic())
        self.scheduler = Scheduler(
            planner,
            Recorder(self.ledger),
            self.processes,
            clock=self.clock,
            report=self.reports.get,
            cancellations=Cancellations(self.folder),
            max_workers=self.workers,
            lead=LEAD,
        )
        self.scheduler.set_jobs(self.jobs)
        recover(self.ledger, self.scheduler, now=self.clock.now())

    def settings(self, job: Job) -> RunSettings:
        self.clock.burn()  # in the middle of the transaction that claims
        return RunSettings(job.config.storage_path or "")

    def turn(self) -> float:
        """What the loop does in one turn; the seconds that it would sleep."""
        if self.scheduler is None:
            self.start()
        assert self.scheduler is not None
        jump = self.jumps.jump(self.clock.now(), self.clock.monotonic())
        if jump is not None:
            if jump < timedelta(0):
                self.scheduler.clock_went_back(-jump)
            self.scheduler.planner.look_at_all(self.clock.now())
        for process in self.processes.over():
            self.scheduler.ended(self.exit(process))
            self.processes.started.pop(process.launch.run_id, None)
            self.reports.pop(process.launch.run_id, None)
        return self.scheduler.step()

    def exit(self, process: Process) -> Exit:
        run_id = process.launch.run_id
        if process.outlives:  # perhaps adopted: then its report is all that is known
            self.report(process)
        code = self.dice.choices([0, 3, 1, 2, 69, 75, None], [80, 4, 6, 2, 4, 2, 2])[0]
        if code == 75:
            self.processes.busy[
                process.launch.job_id, process.launch.scheduled_for, process.launch.attempt
            ] += 1
            self.reports.pop(run_id, None)
        return Exit(run_id, code, signal=9 if code is None else None)

    def report(self, process: Process) -> None:
        if self.dice.random() < 0.7:
            status, code = self.dice.choice([("succeeded", 0), ("partial", 3), ("failed", 1)])
            stamp = (
                self.clock.wall + timedelta(days=400)
            ).isoformat()  # after its start, whatever the clock did
            self.reports[process.launch.run_id] = {
                "timestamp": stamp,
                "status": status,
                "exit_code": code,
                "message": "",
            }

    def drop(self) -> None:
        """The daemon is gone; what it had not committed is rolled back by SQLite."""
        self.clock.fuse = 0
        if self.ledger is not None:
            self.ledger.close()
        self.scheduler = self.ledger = None
        for process in self.processes.die_with_their_daemon():
            self.report(process)

    # Time goes by

    def live(self, days: float) -> None:
        end = self.clock.seconds + days * 86_400
        idle = 0
        while self.clock.seconds < end:
            try:
                pause = self.turn()
            except Crash:
                self.happened["died in mid-step"] += 1
                self.drop()
                self.stay_down()
                continue
            idle = idle + 1 if pause == 0 else 0
            assert idle < 10_000, "the loop spins"
            if pause:
                if pause > LEAD.total_seconds():  # else what is claimed already starts in a moment
                    pause = max(pause, SHORTEST_SLEEP)
                self.pass_time(min(pause, end - self.clock.seconds))
            while self.agenda[0][0] <= self.clock.seconds:
                kind = heapq.heappop(self.agenda)[1]
                self.plan(kind)
                self.happened[kind] += 1
                getattr(self, f"fault_{kind}")()
        self.settle()

    def pass_time(self, seconds: float) -> None:
        """Until then, or until a process ends or something happens."""
        for queue in (self.processes.ends, self.agenda, self.by_hand):
            if queue:
                seconds = min(seconds, queue[0][0] - self.clock.seconds)
        self.clock.pass_time(max(seconds, self.grain))
        while self.by_hand and self.by_hand[0][0] <= self.clock.seconds:
            self.shell.finish(
                heapq.heappop(self.by_hand)[1], status="succeeded", exit_code=0, now=self.clock.wall
            )

    def settle(self) -> None:
        """Decide about all that is due at the end."""
        self.clock.fuse = 0
        while self.turn() == 0:
            pass

    def stay_down(self) -> None:
        """For a moment, or for hours, in which people go on with their work."""
        seconds = self.dice.choice(self.downtimes)
        for _ in range(self.dice.randrange(2)):
            self.clock.pass_time(seconds / 2)
            self.dice.choice([self.fault_pause, self.fault_edit])()
            seconds /= 2
        self.clock.pass_time(seconds)
        for process in self.processes.over():  # nobody was there to take their exit statuses
            self.report(process)

    # What happens

    def fault_crash(self) -> None:
        if self.scheduler is not None and self.dice.random() < 0.8:
            self.clock.fuse = self.dice.randrange(1, 60)  # it dies soon, in the middle of something
        else:
            self.drop()
            self.stay_down()

    def fault_stop(self) -> None:
        """An orderly end, which cuts off what runs."""
        if self.scheduler is None:
            return
        self.scheduler.launching = False
        try:
            self.scheduler.stop_all(STOPPED)
            for process in [*self.processes.living.values()]:
                del self.processes.living[process.launch.run_id]
                self.scheduler.ended(Exit(process.launch.run_id, None, 15))
                self.processes.started.pop(process.launch.run_id, None)
                self.reports.pop(process.launch.run_id, None)
        except Crash:
            self.happened["died in mid-step"] += 1
        self.drop()
        self.stay_down()

    def fault_jump(self) -> None:
        hours = self.dice.choice([-26.0, -2.0, -0.5, 0.5, 3.0, 26.0])
        self.clock.set_wall(timedelta(hours=hours))

    def fault_by_hand(self) -> None:
        job_id = self.dice.choice(sorted(self.jobs))
        run_id = new_run_id(job_id, self.clock.wall)
        self.shell.begin_manual(run_id, job_id, now=self.clock.wall, pid=os.getpid(), dry_run=False)
        heapq.heappush(self.by_hand, (self.clock.seconds + self.dice.randrange(600), run_id))

    def fault_pause(self) -> None:
        job = self.dice.choice([self.jobs[name] for name in sorted(self.jobs)])
        self.edit(job, paused_job if job.enabled and self.dice.random() < 0.7 else resumed_job)

    def fault_edit(self) -> None:
        job = self.dice.choice([self.jobs[name] for name in sorted(self.jobs)])
        if job.policy.max_runs or job.policy.end:
            return
        if self.dice.random() < 0.5:
            self.edit(
                job,
                lambda job, now: job.model_copy(update={"trigger": self.new_trigger(self.dice)}).rescheduled(
                    now
                ),
            )
        else:
            policy = job.policy.model_copy(update={"overlap": self.dice.choice(["skip", "queue", "replace"])})
            self.edit(job, lambda job, _: job.model_copy(update={"policy": policy}))

    def edit(self, job: Job, change: Callable[[Job, datetime], Job]) -> None:
        """As the command does it: the file first, then what no daemon has recorded; a daemon that runs reads the file."""
        if not self.decided():
            return
        now = self.clock.wall.replace(microsecond=0)
        changed = change(job, now)
        resumed = change is resumed_job
        self.jobs[job.id] = changed
        if changed.since != job.since or resumed:
            timed = job.timed()
            until = now if resumed or self.scheduler is None else now - DECIDED
            for skip in unrecorded_slots(timed, self.shell.progress([timed])[job.id], until):
                self.shell.record_slots(skip, now)
            if resumed:
                self.shell.reset_failures(job.id)
        if changed.since != job.since or changed.schedule_key != job.schedule_key:
            until = self.end_epoch(job, now)
            self.epochs[job.id].append(self.epoch(changed, until))
        self.tell()

    def fault_remove(self) -> None:
        """Remove a job, or add one again that was removed."""
        if not self.decided():
            return
        if self.removed and self.dice.random() < 0.7:
            job = self.removed.pop(self.dice.choice(sorted(self.removed)))
            now = self.clock.wall.replace(microsecond=0)
            job = job.model_copy(update={"created_at": now, "paused_at": None, "enabled": True}).rescheduled(
                now
            )
            self.jobs[job.id] = job
            handled = self.shell.progress([job.timed()])[job.id].handled
            self.epochs[job.id].append(self.epoch(job, now if handled is None else max(now, handled)))
        else:
            named = {name for job in self.jobs.values() for name in job.policy.after}
            free = [
                job
                for name, job in sorted(self.jobs.items())
                if name not in named and not job.policy.max_runs
            ]
            job = self.dice.choice(free)
            self.removed[job.id] = self.jobs.pop(job.id)
            self.tell()
            self.end_epoch(job, self.clock.wall if self.scheduler and self.decided() else None)
            return
        self.tell()

    def decided(self) -> bool:
        """Let a daemon that runs decide about what is due by now; False: it died of it."""
        if self.scheduler is None:
            return True
        try:
            while self.turn() == 0:
                pass
        except Crash:
            self.happened["died in mid-step"] += 1
            self.drop()
            return False
        return True

    def tell(self) -> None:
        """The daemon reads the job file."""
        if self.scheduler is None:
            return
        try:
            self.scheduler.set_jobs(self.jobs)
        except Crash:
            self.drop()

    def epoch(self, job: Job, after: datetime) -> Epoch:
        policy = job.policy
        return Epoch(
            job.schedule(),
            max(after, job.since),
            waits=bool(policy.after),
            end=policy.end,
            max_runs=policy.max_runs,
        )

    def end_epoch(self, job: Job, now: datetime | None) -> datetime:
        """Its slots are decided up to `now`, or up to where the ledger is; the newest of both is returned."""
        handled = self.shell.summaries([job.id])[job.id].handled
        times = [at for at in (handled, now) if at is not None]
        until = max(times) if times else self.epochs[job.id][-1].after
        last = self.epochs[job.id][-1]
        self.epochs[job.id][-1] = Epoch(last.schedule, last.after, until, last.waits, last.end, last.max_runs)
        return until

    # The audit

    def audit(self) -> Counter[str]:
        """Every slot of every job is in exactly one row, and none was started twice; how often what happened."""
        for key, times in self.processes.launches.items():
            assert times <= 1 + self.processes.busy[key], f"{key} was started {times} times"
        found: Counter[str] = Counter()
        for job_id in self.epochs:
            found += self.audit_job(job_id)
        return found

    def audit_job(self, job_id: str) -> Counter[str]:
        rows = [run for run in self.shell.history(job_id, limit=None) if run.trigger != "manual"]
        attempts = Counter((run.scheduled_for, run.attempt) for run in rows)
        assert not [key for key, times in attempts.items() if times > 1], f"{job_id}: a slot has two rows"
        again = self.audit_stopped(job_id, rows, attempts)
        rows = sorted((run for run in rows if run.attempt == 1), key=lambda run: run.scheduled_for or START)
        slots = self.slots(job_id, rows)
        found: Counter[str] = Counter({"started again": again})
        for run in rows:
            # A run stands for one slot; its count is of the wall-clock hits that a gap has folded into it.
            mine = [next(slots, None) for _ in range(run.count if run.until else 1)]
            first, last = mine[0], mine[-1]
            assert (run.scheduled_for, run.until or run.scheduled_for) == (first, last), (
                f"{job_id}: {run} is in the place of {first} to {last}"
            )
            found[run.status] += len(mine)
        left = next(slots, None)
        assert left is None, f"{job_id}: nothing is known of {left}"
        return found

    def audit_stopped(
        self, job_id: str, rows: list[Run], attempts: Counter[tuple[datetime | None, int]]
    ) -> int:
        """What a stop cut off was started again, or gave way with a word, or to a later slot, or is pending."""
        claimed = [run.scheduled_for for run in rows if run.until is None and run.scheduled_for]
        pending = self.shell.pending_retries().get(job_id)
        again = 0
        for run in rows:
            if run.status != "interrupted" or run.reason != STOPPED or job_id in self.removed:
                continue
            assert run.scheduled_for is not None
            key = (run.scheduled_for, run.attempt + 1)
            if attempts[key]:
                again += 1
            elif pending is None or (pending.scheduled_for, pending.attempt) != key:
                assert max(claimed) > run.scheduled_for, f"{job_id}: {run} is forgotten"
        return again

    def slots(self, job_id: str, rows: list[Run]) -> Iterator[datetime]:
        """All that the job was due at, oldest first, by its schedules alone."""
        handled = max((run.until or run.scheduled_for or START for run in rows), default=START)
        claimed = [run.scheduled_for for run in rows if run.until is None and run.scheduled_for]
        for epoch in self.epochs[job_id]:
            until = epoch.until or (handled if epoch.waits else max(self.clock.wall, handled))
            if epoch.end is not None:
                until = min(until, epoch.end)
            if epoch.max_runs is not None and len(claimed) == epoch.max_runs:
                until = min(until, claimed[-1])
            yield from (slot.at for slot in epoch.schedule.between(epoch.after, until))

    def close(self) -> None:
        self.drop()
        self.shell.close()


def random_trigger(dice: random.Random, *, hours: tuple[int, ...]) -> CronTrigger | IntervalTrigger:
    """Every so many hours, by the clock or by elapsed time; a few by the day."""
    every = dice.choice(hours)
    if dice.random() < 0.3:
        return IntervalTrigger(
            seconds=every * 3600.0, anchor=START + timedelta(minutes=5 * dice.randrange(12))
        )
    minute = dice.choice([0, 0, 0, 15, 30, 45])
    if every == 24:
        return CronTrigger(expression=f"{minute} {dice.randrange(5)} * * *")
    return CronTrigger(expression=f"{minute} {dice.choice(['*', '0-23'])}/{every} * * *")


def random_jobs(
    dice: random.Random, count: int, *, hours: tuple[int, ...], waiting: float = 0.05
) -> list[Job]:
    """With every policy there is; `waiting` of them, as a share, wait for another."""
    made = []
    for number in range(count):
        policy: dict[str, Any] = {
            "catch_up": dice.choice(["latest", "latest", "all", "none"]),
            "overlap": dice.choice(["skip", "queue", "replace"]),
            "retries": dice.choice([0, 0, 2]),
            "retry_delay": dice.choice([60.0, 1800.0]),
            "jitter": dice.choice([0.0, 0.0, 0.0, 600.0]),
            "timeout": dice.choice([None, None, 3600.0]),
            "pause_after_failures": dice.choice([None, None, None, 3]),
        }
        kind = dice.randrange(20)
        if dice.random() < waiting and number:
            policy |= {
                "after": [f"job-{dice.randrange(number):05}"],
                "trigger_on": dice.choice(["success", "any"]),
            }
        elif kind == 2:
            policy["max_runs"] = 20
        elif kind == 3:
            policy["end"] = START + timedelta(days=20)
        elif kind == 4:
            policy["not_during"] = ["Sat,Sun 22:00-02:00"]
        job = Job(
            id=f"job-{number:05}",
            timezone=dice.choice(ZONES),
            trigger=random_trigger(dice, hours=hours),
            policy=JobPolicy(**policy),
            created_at=START,
            since=START,
        )
        # Some share their store.
        store = f"store-{number if dice.random() < 0.8 else dice.randrange(count)}"
        made.append(
            job.model_copy(
                update={"config": job.config.model_copy(update={"storage_path": store})}
            ).rescheduled(START)
        )
    return made
