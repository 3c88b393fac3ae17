"""Crontabs, read and written."""

import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.jobs.formats import crontab, detect
from pipesched.jobs.formats.model import Context, Found, Refused
from pipesched.jobs.formats.place import Place
from pipesched.jobs.model import CronTrigger, IntervalTrigger, Job, JobFile, JobPolicy, OnceTrigger
from pipesched.schedule.fields import WEEKDAY, split
from pipesched.settings import Paths
from support.random_jobs import (
    NOW,
    crons,
    even_intervals,
    intervals,
    job_lists,
    plain_expressions,
    plain_macros,
)

CONTEXT = Context("Europe/Riga", NOW)
ODD = Path("/srv/my blog/100% 'quoted'")
PLACE = Place(
    ("/opt/p s/bin/pipesched",), Paths(ODD / "jobs.json", ODD / "state", ODD / "out"), "UTC", "me", {}
)


def read(text: str):
    return detect.read(text.encode(), name="tab", context=CONTEXT)


def one(text: str) -> Found:
    (entry,) = read(text).entries
    assert isinstance(entry, Found), entry
    return entry


def refused(text: str) -> Refused:
    (entry,) = read(text).entries
    assert isinstance(entry, Refused), entry
    return entry


def write(*jobs) -> tuple[str, str, list[str]]:
    made = crontab.write(JobFile({job.id: job for job in jobs}), place=PLACE, now=NOW)
    return made.files[crontab.FILE], "\n".join(made.warnings), [each.id for each in made.refused]


def fires(job: Job) -> list[datetime]:
    """The next few."""
    at, found = NOW, []
    while len(found) < 8 and (slot := job.schedule().next(at)) is not None:
        at = slot.at
        found.append(at)
    return found


# ---- round trip


@given(job_lists(trigger=st.one_of(crons(plain_expressions()), crons(plain_macros))))
def test_what_a_crontab_can_say_comes_back_from_it(jobs) -> None:
    text, warnings, left_out = write(*jobs)
    assert left_out == []
    enabled = [job for job in jobs if job.enabled]
    entries = read(text).entries
    assert [entry.job.id for entry in entries] == [job.id for job in enabled]
    for entry, job in zip(entries, enabled, strict=True):
        assert entry.job.timezone == job.timezone
        assert fires(entry.job) == fires(job)
    for job in jobs:
        assert job.enabled or f"{job.id}" in warnings


@given(job_lists(trigger=st.one_of(intervals, even_intervals)))
def test_an_interval_is_written_only_where_cron_fires_at_the_same_minutes(jobs) -> None:
    text, _, left_out = write(*jobs)
    back = {entry.job.id: entry.job for entry in read(text).entries}
    for job in jobs:
        assert (job.id in left_out) or (job.id in back) or not job.enabled
        if job.id in back:
            fires = list(islice(job.schedule().between(NOW, NOW + timedelta(days=15)), 200))
            minutes = [fire.at.replace(second=0) for fire in fires]
            begin = minutes[0] - timedelta(seconds=1)
            cron = list(
                islice(back[job.id].schedule().between(begin, begin + timedelta(days=15)), len(minutes))
            )
            assert [fire.at for fire in cron] == minutes


def test_the_shell_gets_the_words_that_were_meant(job, tmp_path) -> None:
    text, _, _ = write(job("nightly"))
    line = text.rstrip("\n").rpartition("\n")[2]
    command = line.split(None, 5)[5]
    assert "%" not in command.replace("\\%", "")
    # As cron does it: a backslash before a % goes away, and the rest is the shell's.
    got = subprocess.run(
        ["sh", "-c", "printf '%s\\n' " + command.replace("\\%", "%")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert got.stdout.splitlines() == [*PLACE.command("run", "nightly")]


# ---- writing


def test_a_single_time_that_has_passed_is_left_out_by_name(job) -> None:
    done = job("a", trigger=OnceTrigger(at=NOW - timedelta(days=1)))
    text, warnings, left_out = write(done, job("b"))
    assert left_out == []
    assert "a: its time has passed: it is left out" in warnings
    assert "run a" not in text
    assert "run b" in text


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        (CronTrigger(expression="0 2 L * *"), "L and #"),
        (CronTrigger(expression="0 2 * * fri#2"), "L and #"),
        (CronTrigger(expression="0 2 * * L5"), "L and #"),
        (IntervalTrigger(seconds=420), "evenly"),
        (IntervalTrigger(seconds=90 * 60), "evenly"),
        (IntervalTrigger(seconds=172_800), "evenly"),
        (IntervalTrigger(seconds=30), "evenly"),
        (OnceTrigger(at=NOW + timedelta(days=1)), "single time"),
    ],
)
def test_a_schedule_that_a_crontab_cannot_say_is_refused_by_name(job, trigger, reason: str) -> None:
    made = crontab.write(JobFile({"a": job("a", trigger=trigger), "b": job("b")}), place=PLACE, now=NOW)
    (only,) = made.refused
    assert only.id == "a"
    assert reason in only.reason
    assert only.hint
    assert "run b" in made.files[crontab.FILE]
    assert "run a" not in made.files[crontab.FILE]


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("0 2 * * fri-sun", "0 2 * * 0,5,6"),
        ("0 2 * * 5-0", "0 2 * * 0,5,6"),
        ("0 2 * * mon,SAT-SUN", "0 2 * * 1,0,6"),
        ("5/20 * * * *", "5-59/20 * * * *"),
        ("*/15 9-17 1-31/2 jan-mar mon-fri", "*/15 9-17 1-31/2 jan-mar mon-fri"),
        ("0 2 * * 5-7", "0 2 * * 5-7"),
    ],
)
def test_what_some_cron_reads_otherwise_is_written_as_each_reads_it(expression: str, written: str) -> None:
    """Debian's takes no 5/20, and fires never for a range that ends in a Sunday which is 0."""
    assert crontab.cron_text(expression, job_id="a") == written
    days = [set(split(each, job_id="a").fields[WEEKDAY].split(",")) for each in (expression, written)]
    assert days[0] == days[1]


def test_a_backslash_before_a_percent_sign_cannot_be_said_and_is_not_read(job) -> None:
    folder = Path("/srv/we\\%ird")
    place = replace(PLACE, paths=Paths(folder / "schedules.json", folder / ".pipesched", folder / "output"))
    made = crontab.write(JobFile({"a": job("a")}), place=place, now=NOW)
    assert "backslash before a percent sign" in made.refused[0].reason
    (entry,) = read("0 2 * * * pipesched run x --data-dir 'a\\\\%b'\n").entries
    assert isinstance(entry, Refused)
    assert "all is its input" in entry.reason


def test_what_h_stands_for_is_written_out_and_said(job) -> None:
    hashed = job("a", "H 3 * * *")
    text, warnings, _ = write(hashed)
    back = one(text).job
    assert back.schedule().next(NOW) == hashed.schedule().next(NOW)
    assert "a: its H is written" in warnings
    assert "its H" not in write(job("a", "0 3 * * THU"))[1]


def test_every_setting_that_a_crontab_cannot_say_is_named(job) -> None:
    policy = JobPolicy(
        catch_up="all", grace="1h", overlap="queue", timeout="1h", retries=1, jitter="1m", after=("b",), max_runs=3,
        start=NOW, end=NOW + timedelta(days=1), pause_after_failures=2, notify=("env:X",), ping="env:Y",
    )  # fmt: skip
    _, warnings, _ = write(job("a", policy=policy), job("b"))
    for word in (
        "catch-up all", "grace", "overlap queue", "timeout", "retries", "jitter", "b (after)", "start time", "end time",
        "max_runs", "pause_after_failures", "notify", "variable X has", "variable Y has",
    ):  # fmt: skip
        assert word in warnings, word
    assert "b: a fire that was missed is not made up for" in warnings
    assert "(catch-up" not in write(job("a", policy=JobPolicy(catch_up="none")))[1]


def test_windows_dates_and_other_ends_that_count_are_named(job) -> None:
    policy = JobPolicy(not_during=("Sat,Sun 22:00-02:00",), after=("b",), trigger_on="any")
    closed = job("a", policy=policy).with_calendar(("2026-12-24",))
    _, warnings, _ = write(closed, job("b"))
    for said in (
        "it runs during Sat,Sun 22:00-02:00 too",
        "dates of the job file's calendar",
        "(trigger_on any)",
    ):
        assert said in warnings
    assert "b: it runs" not in warnings


def test_a_paused_job_is_a_comment_and_named(job) -> None:
    text, warnings, _ = write(job("a", enabled=False, paused_at=NOW))
    assert "# paused: 0 2 * * * " in text
    assert read(text).entries == ()
    assert "a: it is paused" in warnings


def test_a_zone_is_written_once_for_the_jobs_that_follow_and_another_machine_s_named(job) -> None:
    text, warnings, _ = write(job("a"), job("b"), job("c", timezone="Asia/Tokyo"))
    assert text.count("CRON_TZ=UTC") == 1
    assert text.count("CRON_TZ=Asia/Tokyo") == 1
    assert "c: its zone is not this machine's" in warnings


def test_a_path_with_a_line_break_is_refused(job) -> None:
    home = Path("/srv/a\nb")
    place = Place(("/bin/pipesched",), Paths(home / "s.json", home / "st", home / "o"), "UTC", "me", {})
    (only,) = crontab.write(JobFile({"a": job("a")}), place=place, now=NOW).refused
    assert "line break" in only.reason


def test_a_command_longer_than_cron_takes_is_refused(job) -> None:
    home = Path("/srv") / ("x" * 400)
    place = Place(("/bin/pipesched",), Paths(home / "s.json", home / "st", home / "o"), "UTC", "me", {})
    (only,) = crontab.write(JobFile({"a": job("a")}), place=place, now=NOW).refused
    assert "998" in only.reason


# ---- reading


def test_a_line_becomes_a_job_with_its_comment_its_zone_and_its_options() -> None:
    reading = read(
        """\
        # jobs of the blog
        MAILTO=me@blog.example

        CRON_TZ = "America/New_York"
        # nightly
        # Brings the index in step
        0 2 * * 1-5\tcd /srv/blog && /usr/bin/pipesched run --data-dir posts --chunk-size=500 --no-use-chunking >> log 2>&1
        @daily pipesched --file jobs.json run weekly
        TZ=Asia/Tokyo
        @reboot python3 -m pipesched run
        """
    )
    nightly, weekly, boot = (entry.job for entry in reading.entries)
    assert (nightly.id, nightly.description) == ("nightly", "Brings the index in step")
    assert nightly.timezone == weekly.timezone == boot.timezone == "America/New_York"
    assert nightly.trigger.expression == "0 2 * * 1-5"
    assert nightly.config.set_values() == {
        "data_dir": "/srv/blog/posts",
        "chunk_size": 500,
        "use_chunking": False,
    }
    assert (weekly.id, weekly.trigger.expression, weekly.config.set_values()) == ("weekly", "@daily", {})
    assert (boot.id, boot.trigger.expression) == ("line_10", "@reboot")
    assert any("MAILTO" in warning for warning in reading.warnings)
    assert any("redirection" in warning for warning in reading.entries[0].warnings)
    assert any("jobs.json" in warning for warning in reading.entries[1].warnings)


def test_a_job_that_is_commented_out_gives_the_next_one_neither_its_name_nor_its_words() -> None:
    text = "# weekly\n#0 1 * * 0 pipesched run --force-recreate\n# nightly\n0 2 * * * pipesched run\n"
    (entry,) = read(text).entries
    assert isinstance(entry, Found)
    assert (entry.job.id, entry.job.description) == ("nightly", "")


def test_a_zone_holds_for_the_lines_below_it_and_a_tz_is_said() -> None:
    reading = read("0 2 * * * pipesched run a\nTZ=Asia/Tokyo\n0 2 * * * pipesched run b\n")
    assert [entry.job.timezone for entry in reading.entries] == ["Europe/Riga", "Asia/Tokyo"]
    assert "TZ=Asia/Tokyo" in reading.warnings[0]


def test_variables_of_ours_are_options_below_the_line_s_own() -> None:
    job = one(
        "PIPESCHED_DATA_DIR=/srv/a\nPIPESCHED_CHUNK_SIZE=700\n0 2 * * * pipesched run --chunk-size 600\n"
    ).job
    assert job.config.set_values() == {"data_dir": "/srv/a", "chunk_size": 600}
    assert one("0 2 * * * PIPESCHED_CHUNK_SIZE=700 pipesched run x\n").job.config.chunk_size == 700


def test_sunday_is_0_and_7_in_a_crontab() -> None:
    for day in ("0", "7", "sun", "Sun"):
        fire = one(f"CRON_TZ=UTC\n0 1 * * {day} pipesched run x\n").job.schedule().next(NOW)
        assert f"{fire.at:%a %H}" == "Sun 01"


def test_a_percent_sign_is_its_own_when_escaped() -> None:
    assert one(r"0 2 * * * pipesched run x --data-dir '/srv/100\%'").job.config.data_dir == "/srv/100%"
    assert "%" in refused("0 2 * * * pipesched run x%input").reason


def test_a_job_named_by_a_number_is_not_a_stream() -> None:
    assert one("0 2 * * * pipesched run 2 > log 2>/dev/null").job.id == "2"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 2 * * * /usr/bin/backup", "does not run pipesched"),
        ("0 2 * * * root pipesched run x", "user"),
        ("0 2 * * * pipesched daemon --once", "pipesched daemon"),
        ("0 2 * * * pipesched", "does nothing"),
        ("0 2 * * * pipesched run x && rm -rf /", "&&"),
        ("0 2 * * * pipesched run x | mail me", "|"),
        ("0 2 * * * pipesched run x; reboot", ";"),
        ("0 2 * * * pipesched run $JOB", "$"),
        ("0 2 * * * pipesched run `id`", "`"),
        ("0 2 * * * pipesched run 'x", "quot"),
        ("0 2 * * * pipesched run x y", "too many"),
        ("0 2 * * * pipesched run x --chunk-sise 5", "--chunk-sise"),
        ("0 2 * * * pipesched run x --chunk-size", "no value"),
        ("0 2 * * * pipesched run x --chunk-size 5", "--chunk-size"),
        ("0 0 30 2 * pipesched run x", "never fires"),
        ("61 2 * * * pipesched run x", "61"),
        ("@every 1h pipesched run x", "@every"),
        ("0 2 * * * pipesched run 'two words'", "two words"),
    ],
)
def test_a_line_that_is_no_job_of_ours_is_refused_by_name_with_the_reason(line: str, reason: str) -> None:
    comment = "" if "two words" in line else "# mine"
    answer = refused(f"{comment}\n{line}\n")
    assert answer.id == ("mine" if comment else "two words")
    assert reason in answer.reason or reason in answer.hint
    assert answer.hint


def test_a_line_without_a_comment_is_told_by_its_number() -> None:
    assert refused("\n0 2 * * * backup\n").id == "line 2"


def test_a_line_that_is_no_crontab_line_is_refused_beside_those_that_are() -> None:
    good, bad = read("0 2 * * * pipesched run x\nwhat is this\n").entries
    assert isinstance(good, Found)
    assert isinstance(bad, Refused)


def test_an_unknown_zone_is_refused_by_its_line() -> None:
    zone, _ = read("CRON_TZ=Europe/Rigga\n0 2 * * * pipesched run x\n").entries
    assert zone.id == "line 1"
    assert "Riga" in zone.hint
