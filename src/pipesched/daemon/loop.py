"""The loop: wait for a time, a signal, output or an exit; do what it asks for; show that it turns."""

from __future__ import annotations

import logging
import os
import selectors
import signal
from collections.abc import Callable
from typing import Final

from pipesched.daemon.capture import Capture
from pipesched.daemon.children import Children
from pipesched.daemon.clock import Clock, JumpDetector
from pipesched.daemon.housekeeping import Housekeeper
from pipesched.daemon.jobwatch import JobWatch
from pipesched.daemon.scheduler import Scheduler
from pipesched.daemon.signals import STOPPING, Signals
from pipesched.daemon.source import DaemonSource
from pipesched.daemon.systemd import Notifier
from pipesched.errors import InputOutputError

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
"""How often the job file is looked at and the wall clock compared; the longest that the loop sleeps."""
LOADING_SECONDS: Final = 0.05
"""How often it is looked at while it is being read."""
BEAT_SECONDS: Final = 10.0
ABANDON_SECONDS: Final = 20.0
"""From the last TERM to giving up on processes that wait for a dead disk; the next daemon finds them."""
BY_HAND_SECONDS: Final = 5.0
"""How often it is checked whether runs by hand are still alive: one that was killed is in the way of its job's slots until then."""
PRUNE_LOOK_SECONDS: Final = 5.0


class Loop:
    """`run` returns the daemon's exit status. `once`: until what was due has run, else until a signal ends it.

    `beat` shows others that the loop turns; `check_manual_runs` looks after rows that no daemon keeps; `is_ours`: the state folder
    is still the one that this daemon has locked.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        children: Children,
        watch: JobWatch,
        source: DaemonSource,
        signals: Signals,
        selector: selectors.BaseSelector,
        notifier: Notifier,
        clock: Clock,
        drain_seconds: float,
        once: bool,
        beat: Callable[[], None],
        check_manual_runs: Callable[[], None],
        is_ours: Callable[[], bool],
        housekeeper: Housekeeper | None = None,
        reload_endpoint: Callable[[], None] | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._children = children
        self._watch = watch
        self._source = source
        self._signals = signals
        self._selector = selector
        self._notifier = notifier
        self._clock = clock
        self._drain_seconds = drain_seconds
        self._once = once
        self._beat = beat
        self._check_manual_runs = check_manual_runs
        self._is_ours = is_ours
        self._is_disowned = False
        self._housekeeper = housekeeper
        self._reload_endpoint = reload_endpoint
        self._jumps = JumpDetector(clock.now(), clock.monotonic())
        self._due: dict[str, float] = {}
        self._drain_until: float | None = None
        self._abandon_at = float("inf")
        self._status = ""
        self._ended_by: int | None = None

    def run(self) -> int:
        self._selector.register(self._signals, selectors.EVENT_READ)
        while True:
            self._keep_house()
            pause = self._scheduler.step()
            if self._is_over():
                if self._housekeeper is not None:
                    self._housekeeper.stop()
                self._scheduler.recorder.flush_now()
                return self._exit_status()
            self._wait(pause)
            self._scheduler.launch_ready()  # before all else: its time is now
            for number in self._signals.take():
                self._on_signal(number)
            for ended in self._children.reap():
                self._scheduler.ended(ended)

    # Waiting

    def _wait(self, pause: float) -> None:
        monotonic = self._clock.monotonic()
        deadlines = [*self._due.values()]
        deadlines += [at for at in (self._children.next_deadline(), self._drain_until) if at is not None]
        pause = min(pause, TICK_SECONDS, *(max(0.0, at - monotonic) for at in deadlines))
        for key, _ in self._selector.select(pause):
            if isinstance(key.data, Capture):
                self._children.read(key.data)

    def _is_time(self, what: str, every: float) -> bool:
        """Whether `what`, done every so many seconds, is to be done now."""
        now = self._clock.monotonic()
        if now < self._due.get(what, now):
            return False
        self._due[what] = now + every
        return True

    # What is done regularly

    def _keep_house(self) -> None:
        self._source.turned()
        ping = self._notifier.ping_seconds
        if ping is not None and self._is_time("watchdog", ping):
            self._notifier.alive()
        self._check_clock()
        self._tell_status()
        if self._drain_until is not None:
            self._end_drain()
        if self._is_time("beat", BEAT_SECONDS):
            self._beat()
        if self._is_time("by hand", BY_HAND_SECONDS):
            self._check_manual_runs()
        if self._housekeeper is not None and self._is_time("prune", PRUNE_LOOK_SECONDS):
            self._housekeeper.look()
        if not self._is_time("tick", TICK_SECONDS):
            return
        if self._scheduler.launching and not self._once and self._watch.poll():
            self._take_jobs()
        if self._watch.loading:
            self._due["tick"] = self._clock.monotonic() + LOADING_SECONDS
        if not self._is_disowned and not self._is_ours():
            self._disown()
        if os.getpid() == 1:
            self._children.reap_orphans(None if self._housekeeper is None else self._housekeeper.pid)

    def _check_clock(self) -> None:
        jump = self._jumps.jump(self._clock.now(), self._clock.monotonic())
        if jump is None:
            return
        seconds = jump.total_seconds()
        log.warning(
            "the clock went %s by %.0f s (set, or the machine slept)",
            "forward" if seconds > 0 else "back",
            abs(seconds),
        )
        if seconds < 0:
            self._scheduler.clock_went_back(-jump)
        self._scheduler.planner.look_at_all(self._clock.now())

    def _take_jobs(self) -> None:
        self._scheduler.set_jobs(self._watch.file.jobs)
        log.info("job file read: %d jobs", len(self._watch.file.jobs))

    def _tell_status(self) -> None:
        doing = f"{self._scheduler.running} running, {self._scheduler.waiting} waiting"
        if self._drain_until is not None:
            doing = f"stopping: {doing}"
        elif self._watch.error is not None:
            doing += "; the job file is bad, the last good jobs go on"
        status = f"{len(self._watch.file.jobs)} jobs, {doing}"
        if status != self._status:
            self._status = status
            self._notifier.status(status)

    # Signals and the end

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reload()
        elif number in STOPPING and self._drain_until is None:
            self._drain(signal.Signals(number).name)
        elif number in STOPPING:
            log.warning("%s again: ending the runs at once", signal.Signals(number).name)
            self._ended_by = number
            self._abandon_at = self._clock.monotonic() + ABANDON_SECONDS
            self._scheduler.kill_all("the daemon was told to stop at once")

    def _reload(self) -> None:
        self._notifier.reloading()
        if self._watch.reload():
            self._take_jobs()
        if self._reload_endpoint is not None:
            self._reload_endpoint()
        self._status = ""
        self._notifier.ready(f"{len(self._watch.file.jobs)} jobs")

    def _disown(self) -> None:
        """Nobody can see any more what this daemon records, and another one may run beside it: end."""
        self._is_disowned = True
        log.error("the state folder was removed or replaced under the daemon, which ends; start it again")
        if self._drain_until is None:
            self._drain("the state folder is gone")

    def _drain(self, why: str) -> None:
        self._scheduler.launching = False
        self._drain_until = self._clock.monotonic() + self._drain_seconds
        self._notifier.stopping("stopping")
        log.info(
            "%s: nothing is started any more; %d runs have %.0f s to end",
            why, self._scheduler.running, self._drain_seconds,
        )  # fmt: skip

    def _end_drain(self) -> None:
        assert self._drain_until is not None
        if self._clock.monotonic() >= self._drain_until:
            self._drain_until = float("inf")
            self._abandon_at = self._clock.monotonic() + ABANDON_SECONDS
            self._scheduler.stop_all("the daemon stopped, and its drain timeout ended")

    def _is_over(self) -> bool:
        if self._clock.monotonic() >= self._abandon_at:
            log.error("%d runs do not end, not even on SIGKILL; leaving them", self._scheduler.running)
            return True
        if self._drain_until is not None:
            return self._scheduler.running == 0
        return self._once and self._scheduler.idle

    def _exit_status(self) -> int:
        if self._is_disowned:
            return InputOutputError.exit_code
        if self._ended_by is not None:
            return 128 + self._ended_by
        return 1 if self._once and self._scheduler.has_failed else 0
