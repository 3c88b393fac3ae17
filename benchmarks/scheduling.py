"""What scheduling costs: a fire of a schedule, a daemon of 10,000 jobs, and how late its runs start.

    .venv/bin/python benchmarks/scheduling.py [cost] [scale] [lateness] [--jobs 10000] [--fires 40] [--idle 20] [--minutes 3]

Prints one table for each part (all of them by default), with the machine's load at the time. Compared are croniter alone, on naive
times, and APScheduler 3 (`--apscheduler PYTHON`: an interpreter that has it; else this one, else a temporary environment that it is
installed into), and Debian's cron, where it is installed and may be used: a line in the crontab of whoever runs this, which is put back
as it was at the end; a `cron -f` of our own where none runs, which takes root, and obeys the system's tables meanwhile.

The lateness is from the scheduled instant to the first thing that the started process does, which is to write down its
clock; pipesched fires on the whole second and APScheduler half a second later, so that neither is in the other's way. cron fires on
the whole minute, where pipesched does too: there they are compared.
"""

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

PIPESCHED = str(Path(sys.executable).with_name("pipesched"))
ZONES = ("Europe/Berlin", "America/New_York", "UTC", "Asia/Tokyo", "Australia/Sydney")
EXPRESSIONS = (
    "* * * * *", "*/5 * * * *", "0 * * * *", "30 2 * * *", "0 9-17 * * mon-fri", "*/7 9-17 * * 1-5", "15,45 */3 * * *",
    "0 0 1 * *", "0 0 13 * fri", "0 0 1 1 *", "59 23 31 12 *", "0 0 29 2 *", "0 0 L * *", "0 12 * * fri#2",
    "0 0 31 1,3,5,7,8,10,12 *", "7,17,27,37,47,57 1-23/2 1-15 * *",
)  # fmt: skip
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = 'printf "%s\\n" "$EPOCHREALTIME" >> "$1"'
"""bash reads its clock by itself: nothing else has to be started for it."""


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def load() -> str:
    return " ".join(f"{each:.2f}" for each in os.getloadavg())


# ---- a: a fire


def costs(following: Callable[[datetime], object], *, count: int) -> list[float]:
    """Processor time in microseconds of each of `count` fires after random times of two years, the best of three."""
    dice = random.Random(7)
    found = []
    for _ in range(count):
        at = BEGIN + timedelta(seconds=dice.randrange(730 * 86_400))
        following(at)
        best = float("inf")
        for _ in range(3):
            begin = time.thread_time_ns()
            following(at)
            best = min(best, time.thread_time_ns() - begin)
        found.append(best / 1000)
    return found


def fires_of_ours(expression: str) -> Callable[[datetime], object]:
    from pipesched.schedule.parse import cron

    return cron(expression, zone="America/New_York", job_id="job").next


def fires_of_ours_with_a_window(expression: str) -> Callable[[datetime], object]:
    from pipesched.schedule.blackout import blackout
    from pipesched.schedule.open_slots import OpenSchedule
    from pipesched.schedule.parse import cron

    closed = blackout(("Sat,Sun 22:00-02:00", "03:00-04:00"), ("2026-12-24..2026-12-26",), "America/New_York")
    assert closed is not None
    return OpenSchedule(cron(expression, zone="America/New_York", job_id="job"), closed).next


def fires_of_croniter(expression: str) -> Callable[[datetime], object]:
    from croniter import croniter

    schedule = croniter(expression)
    return lambda at: schedule.get_next(datetime, start_time=at.replace(tzinfo=None))


def fires_of_apscheduler(expression: str) -> Callable[[datetime], object]:
    from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped,import-not-found]

    trigger = CronTrigger.from_crontab(expression, timezone="America/New_York")
    return lambda at: trigger.get_next_fire_time(None, at)


SCHEDULERS = {
    "pipesched": fires_of_ours,
    "pipesched, windows": fires_of_ours_with_a_window,
    "croniter, naive": fires_of_croniter,
    "APScheduler 3": fires_of_apscheduler,
}


def cost_row(name: str) -> str:
    """Medians over the expressions, and the dearest one."""
    found: dict[str, list[float]] = {}
    left_out = 0
    for expression in EXPRESSIONS:
        try:
            found[expression] = costs(SCHEDULERS[name](expression), count=60)
        except Exception:  # noqa: BLE001  an expression that the other one does not know, or cannot find a fire of
            left_out += 1
    everything = [each for values in found.values() for each in values]
    worst = max(found, key=lambda expression: statistics.median(found[expression]))
    return (
        f"{name:<20}{statistics.median(everything):>10.1f}{percentile(everything, 0.99):>10.1f}"
        f"{statistics.median(found[worst]):>10.1f}   {worst}"
        + (f"   ({left_out} left out)" if left_out else "")
    )


def cost(python: str | None) -> None:
    print(f"a fire, microseconds of processor time (targets: median 40, worst 120); load {load()}")
    print(f"{'':<20}{'median':>10}{'p99':>10}{'worst':>10}   the dearest expression, by its median")
    for name in SCHEDULERS:
        if name != "APScheduler 3":
            print(cost_row(name))
        elif python is not None:
            print(
                subprocess.run(
                    [python, __file__, "--cost-of", name], capture_output=True, text=True, check=True
                ).stdout,
                end="",
            )
    print()


# ---- b: many jobs


def job_file(path: Path, count: int, *, every_second: bool = False) -> None:
    """Jobs of all sorts; none is due within two hours, but for one each second where it is asked for."""
    dice = random.Random(11)
    hour = datetime.now(UTC).hour
    jobs = {}
    for number in range(count):
        # By hours in UTC that are far enough from now, in a zone's own clock at most 11 hours off.
        when = (hour + dice.randrange(3, 22)) % 24
        job = {
            "id": f"job-{number:05}",
            "timezone": "UTC",
            "trigger": {"type": "cron", "expression": f"{dice.randrange(60)} {when} * * *"},
            "policy": {},
            "config": {"data_dir": f"data/{number}", "storage_path": f"db/{number}"},
            "enabled": True,
            "created_at": "2026-01-01T00:00:00+00:00",
            "since": datetime.now(UTC).isoformat(),
        }
        if number % 3 == 0:
            job["policy"] = {"retries": 2, "timeout": "1h", "grace": "2h"}
            job["tags"] = ["nightly", f"team-{number % 20}"]
        if number % 5 == 0:
            job["trigger"] = {
                "type": "interval",
                "every": "1d",
                "anchor": f"2026-01-01T{when:02}:{dice.randrange(60):02}:00+00:00",
            }
        if number % 7 == 0:
            job["timezone"] = dice.choice(ZONES)
            job["trigger"] = {"type": "cron", "expression": f"{dice.randrange(60)} 3 1 1 *"}
        jobs[str(number + 1)] = job
    if every_second:
        jobs[str(count + 1)] = {
            "id": "each-second",
            "timezone": "UTC",
            "trigger": {"type": "interval", "every": "1s", "anchor": "2026-01-01T00:00:00+00:00"},
            "policy": {"catch_up": "none"},
            "since": datetime.now(UTC).isoformat(),
        }
    tables = {"meta": {"1": {"schema_version": 1}}, "defaults": {"1": {}}, "jobs": jobs}
    path.write_text(json.dumps(tables))


@contextmanager
def daemon(command: list[str], folder: Path) -> Iterator[tuple[int, float]]:
    """The process, and the seconds from its start until it said that it was ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        address = folder / "notify"
        address.unlink(missing_ok=True)
        told.bind(str(address))
        told.settimeout(60)
        environ = {
            key: value for key, value in os.environ.items() if not key.startswith(("PIPESCHED_", "PYTHON"))
        }
        begin = time.perf_counter()
        with (folder / "daemon.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, env={**environ, "NOTIFY_SOCKET": str(address)}, stdout=log, stderr=log
            )
        try:
            while b"READY=1" not in told.recv(4096):
                pass
            yield process.pid, time.perf_counter() - begin
        except TimeoutError:
            sys.exit((folder / "daemon.log").read_text())
        finally:
            process.terminate()
            process.wait(30)


def processor_seconds(pid: int) -> float:
    return (
        sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    )


def memory(pid: int, key: str) -> float:
    """MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1000
    return float("nan")


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """The least wall and processor time of three."""
    walls, used = [], []
    for _ in range(3):
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        walls.append(time.perf_counter() - begin)
        used.append(usage.ru_utime + usage.ru_stime)
        if process.returncode:
            sys.exit(f"{command} exited with {process.returncode}")
    return min(walls), min(used)


def scale(jobs: int, idle: float) -> None:
    print(f"{jobs} jobs; load {load()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job_file(folder / "schedules.json", jobs)
        with daemon([PIPESCHED, "daemon", "--no-http"], folder) as (pid, ready):
            time.sleep(3)  # what the first turns do is no idling
            before, begin = processor_seconds(pid), time.perf_counter()
            time.sleep(idle)
            used = (processor_seconds(pid) - before) / (time.perf_counter() - begin)
            print(f"  daemon ready              {ready:8.2f} s    (target 2; {before:.2f} s of processor)")
            print(
                f"  memory                    {memory(pid, 'VmRSS'):8.1f} MB   (target 72; peak {memory(pid, 'VmHWM'):.1f})"
            )
            print(f"  idle over {idle:3.0f} s           {used * 100:8.3f} %    (target 0.2)")
        for command in (["list", "--json"], ["next", "--json"]):
            wall, cpu = timed([PIPESCHED, *command], folder)
            print(f"  {' '.join(command):<25} {wall:8.2f} s    (target 1.5; {cpu:.2f} s of processor)")
    print(f"  load at the end {load()}\n")


# ---- c: lateness


def serve(folder: Path) -> int:
    """The daemon as `pipesched daemon --no-http` runs it, but that a run only writes down when it began."""
    import logging

    from pipesched.daemon.launch import Launch
    from pipesched.daemon.service import Options, serve
    from pipesched.settings import Paths

    def command(launch: Launch) -> list[str]:
        return ["bash", "--norc", "-c", STAMP, launch.run_id, str(folder / "ours")]

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    paths = Paths.resolve(file=str(folder / "schedules.json"))
    return serve(paths, Options(), environ=os.environ, command=command)


def serve_apscheduler(folder: Path, jobs: int) -> None:
    """The same with APScheduler 3: as many other jobs, and one each second that starts the same process."""
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    def run() -> None:
        subprocess.run(["bash", "--norc", "-c", STAMP, "run", str(folder / "theirs")], check=False)

    scheduler = BackgroundScheduler(timezone="UTC")
    hour = datetime.now(UTC).hour
    for number in range(jobs):
        trigger = CronTrigger.from_crontab(
            f"{number % 60} {(hour + 3 + number % 19) % 24} * * *", timezone="UTC"
        )
        scheduler.add_job(run, trigger)
    half = BEGIN + timedelta(seconds=0.5)
    scheduler.add_job(run, IntervalTrigger(seconds=1, start_date=half, timezone="UTC"), misfire_grace_time=1)
    scheduler.start()
    print("ready", flush=True)
    sys.stdin.read()


def why_no_cron() -> str:
    """Why Debian's cron cannot be measured; empty when it can."""
    if shutil.which("cron") is None or shutil.which("crontab") is None:
        return "not installed (apt-get install cron)"
    if not cron_runs() and os.geteuid() != 0:
        return "none runs, and to start one takes root"
    return ""


def cron_runs() -> bool:
    return subprocess.run(["pgrep", "-x", "cron"], capture_output=True, check=False).returncode == 0


@contextmanager
def debian_cron(file: Path) -> Iterator[None]:
    """While it lasts, cron starts each minute the process that the others start."""
    found = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    before = found.stdout if found.returncode == 0 else ""
    stamp = STAMP.replace("$1", str(file)).replace("%", r"\%")  # a bare % would end the line
    table = f'SHELL=/bin/bash\nMAILTO=""\n* * * * * {stamp}\n'
    subprocess.run(["crontab", "-"], input=f"{before}{table}", text=True, check=True)
    started = None if cron_runs() else subprocess.Popen(["cron", "-f"])
    try:
        yield
    finally:
        if before:
            subprocess.run(["crontab", "-"], input=before, text=True, check=True)
        else:
            subprocess.run(["crontab", "-r"], check=True)
        if started is not None:
            started.terminate()
            started.wait(10)


def stamps(path: Path, phase: float, since: float) -> list[float]:
    """Milliseconds after the scheduled instants, of the runs since then: the daemon's own first seconds are another row's."""
    return [(at - phase) % 1.0 * 1000 for line in path.read_text().split() if (at := float(line)) >= since]


def on_the_minute(path: Path, limit: float = 1.0) -> list[float]:
    """Milliseconds after the minute, of those that were started in its first seconds: cron sleeps a second longer than to the minute."""
    return [late * 1000 for line in path.read_text().split() if (late := float(line) % 60.0) < limit]


def lateness_row(label: str, found: list[float]) -> None:
    if found:
        print(
            f"{label:<26}{statistics.median(found):>10.1f}{percentile(found, 0.99):>10.1f}"
            f"{max(found):>10.1f}{len(found):>6}"
        )


def lateness(python: str | None, jobs: int, fires: int, minutes: int) -> None:
    no_cron = why_no_cron() if minutes else "--minutes 0"
    print(f"lateness of {fires} starts with {jobs} jobs loaded, milliseconds (target: p99 20); load {load()}")
    print(f"{'':<26}{'median':>10}{'p99':>10}{'worst':>10}{'of':>6}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job_file(folder / "schedules.json", jobs, every_second=True)
        theirs = None
        if python is not None:
            theirs = subprocess.Popen(
                [python, __file__, "--serve-apscheduler", str(folder), "--jobs", str(jobs)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            assert theirs.stdout is not None
            theirs.stdout.readline()
        with (
            daemon([sys.executable, __file__, "--serve", str(folder)], folder),
            nullcontext() if no_cron else debian_cron(folder / "cron"),
        ):
            time.sleep(5)
            since = time.time()
            to_the_minute = 0.0 if no_cron else 60 * minutes - time.time() % 60 + 2
            time.sleep(max(fires, to_the_minute))
        for label, file, phase in (("pipesched", "ours", 0.0), ("APScheduler 3", "theirs", 0.5)):
            if (folder / file).exists():
                lateness_row(label, stamps(folder / file, phase, since))
        if theirs is not None:
            theirs.communicate()
        spent = [
            float(line.split(" ms late")[0].rsplit(" ", 1)[1])
            for line in (folder / "daemon.log").read_text().splitlines()
            if " ms late" in line
        ]
        lateness_row("  of which pipesched's loop", spent)
        if no_cron:
            print(f"Debian's cron is left out: {no_cron}")
        else:
            lateness_row("pipesched, on the minute", on_the_minute(folder / "ours"))
            lateness_row("Debian's cron", on_the_minute(folder / "cron", 30.0))
    print(f"load at the end {load()}")


@contextmanager
def apscheduler(given: str | None) -> Iterator[str | None]:
    """An interpreter that has APScheduler 3; None, and why, where there is none."""
    for python in filter(None, (given, sys.executable)):
        if (
            subprocess.run(
                [python, "-c", "import apscheduler.triggers.cron"], capture_output=True, check=False
            ).returncode
            == 0
        ):
            yield python
            return
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(
            [sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False
        )
        python = str(Path(folder) / "bin" / "python")
        if made.returncode == 0:
            made = subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "apscheduler<4"],
                capture_output=True,
                text=True,
                check=False,
            )
        if made.returncode:
            print("APScheduler 3 is left out:", (made.stderr or made.stdout).strip().splitlines()[-1:], "\n")
        yield python if made.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", choices=["cost", "scale", "lateness", []], help="all of them by default"
    )
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--fires", type=int, default=40)
    parser.add_argument("--minutes", type=int, default=3, help="how often cron fires; 0 leaves it out")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds")
    parser.add_argument("--apscheduler", metavar="PYTHON")
    for internal in ("--cost-of", "--serve", "--serve-apscheduler"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cost_of:
        print(cost_row(given.cost_of))
    elif given.serve:
        sys.exit(serve(Path(given.serve)))
    elif given.serve_apscheduler:
        serve_apscheduler(Path(given.serve_apscheduler), given.jobs)
    else:
        parts = given.parts or ["cost", "scale", "lateness"]
        with apscheduler(given.apscheduler) if parts != ["scale"] else nullcontext() as python:
            for part in parts:
                {
                    "cost": lambda: cost(python),
                    "scale": lambda: scale(given.jobs, given.idle),
                    "lateness": lambda: lateness(python, given.jobs, given.fires, given.minutes),
                }[part]()


if __name__ == "__main__":
    main()
