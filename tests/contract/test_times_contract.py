"""`next` and `explain`, through the installed command."""

import json
import resource
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from support.command import pipesched

ZONE = "America/New_York"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("times")
    for arguments in (
        ["add-cron", "night", "30 2 * * *", "--timezone", ZONE],
        ["add-cron", "halves", "0,30 2 * * *", "--timezone", ZONE],
        ["add-interval", "grid", "--every", "6h", "--anchor", "2026-01-01T00:00:00Z", "--timezone", "UTC"],
        ["add-cron", "rest", "0 0 * * *", "--paused", "--timezone", "UTC"],
        ["add-cron", "boot", "@reboot", "--timezone", "UTC"],
        ["add-cron", "limited", "0 0 1 * *", "--max-runs", "2", "--start", "+60d", "--timezone", "UTC"],
    ):
        done = pipesched(*arguments, cwd=folder)
        assert done.code == 0, done.err
    return folder


def fires(folder: Path, *arguments: str) -> list[dict[str, object]]:
    done = pipesched("next", *arguments, "--json", cwd=folder)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["schema_version"] == 1
    assert all(set(fire) >= {"job_id", "at", "collapsed", "note"} for fire in document["fires"])
    return document["fires"]


def test_next_merges_all_jobs_by_time_strictly_after_from(project):
    found = fires(project, "--from", "2026-03-08T06:00:00Z", "--count", "4")
    assert [(fire["job_id"], fire["at"], fire["collapsed"]) for fire in found] == [
        ("night", "2026-03-08T03:00:00-04:00", 1),
        ("halves", "2026-03-08T03:00:00-04:00", 2),
        ("grid", "2026-03-08T12:00:00+00:00", 1),
        ("grid", "2026-03-08T18:00:00+00:00", 1),
    ]
    assert found[0]["note"] == "02:30 does not exist, the clocks go forward to 03:00"
    assert found[1]["note"] == "stands for 2 hits, as 02:00 to 03:00 does not exist"


def test_next_reads_from_in_the_jobs_zone(project):
    (fire,) = fires(project, "night", "--from", "2026-10-31 02:30", "--count", "1")
    assert fire["at"] == "2026-11-01T02:30:00-05:00"


def test_next_gives_five_from_now_on(project):
    found = fires(project)
    times = [datetime.fromisoformat(str(fire["at"])) for fire in found]
    assert len(times) == 5
    assert times == sorted(times)
    assert times[0] - datetime.now(times[0].tzinfo) <= timedelta(hours=6)


def test_next_stops_after_the_last_run_of_a_job(project):
    assert len(fires(project, "limited", "--count", "50")) == 2


@pytest.mark.parametrize(
    ("job_id", "reason"), [("rest", "rest is paused"), ("boot", "when the scheduler starts")]
)
def test_next_says_why_nothing_will_fire(project, job_id, reason):
    assert fires(project, job_id) == []
    done = pipesched("next", job_id, cwd=project)
    assert (done.code, done.out) == (0, "")
    assert reason in done.err


def test_next_for_people_has_offset_zone_distance_and_note(project):
    done = pipesched("next", "night", "--from", "2026-03-08", "--count", "1", cwd=project)
    heading, row = done.out.splitlines()
    assert heading.split() == ["job", "at", "zone", "from", "now", "note"]
    assert "Sun 2026-03-08 03:00:00-04:00" in row
    assert ZONE in row
    assert "d ago" in row or "in " in row
    assert row.endswith("02:30 does not exist, the clocks go forward to 03:00")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["next", "nothing"], 4, "job_not_found"),
        (["next", "--count", "0"], 2, "usage"),
        (["next", "--from", "yesterday"], 2, "invalid_value"),
        (["next", "night", "--from", "2026-03-08 02:30"], 2, "invalid_value"),
        (["explain", "0 0 30 2 *"], 2, "invalid_value"),
        (["explain", "0 2 * * *", "--timezone", "UTC+2"], 2, "invalid_value"),
        (["explain"], 2, "usage"),
    ],
)
def test_what_cannot_be_used_is_said_as_json_with_its_exit_code(project, arguments, code, word):
    done = pipesched(*arguments, "--json", cwd=project)
    assert done.code == code
    error = done.json["error"]
    assert error["code"] == word
    assert error["message"]
    assert error["hint"]


def test_next_without_a_job_file_says_how_to_begin(tmp_path):
    done = pipesched("next", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert "pipesched init" in done.err
    assert list(tmp_path.iterdir()) == []


def test_explain_says_words_rule_and_the_next_five_fires(tmp_path):
    done = pipesched(
        "explain", "*/15 9-17 * * mon-fri", "--timezone", "Europe/Berlin", "--json", cwd=tmp_path
    )
    document = done.json
    found = document.pop("fires")
    assert document == {
        "schema_version": 1,
        "expression": "*/15 9-17 * * mon-fri",
        "timezone": "Europe/Berlin",
        "words": "every 15 minutes from 09:00 to 17:45 on Monday to Friday",
        "rule": "day of week alone decides, as day of month is *",
        "fixed": False,
    }
    assert len(found) == 5
    times = [datetime.fromisoformat(fire["at"]) for fire in found]
    assert times == sorted(times)
    assert all(time.weekday() < 5 and 9 <= time.hour <= 17 for time in times)
    assert list(tmp_path.iterdir()) == []


def test_explain_takes_the_machines_zone_and_the_job_files_before_it(tmp_path):
    before = pipesched("explain", "@daily", "--json", cwd=tmp_path, env={"TZ": "Asia/Tokyo"}).json
    assert before["timezone"] == "Asia/Tokyo"
    done = pipesched("init", cwd=tmp_path)
    assert done.code == 0
    file = tmp_path / "schedules.json"
    document = json.loads(file.read_text())
    document["defaults"] = {"1": {"timezone": "Europe/Riga"}}
    file.write_text(json.dumps(document))
    assert pipesched("explain", "@daily", "--json", cwd=tmp_path).json["timezone"] == "Europe/Riga"
    file.write_text("{")
    broken = pipesched("explain", "@daily", "--json", cwd=tmp_path)
    assert (broken.code, broken.json["timezone"]) == (0, "UTC")
    assert "warning" in broken.err


def test_explain_for_people_says_zone_days_and_clocks(tmp_path):
    out = pipesched("explain", "H 2 * * *", "--timezone", "Europe/Berlin", cwd=tmp_path).out
    assert out.startswith("H 2 * * *  at a minute of the job's own (H) of hour 2 every day\n")
    assert all(f"\n{word} " in out for word in ("zone", "days", "clocks", "H", "next"))
    assert "02:" in out.splitlines()[-1]


@pytest.mark.slow
def test_next_over_ten_thousand_jobs_is_quick(tmp_path):
    done = pipesched("add-cron", "job", "0 2 * * *", "--timezone", "Europe/Berlin", cwd=tmp_path)
    assert done.code == 0
    file = tmp_path / "schedules.json"
    document = json.loads(file.read_text())
    (template,) = document["jobs"].values()
    document["jobs"] = {
        str(number): {
            **template,
            "id": f"job{number}",
            "trigger": {"type": "cron", "expression": f"{number % 60} {number // 60 % 24} * * {number % 7}"},
        }
        for number in range(1, 10_001)
    }
    file.write_text(json.dumps(document))
    # Processor seconds: other tests run at the same time.
    used = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = fires(tmp_path, "--count", "20")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert len(found) == 20
    assert min(used) < 1.5
