"""systemd units: as systemd itself reads them."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.jobs.formats import calendar, grids, systemd
from pipesched.jobs.formats.place import Place
from pipesched.jobs.model import CronTrigger, IntervalTrigger, JobFile, JobPolicy, OnceTrigger
from pipesched.options import PipelineOptions
from pipesched.schedule.parse import cron
from pipesched.settings import DRAIN_TIMEOUT_SECONDS, Paths
from support.machine import program
from support.random_jobs import NOW, even_intervals, extended_expressions, plain_expressions

COUNT = 12


def elapses(events: list[str]) -> list[datetime]:
    """The first times after NOW at which any of the events elapses, as systemd says."""
    found = set()
    for event in events:
        done = subprocess.run(
            [
                program("systemd-analyze", "systemd"), "calendar", f"--iterations={COUNT}",
                f"--base-time={NOW:%Y-%m-%d %H:%M:%S} UTC", event,
            ],
            capture_output=True, text=True, check=True, env=os.environ | {"TZ": "UTC", "LC_ALL": "C"},
        )  # fmt: skip
        texts = re.findall(
            r"(?:Next elapse|Iter\. #\d+): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout
        )
        found.update(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts)
    return sorted(found)[:COUNT]


@settings(max_examples=40)
@given(st.one_of(plain_expressions(), extended_expressions), st.sampled_from(["UTC", "Asia/Kathmandu"]))
def test_systemd_elapses_when_the_expression_fires(expression: str, zone: str) -> None:
    schedule = cron(expression, zone=zone, job_id="a")
    try:
        events = calendar.of_cron(expression, zone=zone, job_id="a")
    except InvalidValue:
        assert "L" in expression
        return
    fires = islice(schedule.between(NOW, NOW.replace(year=2100)), COUNT)
    assert elapses(events) == [fire.at for fire in fires]


@settings(max_examples=15)
@given(even_intervals)
def test_systemd_elapses_on_an_interval_s_grid(trigger: IntervalTrigger) -> None:
    times = grids.daily_times(trigger)
    first = trigger.anchor + ((NOW - trigger.anchor) // timedelta(seconds=trigger.seconds) + 1) * timedelta(
        seconds=trigger.seconds
    )
    grid = [first + number * timedelta(seconds=trigger.seconds) for number in range(COUNT)]
    assert elapses(calendar.of_grid(times)) == grid


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("0 2 * * *", ["*-*-* 02:00:00 UTC"]),
        ("*/15 9-17 * * mon-fri", ["Mon,Tue,Wed,Thu,Fri *-*-* 09..17:00/15:00 UTC"]),
        ("0 2 1,15 * mon", ["*-*-01,15 02:00:00 UTC", "Mon *-*-* 02:00:00 UTC"]),
        ("0 2 */2 * mon", ["Mon *-*-01/2 02:00:00 UTC"]),
        ("0 2 L * *", ["*-*~01 02:00:00 UTC"]),
        ("0 2 * * L5", ["Fri *-*~07/1 02:00:00 UTC"]),
        ("0 2 * 2 fri#2", ["Fri *-02-08..14 02:00:00 UTC"]),
    ],
)
def test_days_are_said_as_either_or_both_as_cron_means_them(expression: str, wanted: list[str]) -> None:
    assert calendar.of_cron(expression, zone="UTC", job_id="a") == wanted


@pytest.mark.parametrize("expression", ["0 2 */2 * L5"])
def test_days_that_systemd_cannot_say_are_refused(expression: str) -> None:
    with pytest.raises(InvalidValue):
        calendar.of_cron(expression, zone="UTC", job_id="a")


# ---- units


@pytest.fixture
def here(tmp_path: Path):
    """A place on this machine, whose program is there."""

    def make(home: Path | None = None, user: str = "nobody-else", **options: PipelineOptions) -> Place:
        folder = home or tmp_path
        paths = Paths(folder / "schedules.json", folder / ".pipesched", folder / "out put")
        return Place((sys.executable, "-m", "pipesched"), paths, "UTC", user, options)

    return make


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("systemd-analyze", "systemd"), *arguments],
        capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C", "SYSTEMD_COLORS": "0"},
    )  # fmt: skip


def many_jobs(job) -> JobFile:
    policy = JobPolicy(timeout="1h", jitter="90s", catch_up="none")
    jobs = [
        job("cron", "30 2 1,15 * mon", timezone="Europe/Berlin", description="100% of $HOME \\"),
        job("interval", trigger=IntervalTrigger(seconds=5400)),
        job("odd", trigger=IntervalTrigger(seconds=420.5)),
        job("once", trigger=OnceTrigger(at=NOW + timedelta(days=9)), policy=policy),
        job("boot", trigger=CronTrigger(expression="@reboot")),
        job("paused.one", enabled=False, paused_at=NOW),
    ]
    return JobFile({each.id: each for each in jobs})


def test_systemd_finds_nothing_to_say_about_the_units(here, job, tmp_path: Path) -> None:
    folder = tmp_path / "a 100% $odd 'folder'"
    folder.mkdir()
    made = systemd.write(many_jobs(job), place=here(folder), now=NOW)
    assert made.refused == ()
    for name, text in made.files.items():
        (tmp_path / name).write_text(text)
    done = analyze("verify", "--man=no", *(str(tmp_path / name) for name in made.files))
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("user", "storage"), [("blog", "/srv/blog/db/store"), ("", "/srv/blog/db/store"), ("", "http://chroma.example:8000")]
)  # fmt: skip
def test_every_service_is_shut_in_well(here, job, tmp_path: Path, user: str, storage: str) -> None:
    options = PipelineOptions(data_dir="/home/me/posts", storage_path=storage)
    # As it is installed: a virtual environment in /tmp, as a checkout of these tests may have, cannot hide /tmp.
    place = replace(here(Path("/srv/blog"), user, a=options), program=("/opt/pipesched/bin/pipesched",))
    made = systemd.write(JobFile({"a": job("a")}), place=place, now=NOW)
    for name in ("pipesched.service", "pipesched-a.service"):
        (tmp_path / name).write_text(made.files[name])
        done = analyze("security", "--offline=true", "--no-pager", str(tmp_path / name))
        score = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
        assert score is not None, done.stderr
        assert float(score[1]) <= 2.0


def setting(text: str, name: str) -> list[str]:
    return [value for key, _, value in (line.partition("=") for line in text.splitlines()) if key == name]


def test_the_daemon_s_unit_lets_runs_end_and_is_watched(here, job, job_file) -> None:
    text = systemd.write(job_file(job()), place=here(Path("/srv/blog")), now=NOW).files["pipesched.service"]
    assert setting(text, "Type") == ["notify"]
    assert setting(text, "NotifyAccess") == ["main"]
    assert setting(text, "KillMode") == ["mixed"]
    assert setting(text, "WatchdogSec") == ["2min"]
    assert int(setting(text, "TimeoutStopSec")[0].removesuffix("s")) > DRAIN_TIMEOUT_SECONDS + 10
    (command,) = setting(text, "ExecStart")
    assert "--state-dir /srv/blog/.pipesched" in command
    assert '--output-dir "/srv/blog/out put"' in command
    assert command.endswith("daemon --drain-timeout 1m")
    assert setting(text, "OOMPolicy") == ["continue"]


def test_what_a_service_writes_to_is_open_and_homes_are_hidden_but_for_it(here, job, job_file) -> None:
    options = PipelineOptions(data_dir="/home/me/posts", storage_path="/var/lib/vectors/store")
    made = systemd.write(job_file(job()), place=here(Path("/home/me/blog"), a=options), now=NOW)
    text = made.files["pipesched.service"]
    assert setting(text, "ProtectSystem") == ["strict"]
    assert setting(text, "ProtectHome") == ["tmpfs"]
    assert setting(text, "BindPaths") == ["/home/me/blog"]
    assert setting(text, "ReadWritePaths") == ["/var/lib/vectors"]
    assert "-/home/me/posts" in setting(text, "BindReadOnlyPaths")
    apart = systemd.write(job_file(job()), place=here(Path("/srv/blog")), now=NOW).files["pipesched.service"]
    assert setting(apart, "ReadWritePaths") == ["/srv/blog"]


def test_an_interpreter_in_a_home_is_seen_by_its_services(here, job, job_file) -> None:
    place = replace(here(Path("/srv/blog")), runtime=("/srv/venv", "/home/me/.pyenv/versions/3.11.7"))
    text = systemd.write(job_file(job()), place=place, now=NOW).files["pipesched.service"]
    assert setting(text, "ProtectHome") == ["tmpfs"]
    assert "-/home/me/.pyenv/versions/3.11.7" in setting(text, "BindReadOnlyPaths")
    assert "-/srv/venv" not in setting(text, "BindReadOnlyPaths")


def test_a_state_folder_in_var_lib_is_made_by_systemd(job, job_file) -> None:
    paths = Paths(Path("/srv/blog/s.json"), Path("/var/lib/pipesched"), Path("/srv/blog/output"))
    place = Place(("/usr/bin/pipesched",), paths, "UTC", "blog", {})
    text = systemd.write(job_file(job()), place=place, now=NOW).files["pipesched.service"]
    assert setting(text, "StateDirectory") == ["pipesched"]
    assert setting(text, "StateDirectoryMode") == ["0700"]
    assert setting(text, "ReadWritePaths") == ["/srv/blog"]
    assert "--state-dir /var/lib/pipesched" in text


def test_the_network_is_shut_but_for_who_needs_it(here, job, job_file) -> None:
    def address(job, **options) -> list[str]:
        place = here(Path("/srv/blog"), a=PipelineOptions(**options))
        return setting(
            systemd.write(job_file(job), place=place, now=NOW).files["pipesched.service"], "IPAddressDeny"
        )

    assert address(job()) == ["any"]
    assert address(job(), storage_path="http://localhost:8000") == ["any"]
    assert address(job(), storage_path="http://localhost.evil.example:8000") == []
    assert address(job(policy=JobPolicy(ping="https://ping.example/x"))) == []


def test_a_timer_says_when_and_its_service_what(here, job, job_file) -> None:
    policy = JobPolicy(timeout="1h30m", jitter="90s")
    made = systemd.write(job_file(job("nightly", policy=policy)), place=here(Path("/srv/blog")), now=NOW)
    timer, service = made.files["pipesched-nightly.timer"], made.files["pipesched-nightly.service"]
    assert setting(timer, "OnCalendar") == ["*-*-* 02:00:00 UTC"]
    assert setting(timer, "Persistent") == ["true"]
    assert setting(timer, "RandomizedDelaySec") == ["90s"]
    assert setting(timer, "FixedRandomDelay") == ["true"]
    assert setting(timer, "Conflicts") == ["pipesched.service"]
    assert setting(timer, "WantedBy") == ["timers.target"]
    assert setting(service, "Type") == ["oneshot"]
    assert setting(service, "TimeoutStartSec") == ["5400s"]
    assert setting(service, "ExecStart")[0].endswith("run nightly")
    plain = systemd.write(
        job_file(job("nightly", policy=JobPolicy(catch_up="none"))), place=here(Path("/srv/blog")), now=NOW
    )
    assert setting(plain.files["pipesched-nightly.timer"], "Persistent") == []
    assert setting(plain.files["pipesched-nightly.service"], "TimeoutStartSec") == ["infinity"]
    assert plain.warnings == ()


def test_what_systemd_does_otherwise_is_named(here, job, job_file) -> None:
    jobs = [
        job("spring", "30 2 * * *", timezone="Europe/Berlin"),
        job("noon", "0 12 * * *", timezone="Europe/Berlin", policy=JobPolicy(catch_up="none")),
        job("odd", trigger=IntervalTrigger(seconds=420)),
        job("off", enabled=False, paused_at=NOW),
        job("late", policy=JobPolicy(after=("noon",), retries=2, overlap="queue")),
        job("boot", "@reboot"),
    ]
    made = systemd.write(job_file(*jobs), place=here(Path("/srv/blog")), now=NOW)
    said = "\n".join(made.warnings)
    assert "spring: systemd skips a time that a change of the clocks skips" in said
    assert "2026-03-29: 02:30 does not exist" in said
    assert "odd: its interval counts from its last start" in said
    assert "off: it is paused" in said
    assert "late: it does not wait for noon" in said
    assert "late: a failed run is not tried again" in said
    assert "late: a fire during a run" in said
    assert "boot: it runs when the machine starts" in said
    assert "noon:" not in said
    assert "WantedBy" not in made.files["pipesched-off.timer"].replace("# paused: WantedBy", "")


@pytest.mark.parametrize("folder", ["/home/me/po:sts", "/home/me/posts\nExecStartPre=/bin/evil"])
def test_a_folder_that_a_unit_would_read_as_something_else_makes_no_units(
    here, job, job_file, folder: str
) -> None:
    options = PipelineOptions(data_dir=folder, storage_path="/srv/blog/db/store")
    with pytest.raises(InvalidValue, match=r"has a (colon|line break)"):
        systemd.write(job_file(job()), place=here(Path("/srv/blog"), a=options), now=NOW)


def test_a_path_with_a_line_break_makes_no_units(here, job, job_file) -> None:
    with pytest.raises(InvalidValue, match="line break"):
        systemd.write(job_file(job()), place=here(Path("/srv/a\nb")), now=NOW)
