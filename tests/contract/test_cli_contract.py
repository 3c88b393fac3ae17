"""The command line's contract: for every command its exit codes and the keys of its JSON, through the installed command."""

import json
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipesched.cli.registry import COMMANDS
from support.command import Result, pipesched
from support.contract import JOB, REPORT, REPORT_SUMMARY, RUN, STATS

NOBODY = 65534

STATUS = {
    "scheduler_running", "pid", "http", "started_at", "active_jobs", "jobs_executed", "jobs_failed", "jobs_missed",
    "jobs_skipped", "success_rate", "last_execution", "last_error", "running", "next",
}  # fmt: skip
RUN_STATUSES = {"succeeded", "partial", "failed", "interrupted", "timeout"}

POST = "---\ntitle: {title}\ndate: 2026-01-02\n---\n\n# {title}\n\n{text}\n"


def write_posts(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "bread.md").write_text(
        POST.format(title="Bread", text="Feed the sourdough starter every morning.")
    )
    (folder / "ships.md").write_text(
        POST.format(title="Ships", text="The schooner left the harbour at dawn.")
    )
    (folder / "draft.md").write_text("---\ntitle: Later\ndraft: true\n---\n\nNot yet.\n")


@dataclass(frozen=True)
class Project:
    """A folder in which each command that only reads has something to show; nothing in it may be changed."""

    folder: Path
    run: dict[str, Any]

    def __call__(self, *arguments: str) -> Result:
        return pipesched(*arguments, cwd=self.folder)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    write_posts(folder / "data")
    for arguments in (
        ["init", "--json"],
        ["add-once", "due", "--at", "2020-01-01", "--if-past", "run", "--json"],
    ):
        done = pipesched(*arguments, cwd=folder)
        assert done.code == 0, done.err
    once = pipesched("daemon", "--once", "--no-http", cwd=folder)
    assert once.code == 0, once.err
    runs = pipesched("history", "due", "--json", cwd=folder).json["runs"]
    return Project(folder, runs[0])


READ = {
    "list": ["list"],
    "show": ["show", "due"],
    "presets": ["presets"],
    "presets NAME": ["presets", "daily_2am"],
    "next": ["next"],
    "simulate": ["simulate"],
    "explain": ["explain", "0 2 * * *"],
    "run": ["run", "--dry-run"],
    "history": ["history"],
    "logs": ["logs", "due"],
    "reports": ["reports"],
    "status": ["status"],
    "health": ["health", "--no-scheduler"],
    "prune": ["prune", "--dry-run"],
    "export": ["export"],
    "completion": ["completion", "bash"],
    "search": ["search", "sourdough"],
    "verify": ["verify"],
    "verify --deep": ["verify", "--deep"],
}

KEYS: dict[str, set[str]] = {
    "list": {"jobs"},
    "show": {"job"},
    "next": {"fires"},
    "run": REPORT,
    "history": {"runs"},
    "reports": {"reports"},
    "status": STATUS,
    "health": {"status", "checks"},
    "prune": {"dry_run", "pruned", "bytes"},
    "export": {"exported_at", "defaults", "jobs"},
    "completion": {"shell", "script"},
    "search": {"results"},
    "verify": {"ok", "missing", "extra", "changed", "bad_vectors"},
    "verify --deep": {"ok", "missing", "extra", "changed", "bad_vectors"},
}

CHANGING = {
    "init": (["init"], set()),
    "add-cron": (["add-cron", "a", "0 2 * * *"], {"job"}),
    "add-interval": (["add-interval", "a", "--every", "90m"], {"job"}),
    "add-once": (["add-once", "a", "--at", "+2h"], {"job"}),
    "add-preset": (["add-preset", "daily_2am"], {"jobs"}),
    "edit": (["edit", "old", "--description", "x"], {"job"}),
    "remove": (["remove", "old", "--yes"], set()),
    "pause": (["pause", "old"], set()),
    "resume": (["resume", "old"], set()),
    "import": (["import", "schedules.json", "--replace"], {"jobs", "skipped", "warnings"}),
    "daemon": (["daemon", "--once", "--no-http"], None),
}

FAILING = [
    (["init"], 73, "cannot_create"),
    (["add-cron", "a", "61 * * * *"], 2, "invalid_value"),
    (["add-cron", "a", "0 0 30 2 *"], 2, "invalid_value"),
    (["add-cron", "old", "0 2 * * *"], 2, "job_exists"),
    (["add-cron", "../x", "0 2 * * *"], 2, "invalid_value"),
    (["add-cron", "a\nb", "0 2 * * *"], 2, "invalid_value"),
    (["add-cron", "--", "-x", "0 2 * * *"], 2, "invalid_value"),
    (["add-cron", "a", "0 2 * * *", "--timezone", "Europe/Berln"], 2, "invalid_value"),
    (["add-interval", "a", "--seconds", "0"], 2, None),
    (["add-interval", "a"], 2, None),
    (["add-once", "a", "--at", "2020-01-01"], 2, "invalid_value"),
    (["add-preset", "no-such-preset"], 4, "preset_not_found"),
    (["add-preset", "daily_2am", "--timezone", ""], 2, "invalid_value"),
    (["list", "--nope"], 2, "usage"),
    (["show", "nothing"], 4, "job_not_found"),
    (["edit", "nothing", "--tag", "x"], 4, "job_not_found"),
    (["edit", "old"], 2, None),
    (["remove", "old"], 2, None),
    (["remove", "nothing", "--yes"], 4, "job_not_found"),
    (["pause", "nothing"], 4, "job_not_found"),
    (["resume", "nothing"], 4, "job_not_found"),
    (["presets", "nothing"], 4, "preset_not_found"),
    (["next", "nothing"], 4, "job_not_found"),
    (["next", "--count", "0"], 2, None),
    (["simulate", "--days", "0"], 2, None),
    (["simulate", "--assume", "long"], 2, "invalid_value"),
    (["simulate", "--timezone", ""], 2, "invalid_value"),
    (["explain", "nonsense"], 2, "invalid_value"),
    (["explain", "@daily", "--timezone", ""], 2, "invalid_value"),
    (["explain", "0 0 31 4 *"], 2, "invalid_value"),
    (["export", "--format", "toml"], 2, "invalid_value"),
    (["import", "nothing.json"], 2, "usage"),
    (["import", "schedules.json"], 2, "job_exists"),
    (["run", "nothing"], 4, "job_not_found"),
    (["run", "--data-dir", "nowhere"], 2, "data_dir_missing"),
    (["run", "--chunk-size", "0"], 2, "invalid_value"),
    (["rebuild", "--job", "nothing"], 4, "job_not_found"),
    (["cancel", "nothing"], 4, "run_not_found"),
    (["history", "nothing"], 4, "job_not_found"),
    (["history", "--status", "nothing"], 2, None),
    (["logs", "nothing"], 4, None),
    (["reports", "--nope"], 2, "usage"),
    (["report", "nothing"], 4, "report_not_found"),
    (["report", "../schedules.json"], 4, "report_not_found"),
    (["daemon", "--http", "0.0.0.0:0"], None, None),
    (["daemon", "--once", "--max-workers", "0"], 2, None),
    (["status", "--nope"], 2, "usage"),
    (["health"], 1, None),
    (["doctor", "--job", "nothing"], 4, "job_not_found"),
    (["notify-test", "nothing"], 4, "job_not_found"),
    (["notify-test", "old"], 2, "usage"),
    (["prune", "--nope"], 2, "usage"),
    (["completion", "tcsh"], 2, "invalid_value"),
    (["search"], 2, "usage"),
    (["search", "x", "--where", "nonsense"], 2, "invalid_value"),
    (["verify", "--job", "nothing"], 4, "job_not_found"),
]  # fmt: skip


def one_document(done: Result) -> dict[str, Any]:
    lines = done.out.splitlines()
    assert len(lines) == 1, (done.out, done.err)
    document = json.loads(lines[0])
    assert document["schema_version"] == 1
    assert "Traceback" not in done.err
    return document


def check_times(value: object, path: str = "") -> None:
    """Every value that looks like a time has an offset."""
    if isinstance(value, dict):
        for key, item in value.items():
            check_times(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            check_times(item, path)
    elif isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", value):
        assert datetime.fromisoformat(value).tzinfo is not None, (path, value)


def test_the_tables_leave_no_command_out() -> None:
    shown = (
        {name.split()[0] for name in READ}
        | set(CHANGING)
        | {"report", "rebuild", "cancel", "doctor", "notify-test"}
    )
    assert shown == set(COMMANDS)
    assert {arguments[0] for arguments, _, _ in FAILING} == set(COMMANDS)


@pytest.mark.parametrize("name", READ)
def test_a_command_that_reads_prints_one_document(indexed: Project, name: str) -> None:
    done = indexed(*READ[name], "--json")
    assert done.code == 0, done.err
    document = one_document(done)
    assert KEYS.get(name, set()) <= set(document)
    check_times(document)


def test_a_job_has_the_keys_of_the_contract(indexed: Project) -> None:
    jobs = {job["id"]: job for job in indexed("list", "--json").json["jobs"]}
    assert set(jobs) == {"daily_incremental", "weekly_rebuild", "hourly_check", "due"}
    for job in jobs.values():
        assert set(job) >= JOB
        assert job["id"] == job["job_id"]
        assert job["state"] in {"scheduled", "running", "paused", "done"}
        assert job["config"].items() <= job["effective_config"].items()
    assert set(jobs["daily_incremental"]["trigger"]) == {"expression"}
    assert jobs["daily_incremental"]["last_run"] is None
    due = jobs["due"]
    assert set(due["trigger"]) == {"at"}
    assert (due["type"], due["state"], due["next_run_time"]) == ("once", "done", None)
    assert set(due["last_run"]) >= {"run_id", "status", "started_at", "duration_seconds"}
    assert due["last_run"]["status"] == "succeeded"
    assert indexed("show", "due", "--json").json["job"] == due


def test_a_run_of_the_scheduler_is_in_history_reports_and_logs_under_one_id(indexed: Project) -> None:
    run = indexed.run
    assert set(run) >= RUN
    assert (run["status"], run["exit_code"], run["attempt"], run["count"]) == ("succeeded", 0, 1, 1)
    assert run["trigger"] in {"schedule", "catch_up"}
    reports = indexed("reports", "--json").json["reports"]
    assert [report["run_id"] for report in reports] == [run["run_id"]]
    assert set(reports[0]) >= REPORT_SUMMARY | {"filename"}
    assert "documents" not in reports[0]
    assert run["run_id"] in reports[0]["filename"]
    for name in (run["run_id"], reports[0]["filename"]):
        document = one_document(indexed("report", name, "--json"))
        assert set(document) >= REPORT
        assert (document["job_id"], document["status"], document["success"]) == ("due", "succeeded", True)
        stats = document["stats"]
        assert set(stats) == STATS
        assert (stats["total_documents"], stats["new_documents"], stats["skipped_documents"]) == (2, 2, 1)
        assert {change["source"] for change in document["documents"]} == {"bread.md", "ships.md", "draft.md"}
        assert all(
            set(change) >= {"source", "change", "reason", "chunks"} for change in document["documents"]
        )
    for name in (run["run_id"], "due"):
        assert indexed("logs", name).code == 0


def test_status_counts_what_the_ledger_counts(indexed: Project) -> None:
    status = indexed("status", "--json").json
    assert status["scheduler_running"] is False
    assert (status["pid"], status["http"]) == (None, None)
    assert (status["jobs_executed"], status["jobs_failed"], status["success_rate"]) == (1, 0, 1.0)
    assert status["running"] == []
    assert status["next"]


def test_health_says_each_check_and_fails_without_a_scheduler(indexed: Project) -> None:
    well = indexed("health", "--no-scheduler", "--json")
    assert well.json["status"] in {"pass", "warn"}
    for check in well.json["checks"].values():
        assert set(check) >= {"status", "message", "hint"}
        assert check["status"] in {"pass", "warn", "fail"}
    ill = indexed("health", "--json")
    assert (ill.code, one_document(ill)["status"]) == (1, "fail")


def test_doctor_says_each_check_and_what_mends_it(indexed: Project) -> None:
    done = indexed("doctor", "--json")
    document = one_document(done)
    assert done.code == (1 if document["status"] == "fail" else 0)
    for check in document["checks"].values():
        assert set(check) >= {"status", "message", "hint"}
        assert check["status"] == "pass" or check["hint"]


def test_next_gives_as_many_fires_as_asked_for_in_order(indexed: Project) -> None:
    fires = indexed("next", "--count", "7", "--json").json["fires"]
    assert len(fires) == 7
    assert all(set(fire) >= {"job_id", "at", "collapsed"} for fire in fires)
    times = [datetime.fromisoformat(fire["at"]) for fire in fires]
    assert times == sorted(times)
    only = indexed("next", "weekly_rebuild", "--json").json["fires"]
    assert [fire["job_id"] for fire in only] == ["weekly_rebuild"] * 5


def test_a_search_finds_the_right_post_first(indexed: Project) -> None:
    results = indexed("search", "how do I feed a sourdough starter?", "-n", "2", "--json").json["results"]
    assert [result["source"] for result in results] == ["bread.md", "ships.md"]
    assert all(
        set(result) >= {"score", "source", "url", "title", "chunk_index", "text"} for result in results
    )
    assert results[0]["score"] > results[1]["score"]


@pytest.mark.parametrize("name", CHANGING)
def test_a_command_that_changes_prints_one_document(tmp_path: Path, name: str) -> None:
    arguments, keys = CHANGING[name]
    write_posts(tmp_path / "data")
    if name != "init":
        pipesched("add-cron", "old", "0 2 * * *", "--timezone", "UTC", cwd=tmp_path)
    done = pipesched(*arguments, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    if keys is None:
        assert all(json.loads(line)["schema_version"] == 1 for line in done.out.splitlines())
        return
    document = one_document(done)
    assert keys <= set(document)
    for job in [document["job"]] if "job" in document else document.get("jobs", []):
        assert set(job) >= JOB
    check_times(document)


def test_run_and_rebuild_print_their_report(tmp_path: Path) -> None:
    write_posts(tmp_path / "data")
    first = pipesched("run", "--json", cwd=tmp_path)
    assert (first.code, one_document(first)["stats"]["chunks_embedded"]) == (0, 2), first.err
    again = pipesched("rebuild", "--json", cwd=tmp_path)
    document = one_document(again)
    assert again.code == 0, again.err
    assert set(document) >= REPORT
    assert (document["mode"], document["stats"]["chunks_embedded"]) == ("rebuild", 0)


@pytest.fixture(scope="module")
def with_one_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failing")
    assert pipesched("add-cron", "old", "0 2 * * *", cwd=folder).code == 0
    return folder


@pytest.mark.parametrize(("arguments", "code", "word"), FAILING, ids=[" ".join(case[0]) for case in FAILING])
def test_a_failure_is_one_document_with_a_code_and_a_hint_and_changes_nothing(
    with_one_job: Path, arguments: list[str], code: int | None, word: str | None
) -> None:
    before = (with_one_job / "schedules.json").read_bytes()
    at = arguments.index("--") if "--" in arguments else len(arguments)
    done = pipesched(*arguments[:at], "--json", *arguments[at:], cwd=with_one_job)
    document = one_document(done)
    assert done.code == code if code is not None else done.code in {2, 77, 78}, (done.out, done.err)
    assert (with_one_job / "schedules.json").read_bytes() == before
    if arguments == ["health"]:
        return  # its own document says what is wrong
    error = document["error"]
    assert set(error) >= {"code", "message", "hint"}
    assert error["message"]
    assert error["hint"], "an error says what to do next"
    if word is not None:
        assert error["code"] == word


def test_an_unknown_job_is_met_with_the_nearest_one(with_one_job: Path) -> None:
    assert "old" in pipesched("show", "odl", "--json", cwd=with_one_job).json["error"]["hint"]


def test_an_unknown_zone_is_met_with_the_nearest_one(with_one_job: Path) -> None:
    done = pipesched("add-cron", "a", "0 2 * * *", "--timezone", "Europe/Berln", "--json", cwd=with_one_job)
    assert "Europe/Berlin" in done.json["error"]["hint"]


# Without a job file


def test_without_a_job_file_the_list_is_empty_and_the_daemon_will_not_start(tmp_path: Path) -> None:
    assert pipesched("list", "--json", cwd=tmp_path).json == {"schema_version": 1, "jobs": []}
    done = pipesched("daemon", "--json", cwd=tmp_path)
    assert (done.code, done.json["error"]["code"]) == (78, "configuration")
    assert "pipesched init" in done.json["error"]["hint"]


def test_without_a_job_file_a_run_uses_the_built_ins(tmp_path: Path) -> None:
    write_posts(tmp_path / "data")
    done = pipesched("run", "--json", "--dry-run", cwd=tmp_path)
    assert (done.code, done.json["stats"]["new_documents"]) == (0, 2), done.err
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert pipesched("run", "--json", "--dry-run", cwd=tmp_path).code == 2


ONLY_READ = [
    ["list"], ["show", "x"], ["presets"], ["next"], ["explain", "@daily"], ["history"], ["logs", "x"], ["reports"],
    ["report", "x"], ["status"], ["health"], ["search", "x"], ["verify"], ["run", "--dry-run"], ["daemon", "--once"],
    ["remove", "x", "--yes"], ["pause", "x"], ["cancel", "x"], ["edit", "x", "--tag", "y"], ["run"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", ONLY_READ, ids=" ".join)
def test_a_command_with_nothing_to_change_creates_nothing(tmp_path: Path, arguments: list[str]) -> None:
    done = pipesched(*arguments, cwd=tmp_path)
    assert "Traceback" not in done.err
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    if arguments == ["run"]:  # a failed run has its report and its row in the ledger, but touches no store
        assert done.code == 2
        assert not [path for path in left if path.startswith("db")]
        return
    assert left == []


# A damaged job file

DAMAGED = {
    "empty": b"",
    "truncated": b'{"jobs": {"1": {"id": "a"',
    "NUL": b"\0" * 512,
    "a list": b"[]",
    "not UTF-8": b'{"jobs": "\xff"}',
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_job_file_is_told_and_left_byte_for_byte(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "schedules.json"
    path.write_bytes(DAMAGED[damage])
    for arguments in (["list"], ["add-cron", "a", "0 2 * * *"], ["run"]):
        done = pipesched(*arguments, "--json", cwd=tmp_path)
        assert (done.code, done.json["error"]["code"]) == (65, "data_error"), (arguments, done)
        assert path.read_bytes() == DAMAGED[damage]


# A state folder of somebody else


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("arguments", [["run"], ["daemon", "--once", "--no-http"]], ids=" ".join)
def test_root_does_not_write_into_anothers_state_folder(tmp_path: Path, arguments: list[str]) -> None:
    write_posts(tmp_path / "data")
    pipesched("init", cwd=tmp_path)
    state = tmp_path / ".pipesched"
    state.mkdir(exist_ok=True)
    os.chown(state, NOBODY, NOBODY)
    done = pipesched(*arguments, "--json", cwd=tmp_path)
    assert (done.code, done.json["error"]["code"]) == (77, "not_permitted"), done
    assert "sudo -u nobody" in done.json["error"]["hint"]
    assert list(state.iterdir()) == []
    assert not (tmp_path / "db").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_is_warned_in_anothers_project_and_works_there_as_in_a_container(tmp_path: Path) -> None:
    write_posts(tmp_path / "data")
    os.chown(tmp_path, NOBODY, NOBODY)
    done = pipesched("run", "--json", cwd=tmp_path)
    assert (done.code, done.json["status"]) == (0, "succeeded")
    assert "sudo -u nobody" in done.err


def test_the_state_folder_is_private(indexed: Project) -> None:
    state = indexed.folder / ".pipesched"
    for path in [state, *state.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
