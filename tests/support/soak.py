"""A daemon that lives through days in seconds: all of it is real but the clock, and what it holds is measured as it goes.

The selector makes the time: where nothing happens, a wait is over at once, and the clock has gone on by as much. While
processes of runs live, it waits for them in earnest.
"""

import gc
import os
import selectors
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import mean, median
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from pipesched.daemon.launch import Launch
from pipesched.daemon.service import Options, serve
from pipesched.daemon.source import DaemonSource
from pipesched.http.server import StatusServer
from pipesched.jobs.model import IntervalTrigger, Job, JobPolicy
from pipesched.jobs.store import JobStore
from pipesched.notify.service import Notifications
from pipesched.options import PipelineConfig
from pipesched.runs.ledger import Ledger
from pipesched.runs.retention import Keep, execute, plan
from pipesched.settings import Paths
from support.scheduling import FakeClock
from support.webhook import Webhook

GRAIN = 2.0
"""Seconds that pass at the least where nothing happens: the loop looks around each second."""


@dataclass(frozen=True)
class Sample:
    """What the daemon holds after so many `hours` of its clock.

    `kilobytes` of memory, `blocks` of it that Python has given out; bytes of the `database`; `files` in its folder.
    """

    hours: float
    fires: int
    kilobytes: int
    blocks: int
    threads: int
    handles: int
    database: int
    files: int


class Passing(selectors.DefaultSelector):
    """Lets `clock`'s time pass instead of waiting. `tick` is called at each turn."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.tick: Callable[[], None] = lambda: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.tick()
        found = super().select(0)
        if found:
            return found
        if len(self.get_map()) > 1 or has_children():  # besides the signals, the output of runs
            found = super().select(0.01)
            self.clock.pass_time(0.05)
            return found
        self.clock.pass_time(max(timeout or 0.0, GRAIN))
        return super().select(0)


def has_children() -> bool:
    """Whether a process of a run lives, or was not yet waited for: its output may have ended a moment before."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@dataclass
class Soak:
    """`jobs` that fire each `every`; one more fails hourly and tells `hook`. After each sample all but `keep` runs of a job go.

    `watcher` is told of each sample.
    """

    folder: Path
    hours: int = 24
    jobs: int = 2
    every: timedelta = timedelta(seconds=90)
    keep: int = 10
    between: timedelta = timedelta(hours=1)
    watcher: Callable[[Sample], None] = lambda _: None
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths = Paths.resolve(file=str(self.folder / "schedules.json"), environ={}, cwd=self.folder)
        self.store = JobStore(self.paths.job_file)
        self.clock = FakeClock()
        self.start = self.clock.now()
        self.next = self.start + self.between
        self.selector = Passing(self.clock)
        self.selector.tick = self._tick
        self.hook = Webhook()
        self.source: DaemonSource | None = None

    def live(self) -> int:
        """The daemon's exit status, after SIGTERM at the end of its time."""
        with self.hook:
            self.store.add(self._jobs(), self.start)
            try:
                return serve(
                    self.paths,
                    Options(max_workers=8),
                    environ={"PATH": os.environ["PATH"]},
                    command=self._command,
                    endpoint=lambda source: StatusServer("127.0.0.1:0", token=None, source=source),
                    observer=self._observer,
                    clock=self.clock,
                    selector=self.selector,
                )
            finally:
                gc.unfreeze()

    def _jobs(self) -> list[Job]:
        def job(job_id: str, seconds: float, **policy: Any) -> Job:
            return Job(
                id=job_id,
                trigger=IntervalTrigger(seconds=seconds, anchor=self.start),
                timezone="Europe/Berlin",
                policy=JobPolicy(**policy),
                config=PipelineConfig(storage_path=f"store-of-{job_id}"),
                created_at=self.start,
                since=self.start,
            )

        told = {"notify": (f"json://{self.hook.address}/",), "ping": f"http://{self.hook.address}/ping"}
        often = [job(f"often-{number}", self.every.total_seconds()) for number in range(self.jobs)]
        return [*often, job("bad", 3600.0, retries=1, retry_delay=60.0, **told)]

    @staticmethod
    def _command(launch: Launch) -> list[str]:
        return ["/bin/false"] if launch.job_id == "bad" else ["/bin/echo", "done"]

    def _observer(self, source: DaemonSource) -> Notifications:
        self.source = source
        return Notifications(source, os.environ)

    def _tick(self) -> None:
        if self.clock.now() < self.next:
            return
        self.next += self.between
        if self.source is not None:
            self._look_in(self.source)
        self.samples.append(self._sample())
        self.watcher(self.samples[-1])
        if self.clock.now() - self.start >= timedelta(hours=self.hours):
            self.selector.tick = lambda: None
            os.kill(os.getpid(), signal.SIGTERM)

    def _look_in(self, source: DaemonSource) -> None:
        """What others do with a daemon: ask it, save its job file, prune its state."""
        for path in ("/", "/metrics", "/scheduler/status"):
            with urlopen(f"{source.http}{path}") as answer:
                assert answer.read()
        os.utime(self.paths.job_file)
        with Ledger.open(self.paths.ledger, create=True) as ledger:
            execute(plan(ledger, self.paths, Keep(runs=self.keep), self.clock.now()), ledger)
            ledger.give_back()
        self.hook.requests.clear()

    def _sample(self) -> Sample:
        urlsplit.cache_clear()  # of a bounded size, which pings, each with a URL of its own, take days to fill
        gc.collect()
        status = Path("/proc/self/status").read_text()
        numbers = {line.split()[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
        with Ledger.open(self.paths.ledger, create=False) as ledger:
            fires = ledger.counters().executed + ledger.counters().failed
        state = [path for path in self.folder.rglob("*") if path.is_file()]
        return Sample(
            hours=(self.clock.now() - self.start) / timedelta(hours=1),
            fires=fires,
            kilobytes=int(numbers["VmRSS:"]),
            blocks=sys.getallocatedblocks(),
            threads=int(numbers["Threads:"]),
            handles=len(list(Path("/proc/self/fd").iterdir())),
            database=sum(path.stat().st_size for path in state if path.name.startswith("ledger")),
            files=len(state),
        )


def leaks(samples: Sequence[Sample]) -> list[str]:
    """What has grown from the second third of the samples to the last one, in words; the first third is for what is made once."""
    third = len(samples) // 3
    early, late = samples[third : 2 * third], samples[2 * third :]
    fires = mean(each.fires for each in late) - mean(each.fires for each in early)
    limits = {"kilobytes": 1024.0, "blocks": fires / 2, "threads": 2.0, "handles": 2.0, "files": 10.0}
    limits["database"] = 0.2 * max(each.database for each in early)
    found = []
    for name, limit in limits.items():
        before, after = (median(getattr(each, name) for each in part) for part in (early, late))
        if after - before > limit:
            found.append(f"{name} grew from {before:,.0f} to {after:,.0f} in {fires:,.0f} fires")
    return found
