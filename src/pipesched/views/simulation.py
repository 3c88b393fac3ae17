"""PURE: a discrete-event simulation of the scheduler: when runs would start, and what would keep them waiting."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from pipesched.schedule.model import Policy, Progress, TimedJob
from pipesched.schedule.outlook import grace_of, runs_left

Slot = tuple[float, int, float]
"""When it is due (seconds since 1970), the place of its job, and by how many seconds jitter puts its start off."""

BUCKET_SECONDS: Final = 900
"""No zone's offset is other than a multiple of this, so that an hour of any zone is whole buckets."""
PUNCTUAL_SECONDS: Final = 60.0
_MOST_HELD: Final = 100
_WORKERS: Final = -1
_ITSELF: Final = -2
_END, _READY, _RELEASE = range(3)
_Ending = Literal["success", "failure", "interrupted"]
_COUNTS: Final = {
    "success": frozenset({"success"}),
    "failure": frozenset({"failure"}),
    "any": frozenset({"success", "failure", "interrupted"}),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """A job on the stage. `store`: what its runs write to, "" where nothing that another job's do.

    `seconds`: how long each of its runs takes. `under_way`: when its active runs started, None for one that waits.
    """

    job: TimedJob
    progress: Progress
    store: str
    seconds: float
    under_way: tuple[datetime | None, ...] = ()


@dataclass(slots=True)
class Tally:
    """How often something happened, first when (seconds since 1970), and for how many seconds, in all and at the longest."""

    first: float
    count: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)


@dataclass(slots=True)
class Course:
    """What would happen; jobs by their places.

    `due`: fires by bucket. `overlaps`: slots that find the job's own earlier run still going on, and for how much longer.
    `behind`: runs that wait for a run of another job on their store, by (who waits, for whom). `crowded`: runs that wait for a
    free worker. `unmet`: slots whose runs before them did not end in time. `wanted`: the most runs at one time, were there
    workers for all of them.
    """

    due: Counter[int] = field(default_factory=Counter)
    overlaps: dict[int, Tally] = field(default_factory=dict)
    behind: dict[tuple[int, int], Tally] = field(default_factory=dict)
    crowded: Tally | None = None
    unmet: dict[int, Tally] = field(default_factory=dict)
    runs: int = 0
    busy_seconds: float = 0.0
    wanted: int = 0
    wanted_at: float | None = None


@dataclass(slots=True, eq=False)
class _Run:
    place: int
    slot: float
    order: int
    key: str
    ready: float = 0.0
    started: float | None = None
    ends: float = 0.0
    gone: bool = False
    behind: int | None = None


def simulate(
    actors: Sequence[Actor], slots: Iterable[Slot], *, begin: datetime, until: datetime, max_workers: int
) -> Course:
    """Live through `slots` (ordered, all of them after `begin`) up to `until`."""
    stage = _Stage(actors, begin.timestamp(), max_workers)
    return stage.play(slots, until.timestamp())


class _Stage:
    """The state of one simulation."""

    def __init__(self, actors: Sequence[Actor], begin: float, limit: int) -> None:
        self.actors = actors
        self.limit = limit
        self.course = Course()
        self.events: list[tuple[float, int, int, _Run | int]] = []
        self.serial = 0
        self.active: list[list[_Run]] = [[] for _ in actors]
        self.left = [runs_left(actor.job.policy, actor.progress) for actor in actors]
        self.held: dict[int, list[float]] = {}
        # Looked at when the instant's slots are known, since the newest makes up for those before it.
        self.released: list[int] = []
        self.missing: list[set[str]] = [set(actor.progress.waits_for) for actor in actors]
        self.dependents: dict[str, list[int]] = {}
        self.occupied: dict[str, _Run] = {}
        self.waiting: dict[str, list[tuple[float, int, _Run]]] = {}
        self.free: list[tuple[float, int, str]] = []
        self.startable: set[str] = set()
        self.running = 0
        self.fresh: list[_Run] = []
        for place, actor in enumerate(actors):
            for parent in actor.job.policy.after:
                self.dependents.setdefault(parent, []).append(place)
        for place, actor in enumerate(actors):
            for started in actor.under_way:
                self.carry_on(place, started, begin)
        self.admit(begin)

    def play(self, slots: Iterable[Slot], until: float) -> Course:
        coming = iter(slots)
        slot = next(coming, None)
        while True:
            now = slot[0] if slot is not None else until + 1
            if self.events and self.events[0][0] <= now:
                now = self.events[0][0]
            if now > until:
                break
            while self.events and self.events[0][0] == now:
                _, kind, _, what = heapq.heappop(self.events)
                self.happen(kind, what, now)
            while slot is not None and slot[0] == now:
                self.fall_due(slot[1], slot[2], now)
                slot = next(coming, None)
            for place in self.released:
                if place in self.held and not self.missing[place]:
                    self.release(place, now)
            self.released.clear()
            self.admit(now)
        self.close(until)
        return self.course

    def happen(self, kind: int, what: _Run | int, now: float) -> None:
        if isinstance(what, int):
            self.released.append(what)
        elif what.gone:
            return
        elif kind == _END:
            timeout = self.policy(what.place).timeout
            took = self.actors[what.place].seconds
            self.finish(what, now, "failure" if timeout is not None and took > timeout else "success")
        else:
            self.enqueue(what, now)

    def close(self, until: float) -> None:
        """The end of the time: what still waits has waited up to here."""
        for run in self.occupied.values():
            assert run.started is not None
            self.course.busy_seconds += until - run.started
        for line in self.waiting.values():
            for _, _, run in line:
                if not run.gone:
                    self.waited(run, until)
        for place, slots in self.held.items():
            for slot in slots:
                if until - slot > self.grace(place, slot):
                    self.unmet(place, slot)

    # What becomes of a slot

    def fall_due(self, place: int, jitter: float, now: float) -> None:
        if self.left[place] == 0:
            return
        self.course.due[int(now // BUCKET_SECONDS)] += 1
        if self.blocked(place, now, noted=True):
            return
        if self.missing[place] or place in self.held:
            self.hold(place, now)
            if not self.missing[place]:
                self.release(place, now)
            return
        self.claim(place, now, now, jitter)

    def blocked(self, place: int, now: float, *, noted: bool) -> bool:
        """Whether the job's own earlier runs keep it from another one."""
        active = self.active[place]
        if not active:
            return False
        if noted:
            going_on = max((run.ends - now for run in active if run.started is not None), default=0.0)
            self.course.overlaps.setdefault(place, Tally(now)).add(max(going_on, 0.0))
        overlap = self.policy(place).overlap
        return overlap == "skip" or (overlap == "queue" and any(run.started is None for run in active))

    def hold(self, place: int, slot: float) -> None:
        """Until the runs that it waits for have ended; one run makes up for several slots, but with catch-up all."""
        held = self.held.setdefault(place, [])
        if held and (self.policy(place).catch_up != "all" or len(held) == _MOST_HELD):
            self.unmet(place, held.pop(0))
        held.append(slot)

    def release(self, place: int, now: float) -> None:
        slots = self.held.pop(place)
        blackout = self.policy(place).blackout
        at = datetime.fromtimestamp(now, UTC)
        if blackout is not None and now - slots[-1] > PUNCTUAL_SECONDS and blackout.reason(at):
            self.held[place] = slots
            self.push(blackout.stretch(at).end.timestamp(), _RELEASE, place)
            return
        for slot in slots:
            if now - slot > self.grace(place, slot):
                self.unmet(place, slot)
            elif self.left[place] != 0 and not self.blocked(place, now, noted=False):
                self.claim(place, slot, now, 0.0)

    def claim(self, place: int, slot: float, now: float, jitter: float) -> None:
        policy = self.policy(place)
        if policy.overlap == "replace":
            for run in list(self.active[place]):
                self.finish(run, now, "interrupted")
        left = self.left[place]
        if left is not None:
            self.left[place] = left - 1
        self.missing[place] = set(policy.after)
        self.course.runs += 1
        run = self.new_run(place, slot)
        if slot + jitter > now:
            self.push(slot + jitter, _READY, run)
        else:
            self.enqueue(run, now)

    # What becomes of a run

    def new_run(self, place: int, slot: float) -> _Run:
        self.serial += 1
        # Runs of one job follow one another, whatever they write to.
        run = _Run(place, slot, self.serial, self.actors[place].store or f"\0{place}")
        self.active[place].append(run)
        return run

    def carry_on(self, place: int, started: datetime | None, begin: float) -> None:
        """A run that was under way when the simulation began."""
        run = self.new_run(place, begin)
        if started is None or run.key in self.occupied:
            self.enqueue(run, begin)
        else:
            self.start(run, begin, max(begin, started.timestamp() + self.takes(place)))

    def enqueue(self, run: _Run, now: float) -> None:
        run.ready = now
        heapq.heappush(self.waiting.setdefault(run.key, []), (run.slot, run.order, run))
        self.fresh.append(run)
        self.offer(run.key)

    def offer(self, key: str) -> None:
        """Who is first in line may start, where nobody is in the way."""
        line = self.waiting.get(key)
        while line and line[0][2].gone:
            heapq.heappop(line)
        if line and key not in self.occupied:
            heapq.heappush(self.free, (line[0][0], line[0][1], key))
            self.startable.add(key)
        else:
            self.startable.discard(key)

    def admit(self, now: float) -> None:
        """As the daemon does it: by due time, one run a store, no more than there are workers."""
        wanted = self.running + len(self.startable)
        if wanted > self.course.wanted:
            self.course.wanted, self.course.wanted_at = wanted, now
        while self.running < self.limit and self.free:
            slot, order, key = heapq.heappop(self.free)
            line = self.waiting.get(key)
            if key in self.occupied or not line or line[0][:2] != (slot, order):
                continue  # somebody else was offered the place meanwhile
            run = line[0][2]
            if run.gone:
                self.offer(key)
                continue
            heapq.heappop(line)
            self.start(run, now, now + self.takes(run.place))
        for run in self.fresh:
            if run.started is None and not run.gone:
                in_the_way = self.occupied.get(run.key)
                if in_the_way is None:
                    run.behind = _WORKERS
                else:
                    run.behind = _ITSELF if in_the_way.place == run.place else in_the_way.place
        self.fresh.clear()

    def start(self, run: _Run, now: float, ends: float) -> None:
        self.waited(run, now)
        run.started, run.ends = now, ends
        self.occupied[run.key] = run
        self.startable.discard(run.key)
        self.running += 1
        self.push(ends, _END, run)

    def finish(self, run: _Run, now: float, how: _Ending) -> None:
        run.gone = True
        self.active[run.place].remove(run)
        if run.started is None:
            self.offer(run.key)
            return
        self.course.busy_seconds += now - run.started
        self.running -= 1
        del self.occupied[run.key]
        self.offer(run.key)
        parent = self.actors[run.place].job.id
        for place in self.dependents.get(parent, ()):
            missing = self.missing[place]
            if parent in missing and how in _COUNTS[self.policy(place).trigger_on]:
                missing.discard(parent)
                self.released.append(place)

    def waited(self, run: _Run, now: float) -> None:
        seconds = now - run.ready
        if run.behind is None or run.behind == _ITSELF or seconds <= 0:
            return
        if run.behind == _WORKERS:
            tally = self.course.crowded = self.course.crowded or Tally(run.ready)
        else:
            tally = self.course.behind.setdefault((run.place, run.behind), Tally(run.ready))
        tally.first = min(tally.first, run.ready)
        tally.add(seconds)

    # What is known of a job

    def policy(self, place: int) -> Policy:
        return self.actors[place].job.policy

    def takes(self, place: int) -> float:
        seconds, timeout = self.actors[place].seconds, self.policy(place).timeout
        return seconds if timeout is None else min(seconds, timeout)

    def grace(self, place: int, slot: float) -> float:
        return max(grace_of(self.actors[place].job, datetime.fromtimestamp(slot, UTC)), 1.0)

    def unmet(self, place: int, slot: float) -> None:
        self.course.unmet.setdefault(place, Tally(slot)).add(0.0)

    def push(self, at: float, kind: int, what: _Run | int) -> None:
        self.serial += 1
        heapq.heappush(self.events, (at, kind, self.serial, what))
