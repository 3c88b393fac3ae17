"""Moving in and out through the installed command: what comes back, what is not overwritten, what nobody can smuggle in."""

import json
import os
import stat
from pathlib import Path

import pytest

from support.command import pipesched


def test_defaults_that_one_job_spells_out_and_another_inherits_come_along_into_an_empty_folder(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    defaults = {"1": {"timezone": "Europe/Riga", "config": {"data_dir": "posts", "chunk_size": 700}}}
    (old / "schedules.json").write_text(json.dumps({"meta": {}, "defaults": defaults, "jobs": {}}))
    assert pipesched("add-cron", "inherits", "0 2 * * *", cwd=old).code == 0
    assert pipesched("add-cron", "says", "0 3 * * *", "--data-dir", "posts", cwd=old).code == 0
    assert pipesched("export", str(tmp_path / "jobs.json"), cwd=old).code == 0
    assert pipesched("import", "../jobs.json", "--dry-run", cwd=new).code == 0
    assert not (new / "schedules.json").exists()
    imported = pipesched("import", "../jobs.json", cwd=new)
    assert imported.code == 0, imported.err
    for folder in (old, new):
        jobs = pipesched("list", "--json", cwd=folder).json["jobs"]
        assert [(job["id"], job["effective_config"]["chunk_size"]) for job in jobs] == [
            ("inherits", 700),
            ("says", 700),
        ]
    again = pipesched("export", str(tmp_path / "again.json"), cwd=new)
    assert again.code == 0
    assert json.loads((tmp_path / "again.json").read_text())["defaults"] == defaults["1"] | {}


@pytest.mark.parametrize("form", ["json", "crontab", "kubernetes", "systemd"])
def test_an_export_puts_no_file_in_the_place_of_a_pipe(tmp_path: Path, form: str) -> None:
    assert pipesched("add-interval", "often", "--every", "30m", cwd=tmp_path).code == 0
    os.mkfifo(tmp_path / "pipe")
    refused = pipesched("export", "pipe", "--format", form, cwd=tmp_path)
    assert refused.code in {2, 73}, refused.out
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_init_puts_no_file_in_the_place_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused = pipesched("--file", "pipe", "init", "--force", cwd=tmp_path)
    assert (refused.code, "no regular file" in refused.err) == (73, True)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_what_no_file_of_jobs_can_be_is_not_read_to_its_end(tmp_path: Path) -> None:
    endless = pipesched("import", "/dev/zero", "--json", cwd=tmp_path)
    assert (endless.code, endless.json["error"]["code"]) == (65, "data_error")
    assert "larger than 64 MiB" in endless.json["error"]["message"]


def test_a_hint_of_an_import_can_be_typed(tmp_path: Path) -> None:
    jobs = [
        {"id": f"x{number}", "trigger": {"expression": "0 2 * * *"}, "policy": {"after": [f"x{3 - number}"]}}
        for number in (1, 2)
    ]
    (tmp_path / "jobs.json").write_text(json.dumps({"jobs": jobs, "schema_version": 1}))
    refused = pipesched("import", "jobs.json", cwd=tmp_path)
    assert refused.code == 2
    assert "--unset after" in refused.err


def test_a_file_name_gives_a_runner_of_github_no_command(tmp_path: Path) -> None:
    posts = tmp_path / "posts"
    posts.mkdir()
    for name in ("x\n::warning::smuggled.md", "##[stop-commands]token.md"):
        (posts / name).write_text("---\ntitle: [x\n---\n")
    actions = {"GITHUB_ACTIONS": "true"}
    run = pipesched("run", "--dry-run", "--ci-mode", "--data-dir", "posts", cwd=tmp_path, env=actions)
    assert run.code == 3
    lines = (run.out + run.err).splitlines()
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert len(commands) == 2
    assert all(line.startswith("::error title=pipesched ") for line in commands)
    assert not any("##[" in line for line in lines)
    told = pipesched("run", "--dry-run", "--data-dir", "posts", "--json", cwd=tmp_path, env=actions)
    assert "##[" not in told.out
    assert "##[stop-commands]token.md" in {each["source"] for each in told.json["errors"]}


def test_a_refused_run_leaves_no_summary_of_the_run_before(tmp_path: Path) -> None:
    (tmp_path / "posts").mkdir()
    summary = tmp_path / "output" / "ci_summary.json"
    good = ("run", "--dry-run", "--ci-mode", "--data-dir", "posts")
    for code, refused in ((2, (*good, "--chunk-size", "1")), (4, ("run", "nobody", "--ci-mode"))):
        assert pipesched(*good, cwd=tmp_path).code == 0
        assert summary.exists()
        assert pipesched(*refused, cwd=tmp_path).code == code
        assert not summary.exists()


def test_no_password_gets_into_a_job_by_its_store_nor_is_one_shown(tmp_path: Path) -> None:
    store = "http://me:CANARY@host:8000"
    job = ("add-interval", "often", "--every", "30m")
    refused = pipesched(*job, "--storage-path", store, cwd=tmp_path)
    assert (refused.code, "do not belong into it" in refused.err) == (2, True)
    assert not (tmp_path / "schedules.json").exists()
    told = [refused, pipesched("run", cwd=tmp_path, env={"PIPESCHED_STORAGE_PATH": store})]
    assert pipesched(*job, cwd=tmp_path).code == 0
    file = tmp_path / "schedules.json"
    document = json.loads(file.read_text())
    document["jobs"]["1"]["config"] = {"storage_path": store}
    file.write_text(json.dumps(document))
    told += [pipesched(command, "--json", cwd=tmp_path) for command in ("list", "health", "status", "doctor")]
    assert "do not belong into it" in told[-3].out
    for each in told:
        assert "CANARY" not in each.out + each.err, each
