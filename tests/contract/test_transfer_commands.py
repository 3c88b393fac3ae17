"""`export` and `import` as CONTRACT.md has them. In process, but where a process matters."""

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipesched.runs.ledger import Ledger
from support.command import PIPESCHED, Result, clean_environment, pipesched
from support.machine import bound_by_permissions

Run = Callable[..., Result]
SECRET = "https://ping.example/very-secret-uuid"


@pytest.fixture
def jobs(run: Run) -> None:
    """Three jobs, one with a secret, one with options, one paused."""
    run("add-cron", "nightly", "0 2 * * *", "--ping", SECRET, "--retries", "2", "--data-dir", "posts")
    run(
        "add-interval",
        "often",
        "--every",
        "1h",
        "--timezone",
        "Asia/Tokyo",
        "--after",
        "nightly",
        "--data-dir",
        "posts",
    )
    run("add-cron", "off", "0 5 * * *", "--paused", "--data-dir", "posts")


def put(name: str, content: object) -> str:
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content))
    return name


def cron(job_id: str, **more: Any) -> dict[str, Any]:
    return {"job_id": job_id, "type": "cron", "hour": 2, "minute": 0, **more}


def listed(run: Run) -> dict[str, dict[str, Any]]:
    return {job["id"]: job for job in run("list", "--json").json["jobs"]}


# ---- export


@pytest.mark.usefixtures("jobs")
def test_an_export_is_private_has_the_secrets_and_comes_back_the_same(run: Run, tmp_path: Path) -> None:
    before = listed(run)
    old_mask = os.umask(0)
    try:
        result = run("export", "out.json")
    finally:
        os.umask(old_mask)
    assert (result.code, result.err) == (0, "")
    assert stat.S_IMODE(Path("out.json").stat().st_mode) == 0o600
    assert SECRET in Path("out.json").read_text()
    assert [path.name for path in tmp_path.glob("*.tmp")] == []
    Path("schedules.json").unlink()
    imported = run("import", "out.json", "--json")
    assert imported.code == 0
    assert set(imported.json) >= {"schema_version", "jobs", "skipped", "warnings"}
    assert (imported.json["skipped"], imported.json["warnings"]) == ([], [])
    assert listed(run) == before
    assert SECRET in Path("schedules.json").read_text()


@pytest.mark.usefixtures("jobs")
def test_on_stdout_secrets_are_masked(run: Run) -> None:
    for arguments in (("export",), ("export", "-"), ("export", "--json")):
        result = run(*arguments)
        assert result.code == 0
        assert "very-secret" not in result.out
        document = result.json
        assert document["schema_version"] == 1
        assert [job["id"] for job in document["jobs"]] == ["nightly", "often", "off"]
        assert "exported_at" in document
        assert document["jobs"][0]["policy"]["ping"] == "https://ping.example/***"
    assert run("export", "--json").out.count("\n") == 1


@pytest.mark.usefixtures("jobs")
def test_a_masked_export_that_comes_back_says_what_is_missing(run: Run) -> None:
    put("masked.json", run("export").out)
    result = run("import", "masked.json", "--replace", "--json")
    assert result.code == 0
    assert any("masked" in warning and "nightly" in warning for warning in result.json["warnings"])
    assert listed(run)["nightly"]["policy"]["ping"] is None


def test_defaults_travel_with_the_jobs(run: Run) -> None:
    run("init", "--timezone", "Asia/Tokyo", "--data-dir", "content")
    run("export", "out.json")
    Path("schedules.json").unlink()
    assert run("import", "out.json").code == 0
    assert listed(run)["hourly_check"]["effective_config"]["data_dir"].endswith("/content")
    assert run("add-cron", "x", "@daily", "--json").json["job"]["timezone"] == "Asia/Tokyo"


def test_without_a_job_file_stdout_gets_an_empty_export_and_a_backup_is_not_overwritten(run: Run) -> None:
    assert run("export").json["jobs"] == []
    put("backup.json", "precious")
    result = run("export", "backup.json", "--json")
    assert result.code == 78
    assert "init" in result.json["error"]["hint"]
    assert Path("backup.json").read_text() == "precious"


@pytest.mark.usefixtures("jobs")
def test_the_job_file_is_not_written_over_by_its_own_export(run: Run) -> None:
    before = Path("schedules.json").read_bytes()
    assert run("export", "schedules.json").code == 2
    assert run("export", "./schedules.json", "--format", "crontab").code == 2
    assert Path("schedules.json").read_bytes() == before


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("x", "--format", "toml"), 2),
        (("nowhere/x.json",), 73),
        (("folder",), 2),
        (("nowhere/units", "--format", "systemd"), 73),
        (("plain", "--format", "systemd"), 73),
    ],
)
def test_where_an_export_cannot_go_is_said(run: Run, arguments: tuple[str, ...], code: int) -> None:
    Path("folder").mkdir()
    put("plain", "text")
    result = run("export", *arguments, "--json")
    assert result.code == code
    assert result.json["error"]["hint"]


@pytest.mark.usefixtures("jobs")
def test_what_another_scheduler_cannot_say_is_refused_by_name_or_left_out_by_name(run: Run) -> None:
    run("add-interval", "odd", "--every", "7m", "--data-dir", "posts")
    refused = run("export", "tab", "--format", "crontab", "--json")
    assert refused.code == 2
    assert "odd: " in refused.json["error"]["message"]
    assert not Path("tab").exists()
    result = run("export", "tab", "--format", "crontab", "--skip-invalid")
    assert result.code == 0
    assert "left out: odd: " in result.err
    assert "often: it does not wait for nightly (after)" in result.err
    text = Path("tab").read_text()
    assert f"--file {Path('schedules.json').absolute()}" in text
    assert "run nightly" in text
    assert "odd" not in text


@pytest.mark.usefixtures("jobs")
def test_the_formats_on_stdout_are_one_stream_or_one_document(run: Run) -> None:
    stream = run("export", "--format", "systemd").out
    assert stream.startswith("# ---- pipesched.service\n")
    assert "# ---- pipesched-nightly.timer\n" in stream
    document = run("export", "--format", "systemd", "--json").json
    assert "pipesched-nightly.service" in document["files"]
    assert document["warnings"]
    manifests = [each for each in yaml.safe_load_all(run("export", "--format", "kubernetes").out) if each]
    assert [each["kind"] for each in manifests] == ["CronJob"] * 3


@pytest.mark.usefixtures("jobs")
def test_units_go_into_a_folder_and_those_of_jobs_that_are_gone_are_named(run: Run) -> None:
    assert run("export", "units", "--format", "systemd").code == 0
    names = {path.name for path in Path("units").iterdir()}
    assert {"pipesched.service", "pipesched-nightly.service", "pipesched-nightly.timer"} <= names
    assert stat.S_IMODE(Path("units/pipesched.service").stat().st_mode) == 0o644
    run("remove", "off", "--yes")
    result = run("export", "units", "--format", "systemd", "--json")
    assert result.json["jobs"] == 2
    assert "pipesched-off.timer" in result.err


def test_a_job_that_cannot_be_used_is_not_dropped_in_silence(run: Run) -> None:
    run("add-cron", "good", "@daily")
    data = json.loads(Path("schedules.json").read_text())
    data["jobs"]["2"] = {"id": "bad", "trigger": {"expression": "61 * * * *"}}
    put("schedules.json", data)
    result = run("export", "out.json", "--json")
    assert result.code == 2
    assert "bad" in result.json["error"]["message"]
    assert run("export", "out.json", "--skip-invalid").code == 0
    assert [job["id"] for job in json.loads(Path("out.json").read_text())["jobs"]] == ["good"]


# ---- import


def test_import_makes_the_job_file_and_shows_what_it_added(run: Run) -> None:
    file = put(
        "old.json",
        {"jobs": [cron("a", config={"chunk_size": 500}), cron("b", config={"storage_path": "other"})]},
    )
    result = run("import", file)
    assert result.code == 0
    assert "imported 2 jobs" in result.out
    assert stat.S_IMODE(Path("schedules.json").stat().st_mode) & 0o022 == 0
    jobs = listed(run)
    assert jobs["a"]["config"] == {"chunk_size": 500}
    assert jobs["b"]["trigger"] == {"expression": "0 2 * * *"}
    assert jobs["a"]["timezone"] == "Europe/Riga"
    assert not Path("schedules.json.bak").exists()
    assert not Path(".pipesched").exists()


def test_nothing_is_applied_when_the_last_of_many_is_bad(run: Run) -> None:
    run("add-cron", "mine", "@daily")
    before = Path("schedules.json").read_bytes()
    many = [cron(f"job{number}") for number in range(499)]
    file = put("old.json", {"jobs": [*many, cron("last", hour=99)]})
    result = run("import", file, "--json")
    assert result.code == 2
    assert "last: " in result.json["error"]["message"]
    assert result.json["jobs"] == []
    assert result.json["skipped"] == [{"id": "last", "reason": result.json["skipped"][0]["reason"]}]
    assert Path("schedules.json").read_bytes() == before
    result = run("import", file, "--skip-invalid", "--json")
    assert result.code == 0
    assert len(result.json["jobs"]) == 499
    assert [each["id"] for each in result.json["skipped"]] == ["last"]
    assert len(listed(run)) == 500


def test_an_id_that_exists_is_refused_and_replaced_only_when_asked(run: Run) -> None:
    run("add-cron", "a", "0 5 * * *")
    run("add-cron", "other", "0 6 * * *")
    before = Path("schedules.json").read_bytes()
    file = put("old.json", {"jobs": [cron("a"), cron("b")]})
    result = run("import", file, "--json")
    assert (result.code, result.json["error"]["code"]) == (2, "job_exists")
    assert Path("schedules.json").read_bytes() == before
    result = run("import", file, "--replace", "--json")
    assert result.code == 0
    assert result.json["replaced"] == ["a"]
    assert Path("schedules.json.bak").read_bytes() == before
    jobs = listed(run)
    assert [jobs[name]["trigger_text"] for name in ("a", "other", "b")] == [
        "0 2 * * *",
        "0 6 * * *",
        "0 2 * * *",
    ]
    assert list(jobs) == ["a", "other", "b"]


def test_existing_ids_are_left_out_by_name_with_skip_invalid_and_nothing_at_all_is_no_success(
    run: Run,
) -> None:
    run("add-cron", "a", "0 5 * * *")
    file = put("old.json", {"jobs": [cron("a"), cron("b")]})
    result = run("import", file, "--skip-invalid")
    assert result.code == 0
    assert "skipped a: " in result.err
    assert listed(run)["a"]["trigger_text"] == "0 5 * * *"
    assert run("import", file, "--skip-invalid").code == 2


def test_a_dry_run_shows_the_plan_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    file = put("old.json", {"jobs": [cron("a", conevalsfig={}), cron("b", day_of_week=6)]})
    result = run("import", file, "--dry-run")
    assert result.code == 0
    rows = [line.split() for line in result.out.splitlines()]
    assert rows[1][:3] == ["job", "what", "schedule"]
    assert rows[2][:2] == ["a", "add"]
    assert "conevalsfig" in result.out
    assert "did you mean 'config'?" in result.out
    assert "0 2 * * sun" in result.out
    document = run("import", file, "--dry-run", "--json").json
    assert [job["id"] for job in document["jobs"]] == ["a", "b"]
    assert document["jobs"][0]["next_run_time"]
    assert document["dry_run"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]


def test_a_dry_run_of_what_would_be_refused_shows_it_and_exits_2(run: Run) -> None:
    run("add-cron", "a", "@daily")
    file = put("old.json", {"jobs": [cron("a"), cron("b", hour=77)]})
    result = run("import", file, "--dry-run")
    assert result.code == 2
    assert result.out.count("refuse") >= 2
    assert run("import", file, "--dry-run", "--json").json["error"]["code"] == "invalid_value"
    replaced = run("import", file, "--dry-run", "--replace", "--skip-invalid")
    assert replaced.code == 0
    assert "replace" in replaced.out


@pytest.mark.parametrize(
    ("content", "code"),
    [("{", 65), ("", 65), ("[1, 2]", 2), ('{"jobs": 5}', 65), ("words and words", 65), ('{"jobs": []}', 0)],
)
def test_each_kind_of_bad_file_has_its_exit_code(run: Run, content: str, code: int) -> None:
    assert run("import", put("f", content), "--json").code == code
    assert not Path("schedules.json").exists() or code == 0


def test_a_file_that_is_not_there_or_a_folder_is_a_mistake_of_the_caller(run: Run) -> None:
    for name in ("missing.json", ".", "old/inside.json"):
        result = run("import", name, "--json")
        assert result.code == 2
        assert name in result.json["error"]["message"]


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    secret = tmp_path / "f.json"
    secret.write_text("{}")
    secret.chmod(0)
    done = subprocess.run(
        [*bound_by_permissions(), PIPESCHED, "import", "f.json"],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 77


def test_jobs_that_disagree_about_their_collection_do_not_come_in_together(run: Run) -> None:
    file = put(
        "old.json", {"jobs": [cron("a", config={"chunk_size": 500}), cron("b", config={"chunk_size": 900})]}
    )
    result = run("import", file, "--json")
    assert result.code == 2
    assert "b: " in result.json["error"]["message"]
    result = run("import", file, "--skip-invalid", "--json")
    assert [job["id"] for job in result.json["jobs"]] == ["a"]


def test_a_crontab_comes_in_from_a_pipe(tmp_path: Path) -> None:
    tab = "CRON_TZ=Asia/Tokyo\n# nightly\n0 1 * * 0 pipesched run nightly --data-dir /srv/posts\n"
    result = pipesched("import", "-", "--json", cwd=tmp_path, stdin=tab)
    assert result.code == 0, result.out
    (job,) = result.json["jobs"]
    assert (job["id"], job["timezone"], job["config"]) == (
        "nightly",
        "Asia/Tokyo",
        {"data_dir": "/srv/posts"},
    )


@pytest.mark.usefixtures("jobs")
def test_what_is_exported_as_a_crontab_comes_back_with_its_times(run: Run) -> None:
    run("export", "tab", "--format", "crontab")
    before = listed(run)
    Path("schedules.json").unlink()
    assert run("import", "tab").code == 0
    after = listed(run)
    assert set(after) == {"nightly", "often"}  # off is paused: its line is a comment
    assert after["nightly"]["next_run_time"] == before["nightly"]["next_run_time"]


def test_what_a_replaced_job_owed_is_recorded(run: Run) -> None:
    run("add-cron", "a", "* * * * *")
    data = json.loads(Path("schedules.json").read_text())
    data["jobs"]["1"]["since"] = "2026-01-01T00:00:00+00:00"
    put("schedules.json", data)
    file = put("old.json", {"jobs": [cron("a")]})
    path = Path(".pipesched/ledger.sqlite3").absolute()
    with Ledger.open(path, create=True):
        pass
    assert run("import", file, "--replace").code == 0
    with Ledger.open(path, create=False) as ledger:
        rows = ledger.history("a", None, None, 10)
    assert {row.status for row in rows} == {"missed"}


def test_thousands_come_in_and_are_replaced_in_a_moment(run: Run) -> None:
    file = put("old.json", {"jobs": [cron(f"job{number}", hour=number % 24) for number in range(3000)]})
    assert run("import", file, "--json").code == 0
    assert len(run("import", file, "--replace", "--json").json["replaced"]) == 3000


def test_the_zone_of_jobs_that_name_none_can_be_given(run: Run) -> None:
    file = put("old.json", {"jobs": [cron("a"), cron("b", timezone="Asia/Tokyo")]})
    assert run("import", file, "--timezone", "Europe/Rigga", "--json").code == 2
    assert run("import", file, "--timezone", "America/Chicago").code == 0
    assert [job["timezone"] for job in listed(run).values()] == ["America/Chicago", "Asia/Tokyo"]


@pytest.mark.parametrize("engine", ["crontab", "systemd", "kubernetes"])
def test_a_job_whose_options_do_not_fit_together_is_refused_by_name(
    run: Run, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    run("add-cron", "fits", "0 2 * * *", "--chunk-overlap", "10")
    run("add-cron", "not", "0 3 * * *", "--chunk-overlap", "150", "--collection-name", "other")
    monkeypatch.setenv("PIPESCHED_CHUNK_SIZE", "100")
    done = run("export", "--format", engine)
    assert (done.code, done.out) == (2, "")
    assert "not: chunk_overlap" in done.err
    done = run("export", "--format", engine, "--skip-invalid")
    assert done.code == 0
    words = " ".join(done.out.split()).replace("- ", "")
    assert "run fits" in words
    assert "run not" not in words
    assert "PIPESCHED_CHUNK_SIZE: set here, and not where the runs will start" in done.err
