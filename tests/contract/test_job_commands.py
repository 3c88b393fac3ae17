"""The job commands as CONTRACT.md has them: every option, key and exit code. In process, but where a process matters."""

import json
import os
import pty
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipesched.options import BUILT_IN, PIPELINE_OPTIONS
from pipesched.runs.ledger import Ledger, new_run_id
from support.command import Result, clean_environment, pipesched
from support.contract import JOB

Run = Callable[..., Result]

POLICY_KEYS = {
    "catch_up", "grace", "overlap", "timeout", "retries", "retry_delay", "jitter", "after", "start", "end", "max_runs",
    "pause_after_failures", "notify", "ping", "trigger_on", "not_during",
}  # fmt: skip


def job(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.err or result.out
    assert set(result.json) == {"schema_version", "job"}
    return result.json["job"]


def refused(result: Result, code: int, word: str) -> str:
    assert result.code == code, result.out + result.err
    error = result.json["error"]
    assert error["code"] == word
    assert error["hint"]
    return error["message"]


def file(tmp_path: Path) -> bytes:
    return (tmp_path / "schedules.json").read_bytes()


# ---- the JOB document


def test_a_job_has_the_contracts_keys(run: Run) -> None:
    added = job(run("add-cron", "nightly", "0 2 * * *", "--json"))
    assert added.keys() >= JOB
    assert added["id"] == added["job_id"] == added["name"] == "nightly"
    assert added["type"] == "cron"
    assert added["trigger"] == {"expression": "0 2 * * *"}
    assert added["trigger_text"] == "0 2 * * *"
    assert added["timezone"] == "Europe/Riga"
    assert (added["enabled"], added["state"], added["last_run"]) == (True, "scheduled", None)
    assert (added["config"], added["tags"], added["description"]) == ({}, [], "")
    assert set(added["effective_config"]) == set(PIPELINE_OPTIONS)
    assert set(added["policy"]) == POLICY_KEYS
    following = datetime.fromisoformat(added["next_run_time"])
    assert following.hour == 2
    assert following.utcoffset() in {timedelta(hours=2), timedelta(hours=3)}
    assert following > datetime.now(UTC)
    assert job(run("show", "nightly", "--json")) == added
    assert run("list", "--json").json == {"schema_version": 1, "jobs": [added]}


def test_the_triggers_are_documents_of_their_type(run: Run) -> None:
    interval = job(
        run("add-interval", "i", "--hours", "1", "--minutes", "30", "--anchor", "2026-01-01 00:15", "--json")
    )
    assert interval["type"] == "interval"
    assert interval["trigger"] == {"seconds": 5400, "anchor": "2026-01-01T00:15:00+02:00"}
    assert interval["trigger_text"] == "every 1h30m"
    once = job(run("add-once", "o", "--at", "2099-07-01 09:00", "--json"))
    assert once["type"] == "once"
    assert once["trigger"]["at"] == once["next_run_time"] == "2099-07-01T09:00:00+03:00"


def test_every_job_option_is_kept_and_shown(run: Run) -> None:
    run("add-cron", "first", "@hourly")
    added = job(
        run(
            *("add-cron", "nightly", "0 2 * * *", "--description", "words", "--tag", "a", "--tag", "b"),
            *(
                "--timezone",
                "Asia/Tokyo",
                "--catch-up",
                "all",
                "--grace",
                "2h",
                "--overlap",
                "queue",
                "--timeout",
                "90s",
            ),
            *(
                "--retries",
                "3",
                "--retry-delay",
                "30s",
                "--jitter",
                "10m",
                "--after",
                "first",
                "--start",
                "2026-01-01",
            ),
            *("--trigger-on", "any", "--not-during", "sat, sun 22:00-2:00", "--not-during", "12:00-13:00"),
            *(
                "--end",
                "2099-01-01 12:00",
                "--max-runs",
                "9",
                "--pause-after-failures",
                "4",
                "--notify",
                "env:HOOK",
            ),
            *("--ping", "env:PING", "--paused", "--json"),
        )
    )
    assert added["description"] == "words"
    assert added["tags"] == ["a", "b"]
    assert added["timezone"] == "Asia/Tokyo"
    assert (added["enabled"], added["state"], added["next_run_time"]) == (False, "paused", None)
    assert added["policy"] == {
        "catch_up": "all",
        "grace": 7200,
        "overlap": "queue",
        "timeout": 90,
        "retries": 3,
        "retry_delay": 30,
        "jitter": 600,
        "after": ["first"],
        "trigger_on": "any",
        "not_during": ["Sat,Sun 22:00-02:00", "12:00-13:00"],
        "start": "2026-01-01T00:00:00+09:00",
        "end": "2099-01-01T12:00:00+09:00",
        "max_runs": 9,
        "pause_after_failures": 4,
        "notify": ["env:HOOK"],
        "ping": "env:PING",
    }
    unset = [word for name in added["policy"] for word in ("--unset", name.replace("_", "-"))]
    bare = job(
        run(
            "edit",
            "nightly",
            *unset,
            "--unset",
            "tag",
            "--unset",
            "description",
            "--unset",
            "timezone",
            "--json",
        )
    )
    assert bare["policy"] == job(run("show", "first", "--json"))["policy"] | {"grace": 86_400}
    assert (bare["tags"], bare["description"], bare["timezone"]) == ([], "", "Europe/Riga")


def test_every_pipeline_option_is_kept_and_can_be_taken_away(run: Run, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "data_dir": "posts",
        "data_dir_pattern": "*.markdown",
        "storage_path": "http://127.0.0.1:8000",
        "collection_name": "others",
        "embedding_model": "ollama:all-minilm",
        "chunk_size": 500,
        "chunk_overlap": 50,
        "use_chunking": False,
        "incremental_mode": "full",
        "force_recreate": True,
        "dry_run": True,
        "ci_mode": True,
        "should_save_stats": False,
        "blog_base_url": "https://blog.example",
        "base_url": "https://cdn.example",
        "index_drafts": True,
        "allow_mass_delete": True,
        "adopt": True,
    }
    assert set(given) == set(PIPELINE_OPTIONS)
    words: list[str] = []
    for name, value in given.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    added = job(run("add-interval", "x", "--every", "1h", *words, "--json"))
    assert added["config"] == given
    assert added["effective_config"] == given | {"data_dir": str(tmp_path / "posts")}
    opposite = [
        "--use-chunking",
        "--no-force-recreate",
        "--no-dry-run",
        "--no-ci-mode",
        "--should-save-stats",
    ]
    opposite += ["--no-index-drafts", "--no-allow-mass-delete", "--no-adopt"]
    turned = job(run("edit", "x", *opposite, "--json"))["config"]
    assert all(turned[name] is not value for name, value in given.items() if isinstance(value, bool))
    bare = job(run("edit", "x", *(word for name in given for word in ("--unset", name)), "--json"))
    assert bare["config"] == {}
    assert bare["effective_config"]["chunk_size"] == BUILT_IN.chunk_size


def test_what_holds_is_job_then_environment_then_defaults(run: Run, tmp_path: Path, monkeypatch) -> None:
    run("init", "--chunk-size", "900", "--collection-name", "from_defaults", "--data-dir", "d")
    monkeypatch.setenv("PIPESCHED_CHUNK_SIZE", "800")
    monkeypatch.setenv("PIPESCHED_BASE_URL", "https://env.example")
    holds = job(run("edit", "hourly_check", "--base-url", "https://job.example", "--json"))[
        "effective_config"
    ]
    assert (holds["base_url"], holds["chunk_size"], holds["collection_name"]) == (
        "https://job.example",
        800,
        "from_defaults",
    )
    assert holds["data_dir"] == str(tmp_path / "d")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("posts", "sub/posts"),
        ("../posts", "posts"),
        ("./a/../b/", "sub/b"),
        ("../../elsewhere", None),
        ("/srv/posts", "/srv/posts"),
    ],
)
def test_paths_are_kept_from_the_job_files_folder(
    run: Run, tmp_path: Path, monkeypatch, given: str, kept: str | None
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    added = job(run("--file", "../schedules.json", "add-cron", "x", "@daily", "--data-dir", given, "--json"))
    assert added["config"]["data_dir"] == (kept or str(tmp_path.parent / "elsewhere"))
    assert added["effective_config"]["data_dir"] == os.path.normpath(tmp_path / "sub" / given)


def test_the_zone_is_the_flag_then_the_defaults_then_the_machines(run: Run, tmp_path: Path) -> None:
    assert job(run("add-cron", "machine", "@daily", "--json"))["timezone"] == "Europe/Riga"
    tables = json.loads(file(tmp_path))
    tables["defaults"] = {"1": {"timezone": "Asia/Tokyo"}}
    (tmp_path / "schedules.json").write_text(json.dumps(tables))
    assert job(run("add-cron", "default", "@daily", "--json"))["timezone"] == "Asia/Tokyo"
    assert job(run("add-cron", "flag", "@daily", "--timezone", "UTC", "--json"))["timezone"] == "UTC"
    assert job(run("show", "machine", "--json"))["timezone"] == "Europe/Riga"
    said = run("add-interval", "said", "--every", "1h").out
    assert "zone       Asia/Tokyo" in said
    assert "every 1h" in said
    assert "next run   20" in said
    assert "+09:00" in said


# ---- what is refused, with the file as it was

REFUSED = [
    (["add-cron", "a", "0 2 * * *"], "job_exists"),
    (["add-interval", "a", "--every", "1h"], "job_exists"),
    (["add-once", "a", "--at", "+1h"], "job_exists"),
    (["add-preset", "hourly", "a"], "job_exists"),
    (["add-cron", "b"], "invalid_value"),
    (["add-cron", "b", "0 0 30 2 *"], "invalid_value"),
    (["add-cron", "b", "* * * * *", "--hour", "2"], "invalid_value"),
    (["add-cron", "b", "1," * 60_000], "invalid_value"),
    (["add-cron", "b" * 65, "@daily"], "invalid_value"),
    (["add-cron", "b", "@daily", "--timezone", "Europe/Berln"], "invalid_value"),
    (["add-cron", "b", "@daily", "--timezone", "UTC+2"], "invalid_value"),
    (["add-cron", "b", "@daily", "--after", "gone"], "invalid_value"),
    (["add-cron", "b", "@daily", "--after", "b"], "invalid_value"),
    (["add-cron", "b", "@daily", "--chunk-size", "10"], "invalid_value"),
    (["add-cron", "b", "@daily", "--chunk-size", "100", "--chunk-overlap", "100"], "invalid_value"),
    (["add-cron", "b", "@daily", "--chunk-size", "many"], "usage"),
    (["add-cron", "b", "@daily", "--collection-name", "x"], "invalid_value"),
    (["add-cron", "b", "@daily", "--embedding-model", "x"], "invalid_value"),
    (["add-cron", "b", "@daily", "--incremental-mode", "some"], "invalid_value"),
    (["add-cron", "b", "@daily", "--data-dir", "elsewhere"], "settings_conflict"),
    (["add-cron", "b", "@daily", "--end", "2020-01-01"], "invalid_value"),
    (["add-interval", "b"], "invalid_value"),
    (["add-interval", "b", "--hours", "-1"], "invalid_value"),
    (["add-interval", "b", "--hours", "0"], "invalid_value"),
    (["add-once", "b"], "invalid_value"),
    (["add-once", "b", "--at", "2020-01-01"], "invalid_value"),
    (["add-preset", "daily_2am", "b", "--no-such"], "usage"),
    (["edit", "a"], "usage"),
    (["edit", "a", "--unset", "nonsense"], "invalid_value"),
    (["edit", "a", "--unset", "timeout", "--timeout", "1h"], "invalid_value"),
    (["edit", "a", "0 0 30 2 *"], "invalid_value"),
    (["edit", "a", "@daily", "--expression", "@daily"], "invalid_value"),
    (["edit", "a", "--every", "1h", "--at", "+1h"], "invalid_value"),
    (["edit", "a", "--description", "ok", "--grace", "never"], "invalid_value"),
    (["edit", "a", "--at", "2020-01-01"], "invalid_value"),
    (["edit", "a", "--after", "a"], "invalid_value"),
    (["edit", "a", "--chunk-size", "300", "--chunk-overlap", "20"], "settings_conflict"),
    (["remove", "a"], "usage"),
]


@pytest.mark.parametrize(
    ("arguments", "word"),
    REFUSED,
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else value,
)
def test_what_is_refused_exits_2_and_changes_nothing(
    run: Run, tmp_path: Path, arguments: list[str], word: str
) -> None:
    run("add-cron", "a", "0 2 * * *", "--data-dir", "posts")
    run("add-cron", "other", "0 2 * * *", "--data-dir", "posts")
    before = file(tmp_path)
    refused(run(*arguments, "--json"), 2, word)
    assert file(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "nighty"],
        ["edit", "nighty", "--hour", "3"],
        ["remove", "nightly", "nighty", "--yes"],
        ["pause", "nightly", "nighty"],
        ["resume", "nighty"],
    ],
    ids=lambda value: value[0],
)
def test_an_unknown_job_exits_4_with_the_nearest_and_nothing_else_happens(
    run: Run, tmp_path: Path, arguments: list[str]
) -> None:
    run("add-cron", "nightly", "0 2 * * *")
    before = file(tmp_path)
    done = run(*arguments, "--json")
    refused(done, 4, "job_not_found")
    assert done.json["error"]["hint"] == "did you mean nightly?"
    assert file(tmp_path) == before


def test_a_conflict_names_the_job_and_the_options(run: Run) -> None:
    run(
        "add-cron", "nightly", "@daily", "--data-dir", "posts", "--chunk-size", "700", "--chunk-overlap", "70"
    )
    message = refused(run("add-cron", "b", "@daily", "--data-dir", "pages", "--json"), 2, "settings_conflict")
    for part in ("nightly", "--data-dir", "--chunk-size", "--chunk-overlap", "posts", "pages"):
        assert part in message
    assert run("add-cron", "b", "@daily", "--data-dir", "pages", "--collection-name", "pages").code == 0


def test_an_edit_that_has_nothing_to_do_with_a_conflict_is_made(run: Run, tmp_path: Path) -> None:
    run("add-cron", "a", "@daily")
    run("add-cron", "b", "@daily")
    tables = json.loads(file(tmp_path))
    tables["jobs"]["2"]["config"] = {"data_dir": "by_hand"}
    (tmp_path / "schedules.json").write_text(json.dumps(tables))
    assert run("edit", "a", "--hour", "3").code == 0
    assert run("edit", "a", "--dry-run").code == 2


# ---- edit


def test_jobs_that_share_a_collection_move_together(run: Run, tmp_path: Path) -> None:
    run("add-cron", "a", "@daily", "--data-dir", "posts")
    run("add-cron", "b", "@weekly", "--data-dir", "posts", "--timeout", "5m")
    run("add-cron", "c", "@weekly", "--data-dir", "posts", "--collection-name", "other")
    before = file(tmp_path)
    refused(run("edit", "a", "--data-dir", "pages", "--json"), 2, "settings_conflict")
    refused(run("edit", "a", "--timeout", "1h", "--with-sharers", "--json"), 2, "usage")
    refused(run("edit", "a", "--chunk-overlap", "5000", "--with-sharers", "--json"), 2, "invalid_value")
    assert file(tmp_path) == before
    done = run("edit", "a", "--data-dir", "pages", "--timeout", "1h", "--with-sharers", "--json").json
    assert done["job"]["id"] == "a"
    assert [each["id"] for each in done["sharers"]] == ["b"]
    listed = run("list", "--json").json["jobs"]
    assert [each["config"]["data_dir"] for each in listed] == ["pages", "pages", "posts"]
    assert [each["policy"]["timeout"] for each in listed] == [3600, 300, None]
    assert [each["trigger"]["expression"] for each in listed] == ["@daily", "@weekly", "@weekly"]
    moved = run("edit", "b", "--unset", "data-dir", "--collection-name", "new", "--with-sharers")
    assert moved.out.endswith("\nchanged a, which shares the collection\n")
    listed = run("list", "--json").json["jobs"]
    assert [each["config"].get("collection_name") for each in listed] == ["new", "new", "other"]
    assert [each["config"].get("data_dir") for each in listed] == [None, None, "posts"]


def test_edit_changes_the_type_with_the_flags_of_the_add_commands(run: Run) -> None:
    run("add-cron", "x", "0 2 * * *", "--retries", "2", "--tag", "t")
    interval = job(run("edit", "x", "--days", "1", "--hours", "12", "--json"))
    assert (interval["type"], interval["trigger"]["seconds"]) == ("interval", 129_600)
    once = job(run("edit", "x", "--at", "2099-01-01", "--json"))
    assert (once["type"], once["trigger"]) == ("once", {"at": "2099-01-01T00:00:00+02:00"})
    cron = job(run("edit", "x", "--hour", "5", "--day-of-week", "mon-fri", "--json"))
    assert (cron["type"], cron["trigger"]["expression"]) == ("cron", "0 5 * * mon-fri")
    assert job(run("edit", "x", "--expression", "@weekly", "--json"))["trigger_text"] == "@weekly"
    assert (cron["policy"]["retries"], cron["tags"]) == (2, ["t"])


def test_a_new_schedule_counts_from_the_edit(run: Run, tmp_path: Path) -> None:
    run("add-cron", "x", "0 2 * * *")
    tables = json.loads(file(tmp_path))
    tables["jobs"]["1"]["since"] = "2026-01-01T00:00:00+00:00"
    (tmp_path / "schedules.json").write_text(json.dumps(tables))
    run("edit", "x", "--description", "d")
    assert json.loads(file(tmp_path))["jobs"]["1"]["since"] == "2026-01-01T00:00:00+00:00"
    run("edit", "x", "--hour", "3")
    since = datetime.fromisoformat(json.loads(file(tmp_path))["jobs"]["1"]["since"])
    assert datetime.now(UTC) - since < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("edit", "x", "--every", "2h"), "not run before its schedule was changed"),
        (("remove", "x", "--yes"), "the job was removed before its run could start"),
    ],
)
def test_what_a_change_leaves_behind_while_no_scheduler_runs_is_in_the_history(
    run: Run, tmp_path: Path, command: tuple[str, ...], reason: str
) -> None:
    run("add-interval", "x", "--every", "1h")
    tables = json.loads(file(tmp_path))
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=4, minutes=30)
    tables["jobs"]["1"]["since"] = since.isoformat()
    (tmp_path / "schedules.json").write_text(json.dumps(tables))
    with Ledger.open(tmp_path / ".pipesched" / "ledger.sqlite3", create=True):
        pass
    assert run(*command).code == 0
    (missed,) = run("history", "x", "--json").json["runs"]
    assert (missed["status"], missed["count"], missed["reason"]) == ("missed", 5, reason)


# ---- pause, resume, remove


def test_pause_and_resume_take_several_and_answer_with_their_jobs(run: Run) -> None:
    run("add-cron", "a", "@daily")
    run("add-interval", "b", "--every", "1h")
    paused = run("pause", "a", "b", "--json").json["jobs"]
    assert [(each["enabled"], each["state"], each["next_run_time"]) for each in paused] == [
        (False, "paused", None)
    ] * 2
    resumed = run("resume", "b", "a", "--json").json["jobs"]
    assert [each["id"] for each in resumed] == ["b", "a"]
    assert all(each["enabled"] and each["state"] == "scheduled" and each["next_run_time"] for each in resumed)


def _fail_and_pause_itself(tmp_path: Path, job_id: str) -> None:
    """The ledger as a daemon leaves it after a failed run that paused the job."""
    now = datetime.now(UTC) - timedelta(hours=5)
    with Ledger.open(tmp_path / ".pipesched" / "ledger.sqlite3", create=True) as ledger:
        run_id = new_run_id(job_id, now)
        assert ledger.claim(
            run_id,
            job_id,
            scheduled_for=now,
            attempt=1,
            trigger="schedule",
            count=1,
            reason="",
            not_before=None,
            now=now,
            dry_run=False,
        )
        ledger.started(run_id, pid=1, pid_started=1, now=now)
        ledger.finish(run_id, status="failed", exit_code=1, reason="no", now=now, documents=None)
        ledger.auto_pause(job_id, now, "failed once")


def test_resume_records_the_slots_of_the_pause_and_starts_the_count_anew(run: Run, tmp_path: Path) -> None:
    run("add-interval", "a", "--every", "1h")
    tables = json.loads(file(tmp_path))
    long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=10)
    since = long_ago.isoformat()
    tables["jobs"]["1"] |= {
        "created_at": since, "since": since, "enabled": False,
        "paused_at": (long_ago + timedelta(hours=7, minutes=30)).isoformat(),
        "trigger": {"type": "interval", "every": "1h", "anchor": since},
        "since_schedule": f"every 3600s from {since}",
    }  # fmt: skip
    (tmp_path / "schedules.json").write_text(json.dumps(tables))
    _fail_and_pause_itself(tmp_path, "a")
    assert run("list", "--json").json["jobs"][0]["state"] == "paused"
    assert run("resume", "a", "--json").json["jobs"][0]["state"] == "scheduled"
    rows = run("history", "a", "--json").json["runs"]
    skipped = [row for row in rows if row["status"] == "skipped"]
    assert "paused" in {row["reason"] for row in skipped}
    assert sum(row["count"] for row in skipped) == 5  # since the failed run's slot, ten hours' grid
    with Ledger.open(tmp_path / ".pipesched" / "ledger.sqlite3", create=False) as ledger:
        summary = ledger.summaries(["a"])["a"]
    assert (summary.failures_in_row, summary.auto_paused_at) == (0, None)
    again = run("resume", "a", "--json").json["jobs"][0]
    assert again["last_run"]["status"] == "failed"
    assert set(again["last_run"]) == {"run_id", "status", "started_at", "duration_seconds"}


def test_pause_and_resume_without_a_ledger_make_none(run: Run, tmp_path: Path) -> None:
    run("add-cron", "a", "@daily")
    run("pause", "a")
    run("resume", "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".schedules.json.lock", "schedules.json"]


def test_remove_needs_yes_where_nobody_can_be_asked(run: Run) -> None:
    run("add-cron", "a", "@daily")
    run("add-cron", "b", "@daily", "--after", "a")
    assert "confirmed" in refused(run("remove", "b", "--json"), 2, "usage")
    assert "b runs after a" in refused(run("remove", "a", "--yes", "--json"), 2, "usage")
    assert run("remove", "a", "b", "a", "--yes", "--json").json == {
        "schema_version": 1,
        "removed": ["a", "b"],
    }
    assert run("list", "--json").json["jobs"] == []


def test_a_damaged_ledger_does_not_keep_jobs_from_being_changed(run: Run, tmp_path: Path) -> None:
    run("add-cron", "a", "@daily")
    run("export", "jobs.json")
    old = json.loads(file(tmp_path))
    old["jobs"]["1"]["since"] = "2026-01-01T00:00:00+00:00"
    (tmp_path / "schedules.json").write_text(json.dumps(old))
    ledger = tmp_path / ".pipesched" / "ledger.sqlite3"
    ledger.parent.mkdir(mode=0o700)
    ledger.write_bytes(b"this is no ledger" * 1000)
    nothing_known = "of these jobs' runs nothing can be said"
    nothing_recorded = "the history says nothing of the slots left behind"
    for arguments, said in (
        (["add-cron", "b", "@daily"], [nothing_known]),
        (["edit", "a", "--hour", "3"], [nothing_known, nothing_recorded]),
        (["import", "jobs.json", "--replace"], [nothing_known]),
        (["pause", "a"], [nothing_known]),
        (["init", "--force"], [nothing_known]),
        (["remove", "hourly_check", "--yes"], [nothing_recorded]),
    ):
        done = run(*arguments)
        assert done.code == 0, (arguments, done)
        assert all(words in done.err for words in said), (arguments, done.err)
    done = run("resume", "daily_incremental", "--json")
    assert (done.code, done.json["error"]["code"]) == (65, "data_error"), "its failures still count"


# ---- secrets


def test_secrets_are_in_the_file_and_shown_nowhere(run: Run, tmp_path: Path) -> None:
    secret = [
        "--notify",
        "mailto://joe:hunter2@example.com",
        "--notify",
        "slack://hunter2/x/y",
        "--ping",
        "https://hc.example/hunter2",
    ]
    outputs = [
        run("add-cron", "a", "@daily", *secret, "--json"),
        run("add-cron", "b", "@daily", *secret),
        run("edit", "a", "--hour", "3", "--json"),
        run("show", "a"),
        run("show", "a", "--json"),
        run("list", "--json"),
        run("pause", "a", "--json"),
        run("add-cron", "c", "@daily", "--notify", "hunter2", "--json"),
        run("edit", "a", "--ping", "hunter2", "--json"),
        run("edit", "a", "--ping", "ftp://hunter2"),
    ]
    assert [each.code for each in outputs] == [0] * 7 + [2] * 3
    assert not any("hunter2" in each.out + each.err for each in outputs)
    assert outputs[0].json["job"]["policy"]["notify"] == ["mailto://***@example.com", "slack://***"]
    assert outputs[0].json["job"]["policy"]["ping"] == "https://hc.example/***"
    assert b"slack://hunter2/x/y" in file(tmp_path)
    assert (tmp_path / "schedules.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "schedules.json").chmod(0o644)
    done = run("pause", "b", "--json")
    assert (done.code, done.json["jobs"][0]["id"]) == (0, "b")
    assert done.err.count("chmod 600") == len(done.err.splitlines()) == 1


# ---- init, presets


def test_init_writes_the_three_default_jobs(run: Run, tmp_path: Path) -> None:
    done = run("init", "--json")
    assert done.code == 0
    jobs = {each["id"]: each for each in done.json["jobs"]}
    assert list(jobs) == ["daily_incremental", "weekly_rebuild", "hourly_check"]
    assert jobs["daily_incremental"]["trigger"] == {"expression": "0 2 * * *"}
    assert jobs["daily_incremental"]["config"] == {"incremental_mode": "auto"}
    assert jobs["weekly_rebuild"]["trigger"] == {"expression": "0 1 * * 0"}
    assert datetime.fromisoformat(jobs["weekly_rebuild"]["next_run_time"]).isoweekday() == 7
    assert jobs["weekly_rebuild"]["config"] == {"incremental_mode": "full", "force_recreate": True}
    assert jobs["hourly_check"]["trigger"]["seconds"] == 3600
    assert jobs["hourly_check"]["config"] == {"dry_run": True}
    before = file(tmp_path)
    refused(run("init", "--json"), 73, "cannot_create")
    assert file(tmp_path) == before
    forced = run("init", "--force", "--timezone", "Asia/Tokyo", "--json")
    assert forced.json["backup"] == str(tmp_path / "schedules.json.bak")
    assert (tmp_path / "schedules.json.bak").read_bytes() == before
    assert {each["timezone"] for each in run("list", "--json").json["jobs"]} == {"Asia/Tokyo"}


def test_the_repositorys_own_job_file_holds_the_default_jobs(run: Run) -> None:
    shipped = Path(__file__).parents[2] / "schedules.json"
    run("init", "--timezone", "UTC")

    def told(result: Result) -> list[dict[str, Any]]:
        assert result.code == 0
        kept = ("id", "description", "type", "timezone", "config", "policy", "enabled", "state", "tags")
        return [{key: each[key] for key in kept} for each in result.json["jobs"]]

    mine = told(run("list", "--json"))
    theirs = run("--file", str(shipped), "list", "--json")
    assert "problems" not in theirs.json
    assert told(theirs) == mine


def test_presets_are_listed_shown_and_added(run: Run, tmp_path: Path) -> None:
    names = {each["name"]: each for each in run("presets", "--json").json["presets"]}
    assert {"daily_2am", "weekly_sunday_1am", "hourly", "every_30_minutes", "twice_daily"} <= set(names)
    shown = run("presets", "twice_daily", "--json").json["preset"]
    assert shown == names["twice_daily"]
    assert [each["id"] for each in shown["jobs"]] == ["{job_id}_1", "{job_id}_2"]
    refused(run("presets", "houry", "--json"), 4, "preset_not_found")
    refused(run("add-preset", "houry", "--json"), 4, "preset_not_found")
    refused(run("presets", "../schedules", "--json"), 4, "preset_not_found")
    twice = run(
        "add-preset", "twice_daily", "td", "--data-dir", "posts", "--retries", "1", "--tag", "t", "--json"
    ).json["jobs"]
    assert [(each["id"], each["trigger"]["expression"]) for each in twice] == [
        ("td_1", "0 6 * * *"),
        ("td_2", "0 18 * * *"),
    ]
    assert all(each["config"] == {"data_dir": "posts"} and each["tags"] == ["t"] for each in twice)
    assert run("add-preset", "hourly", "--data-dir", "posts", "--json").json["jobs"][0]["id"] == "hourly"
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "mine.toml").write_text(
        'description = "d"\n[[jobs]]\nid = "{job_id}"\nevery = "7m"\n'
    )
    (tmp_path / "presets" / "bad.toml").write_text("description = 1\n")
    listed = run("presets", "--json")
    assert {each["name"]: each["source"] for each in listed.json["presets"]}["mine"] == "project"
    assert "bad.toml" in listed.err
    refused(run("presets", "bad", "--json"), 65, "data_error")


def test_each_preset_says_why_one_would_want_it_and_can_be_added(run: Run) -> None:
    presets = run("presets", "--json").json["presets"]
    for preset in presets:
        shown = run("presets", preset["name"]).out
        assert f"\n           {preset['about']}\n" in shown
        assert len(preset["about"]) > 30
        assert run("add-preset", preset["name"]).code == 0
    added = {job["id"] for job in run("list", "--json").json["jobs"]}
    assert added == {
        job["id"].replace("{job_id}", preset["name"]) for preset in presets for job in preset["jobs"]
    }


def test_presets_are_told_to_people(run: Run) -> None:
    listed = run("presets").out
    assert "every 30m" in listed
    assert "0 6 * * *; 0 18 * * *" in listed
    shown = run("presets", "monthly_rebuild").out
    for part in (
        "on day 1 of the month (0 3 1 * *)",
        "grace = 2d",
        "force-recreate = yes",
        "add-preset monthly_rebuild",
    ):
        assert part in shown


def test_a_preset_is_added_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    run("add-cron", "td_2", "@daily")
    before = file(tmp_path)
    refused(run("add-preset", "twice_daily", "td", "--json"), 2, "job_exists")
    assert file(tmp_path) == before


# ---- for people


def test_what_was_added_is_said_in_words_with_zone_and_next_fire(run: Run) -> None:
    said = run("add-cron", "x", "30 2 * * 1-5", "--timezone", "Europe/Riga").out
    assert "added x" in said
    assert "02:30" in said
    assert "(30 2 * * 1-5)" in said
    assert "zone       Europe/Riga" in said
    assert "next run   20" in said
    assert "none, it is paused" in run("add-cron", "y", "@daily", "--paused").out


def test_one_bad_job_is_named_and_the_others_are_listed(run: Run, tmp_path: Path) -> None:
    run("add-cron", "good", "@daily")
    tables = json.loads(file(tmp_path))
    tables["jobs"]["2"] = {"id": "bad", "trigger": {"expression": "0 0 30 2 *"}}
    (tmp_path / "schedules.json").write_text(json.dumps(tables))
    listed = run("list", "--json")
    assert listed.code == 0
    assert [each["id"] for each in listed.json["jobs"]] == ["good"]
    assert [each["job_id"] for each in listed.json["problems"]] == ["bad"]
    assert "bad" in listed.err
    refused(run("show", "bad", "--json"), 65, "data_error")
    assert run("show", "good", "--json").code == 0
    assert run("edit", "bad", "@daily", "--json").code == 0
    assert [each["id"] for each in run("list", "--json").json["jobs"]] == ["good", "bad"]


def test_a_job_whose_options_do_not_fit_is_still_listed_with_the_reason(run: Run, tmp_path: Path) -> None:
    run("add-cron", "a", "@daily")
    tables = json.loads(file(tmp_path))
    tables["jobs"]["1"]["config"] = {"chunk_overlap": 5000}
    (tmp_path / "schedules.json").write_text(json.dumps(tables))
    (listed,) = run("list", "--json").json["jobs"]
    assert listed["effective_config"] is None
    assert "chunk-overlap" in listed["config_error"]
    assert run("show", "a").code == 0


def _on_a_terminal(*arguments: str, cwd: Path, answer: bytes = b"") -> tuple[int, str]:
    """What the installed command shows on a terminal of 100 columns, and its exit status."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        command = [sys.executable, "-m", "pipesched", *arguments]
        os.execve(sys.executable, command, clean_environment({"TERM": "xterm", "COLUMNS": "100"}))
    if answer:
        os.write(terminal, answer)
    shown = b""
    try:
        while data := os.read(terminal, 65536):
            shown += data
    except OSError:
        pass  # the terminal is gone with its last user
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_a_terminal_gets_a_table_that_is_cut_with_a_count(tmp_path: Path) -> None:
    jobs = {str(n): {"id": f"job_{n}", "trigger": {"every": "1h"}} for n in range(1, 451)}
    (tmp_path / "schedules.json").write_text(json.dumps({"jobs": jobs}))
    code, shown = _on_a_terminal("list", cwd=tmp_path)
    assert code == 0
    assert "\u2500" in shown
    assert "job_200" in shown
    assert "job_201" not in shown
    assert "250 more, 450 jobs in all" in shown
    assert len(pipesched("list", cwd=tmp_path).out.splitlines()) == 451


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, []), (b"n\n", 1, ["a"])])
def test_on_a_terminal_remove_asks(tmp_path: Path, answer: bytes, code: int, left: list[str]) -> None:
    assert pipesched("add-cron", "a", "@daily", cwd=tmp_path).code == 0
    done, shown = _on_a_terminal("remove", "a", cwd=tmp_path, answer=answer)
    assert "Remove a?" in shown
    assert [each["id"] for each in pipesched("list", "--json", cwd=tmp_path).json["jobs"]] == left
    assert done == code


def test_looking_at_jobs_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    assert pipesched("init", cwd=tmp_path).code == 0
    code = """
import sys
from pipesched.cli.main import execute
from pipesched.cli.output import Output
for arguments in (["list", "--json"], ["show", "hourly_check", "--json"]):
    assert execute(arguments, Output(json=True)) == 0
heavy = {"chromadb", "onnxruntime", "ollama", "croniter", "numpy", "rich", "tinydb", "orjson", "sqlite3"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"
