"""The forecast against the scheduler's own decisions, and what is said of it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.daemon.admission import Occupied, Waiting, admit
from pipesched.schedule.blackout import blackout
from pipesched.schedule.model import Fire, Policy, Progress, TimedJob
from pipesched.schedule.parse import cron, interval
from pipesched.schedule.tick import plan_job
from pipesched.views.forecast import Subject, forecast, forecast_document

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)


def subject(job_id: str, schedule, *, store: str = "", typical=10.0, slow=None, under_way=(), **policy):
    job = TimedJob(job_id, schedule, Policy(**policy), since=NOW - timedelta(days=1))
    progress = Progress(waits_for=job.policy.after)
    return Subject(job, progress, store, typical, typical if slow is None else slow, under_way)


def minutes(count: float):
    return interval(count * 60, NOW)


def look(*subjects: Subject, hours: float = 1, max_workers: int = 2, zone="UTC", **more):
    found = forecast(subjects, now=NOW, until=NOW + hours * HOUR, max_workers=max_workers, **more)
    return forecast_document(found, ZoneInfo(zone))


# ---- the same as the scheduler


@dataclass
class Played:
    """What the daemon's own pure decisions come to, with runs that take as long as they are said to."""

    subjects: list[Subject]
    limit: int
    until: datetime
    now: datetime = NOW
    runs: int = 0
    busy: float = 0.0
    refused: int = 0
    events: int = 0
    progress: dict[str, Progress] = field(default_factory=dict)
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    running: dict[str, tuple[Waiting, datetime, datetime]] = field(default_factory=dict)

    def play(self) -> None:
        for each in self.subjects:
            self.progress[each.job.id] = Progress(handled=NOW, waits_for=each.job.policy.after)
            self.seen[each.job.id] = {"ran": 0, "success": 0, "failure": 0, "any": 0}
        times = {NOW}
        while times:
            self.now = min(times)
            times = {time for time in times if time > self.now}
            if self.now > self.until:
                break
            times |= self.turn()
        for _, started, _ in self.running.values():
            self.busy += (self.until - started).total_seconds()

    def turn(self) -> set[datetime]:
        while ended := [run for run in self.running.values() if run[2] <= self.now]:
            for run, _, _ in ended:
                subject = self.of(run.job_id)
                timeout = subject.job.policy.timeout
                self.end(run.run_id, "failure" if timeout and subject.typical > timeout else "success")
        times: set[datetime] = set()
        for _ in self.subjects:  # one that ends at once lets another follow in the same turn
            for each in self.subjects:
                times |= self.plan(each)
            times |= self.admit()
        return times

    def plan(self, each: Subject) -> set[datetime]:
        plan = plan_job(each.job, self.known(each), self.now)
        for decision in plan.decisions:
            last = decision.scheduled_for if isinstance(decision, Fire) else decision.last
            known = self.progress[each.job.id]
            self.progress[each.job.id] = replace(known, handled=last)
            if not isinstance(decision, Fire):
                self.refused += decision.count
                continue
            for run_id in decision.replaces:
                self.end(run_id, "interrupted")
            self.runs += 1
            known = self.progress[each.job.id]
            self.progress[each.job.id] = replace(known, claimed=known.claimed + 1)
            self.events += 1
            self.seen[each.job.id]["ran"] = self.events
            run = Waiting(
                f"{each.job.id}-{self.runs}", each.job.id, decision.scheduled_for, 1, decision.start_at,
                each.store, self.runs,
            )  # fmt: skip
            self.waiting.append(run)
        return {plan.wake_at} if plan.wake_at else set()

    def known(self, each: Subject) -> Progress:
        queued = [run for run in self.waiting if run.job_id == each.job.id]
        going = [run for run, _, _ in self.running.values() if run.job_id == each.job.id]
        seen = self.seen[each.job.id]
        waits = tuple(
            parent
            for parent in each.job.policy.after
            if self.seen[parent][each.job.policy.trigger_on] <= seen["ran"]
        )
        return replace(
            self.progress[each.job.id],
            active=tuple(run.run_id for run in (*going, *queued)),
            queued=bool(queued),
            waits_for=waits,
        )

    def admit(self) -> set[datetime]:
        occupied = [Occupied(run.run_id, run.job_id, run.store) for run, _, _ in self.running.values()]
        admission = admit(self.waiting, occupied, limit=self.limit, now=self.now)
        times = set()
        for run in admission.start:
            self.waiting.remove(run)
            subject = self.of(run.job_id)
            seconds = min(subject.typical, subject.job.policy.timeout or subject.typical)
            ends = self.now + timedelta(seconds=seconds)
            self.running[run.run_id] = (run, self.now, ends)
            times.add(ends)
        return times | ({admission.next_at} if admission.next_at else set())

    def end(self, run_id: str, how: str) -> None:
        self.waiting = [run for run in self.waiting if run.run_id != run_id]
        gone = self.running.pop(run_id, None)
        if gone is None:
            return
        run, started, _ = gone
        self.busy += (self.now - started).total_seconds()
        self.events += 1
        for kind in {"success": ("success", "any"), "failure": ("failure", "any")}.get(how, ("any",)):
            self.seen[run.job_id][kind] = self.events

    def of(self, job_id: str) -> Subject:
        return next(each for each in self.subjects if each.job.id == job_id)


@st.composite
def stages(draw: st.DrawFn) -> list[Subject]:
    found: list[Subject] = []
    for number in range(draw(st.integers(1, 5))):
        policy = draw(
            st.fixed_dictionaries(
                {"overlap": st.sampled_from(["skip", "queue", "replace"])},
                optional={
                    "max_runs": st.integers(1, 4),
                    "timeout": st.sampled_from([30.0, 200.0]),
                    "jitter": st.sampled_from([20.0, 500.0]),
                    "blackout": st.just(blackout(("12:30-12:50",), (), "UTC")),
                    "start": st.just(NOW + timedelta(minutes=17)),
                    "end": st.just(NOW + timedelta(minutes=63)),
                },
            )
        )
        if found and draw(st.booleans()):
            policy["after"] = (draw(st.sampled_from(found)).job.id,)
            policy["trigger_on"] = draw(st.sampled_from(["success", "failure", "any"]))
            policy.pop("jitter", None)
        found.append(
            subject(
                f"job{number}",
                minutes(draw(st.sampled_from([1, 2, 5, 7, 10, 30]))),
                # No two runs end in one instant by chance: the order of what happens then is nobody's promise.
                typical=draw(st.sampled_from([7.0, 61.0, 250.0, 700.0])) + (number + 1) / 128,
                store=draw(st.sampled_from(["", "a", "b"])),
                **policy,
            )
        )
    return found


@given(stages(), st.integers(1, 3))
def test_it_foresees_what_the_scheduler_decides(subjects: list[Subject], limit: int) -> None:
    until = NOW + 1.5 * HOUR
    played = Played(subjects, limit, until)
    played.play()
    course = forecast(subjects, now=NOW, until=until, max_workers=limit).typical
    assert course.runs == played.runs
    assert course.busy_seconds == pytest.approx(played.busy, abs=0.01)


# ---- what is said


def test_fires_are_counted_by_the_day_and_hour_of_the_zone() -> None:
    document = look(
        subject("a", cron("30 * * * *", zone="Asia/Kathmandu", job_id="")), hours=24, zone="Asia/Kathmandu"
    )
    first, second = document["days"]
    assert (first["date"], first["fires"], first["hours"][:18]) == ("2026-03-02", 6, [0] * 18)
    assert (second["date"], second["hours"]) == ("2026-03-03", [1] * 17 + [1] + [0] * 6)
    assert document["fires"] == 24
    assert document["complete"]
    assert document["from"] == "2026-03-02T17:45:00+05:45"


def test_an_hour_that_comes_twice_has_the_fires_of_both() -> None:
    before = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)
    each = subject("a", cron("*/30 * * * *", zone="Europe/Berlin", job_id=""))
    found = forecast([each], now=before, until=before + 24 * HOUR, max_workers=1)
    day = forecast_document(found, ZoneInfo("Europe/Berlin"))["days"][1]
    assert day["hours"][:4] == [2, 2, 4, 2]


def test_a_job_that_is_due_while_its_own_run_goes_on_is_named_for_either_length() -> None:
    document = look(subject("a", minutes(10), typical=60.0, slow=700.0))
    (row,) = document["overlaps"]
    assert (row["job_id"], row["overlap"], row["first"]) == ("a", "skip", "2026-03-02T12:20:00+00:00")
    assert row["p50"]["count"] == 0
    assert row["p95"] == {"count": 3, "seconds": 300.0, "longest_seconds": 100.0}


def test_runs_that_wait_for_a_store_are_named_with_what_they_wait_for_and_how_long() -> None:
    document = look(
        subject("first", minutes(30), store="/db", typical=120.0, slow=600.0),
        subject("second", minutes(30), store="/db", typical=5.0),
        subject("elsewhere", minutes(30), store="/other"),
        max_workers=8,
        hours=1.25,
    )
    (row,) = document["stores"]
    assert (row["store"], row["job_id"], row["waits_for"]) == ("/db", "second", "first")
    assert row["p50"] == {"count": 2, "seconds": 240.0, "longest_seconds": 120.0}
    assert row["p95"]["longest_seconds"] == 600.0
    assert row["first"] == "2026-03-02T12:30:00+00:00"


def test_more_runs_than_workers_are_told_with_their_waits() -> None:
    jobs = [subject(f"j{n}", minutes(60), store=f"/{n}", typical=60.0) for n in range(5)]
    load = look(*jobs, hours=1.5)["load"]
    assert load["max_workers"] == 2
    assert load["p50"]["wanted"] == 5
    assert load["p50"]["waits"] == {"count": 3, "seconds": 240.0, "longest_seconds": 120.0}
    assert load["p50"]["busy"] == round(5 * 60 / (2 * 5400), 4)
    assert look(*jobs, hours=1.5, max_workers=5)["load"]["p50"]["waits"]["count"] == 0


def test_a_follower_of_failures_is_told_as_not_running() -> None:
    document = look(
        subject("a", minutes(10)),
        subject("b", minutes(10), after=("a",)),
        subject("c", minutes(10), after=("a",), trigger_on="failure"),
        hours=2,
    )
    (row,) = document["dependencies"]
    assert (row["job_id"], row["after"], row["trigger_on"]) == ("c", ["a"], "failure")
    assert row["p50"] == 11


def test_pauses_windows_and_the_last_run_are_kept_to() -> None:
    paused = subject("paused", minutes(1))
    paused = replace(paused, job=replace(paused.job, paused_at=NOW))
    failed = replace(subject("failed", minutes(1)), progress=Progress(auto_paused_at=NOW))
    window = subject("window", minutes(10), blackout=blackout(("12:15-12:45",), (), "UTC"))
    three = subject("three", minutes(1), max_runs=3)
    used_up = replace(subject("used", minutes(1), max_runs=3), progress=Progress(claimed=3))
    assert look(paused, failed, used_up)["fires"] == 0
    assert look(window)["fires"] == 3  # 12:10, 12:50, 13:00
    assert look(three)["fires"] == 3


def test_a_follower_that_is_late_waits_for_its_window_to_open() -> None:
    window = blackout(("12:30-12:50",), (), "UTC")
    jobs = [
        subject("parent", interval(3600, NOW - timedelta(minutes=50)), typical=25 * 60.0),  # 12:10 to 12:35
        subject("child", interval(3600, NOW - timedelta(minutes=40)), after=("parent",), blackout=window),
    ]
    assert look(*jobs, hours=0.8)["load"]["p50"]["runs"] == 1
    assert look(*jobs, hours=0.85)["load"]["p50"]["runs"] == 2


def test_a_run_under_way_is_in_the_way_for_as_long_as_such_runs_take() -> None:
    going = subject("a", minutes(10), typical=900.0, under_way=(NOW - timedelta(seconds=100),))
    (row,) = look(going, hours=0.25)["overlaps"]
    assert row["p50"] == {"count": 1, "seconds": 200.0, "longest_seconds": 200.0}


def test_a_job_without_a_run_to_go_by_is_named_with_what_is_assumed() -> None:
    document = look(
        subject("new", minutes(1), typical=None), subject("old", minutes(30)), assumed=90.0, hours=0.5
    )
    assert document["assumed"] == {"seconds": 90.0, "jobs": ["new"]}
    assert [row["job_id"] for row in document["overlaps"]] == ["new"]


def test_more_than_can_be_looked_at_ends_earlier_and_says_when() -> None:
    document = look(subject("a", minutes(1)), subject("b", minutes(1)), hours=24, most=100)
    assert not document["complete"]
    assert document["fires"] == 100
    assert document["until"] == "2026-03-02T12:50:59+00:00"


def test_nothing_at_all_is_an_answer_too() -> None:
    document = look()
    assert (document["fires"], document["overlaps"], document["stores"]) == (0, [], [])
    assert document["load"]["p50"]["wanted_at"] is None
