"""What the installed program writes on stderr: JSON that a collector can read to the last line, priorities for the journal, reasons."""

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from support.command import PIPESCHED, Result, clean_environment, pipesched


def entries(text: str) -> list[dict[str, Any]]:
    """Each line is one, whole."""
    found = [json.loads(line) for line in text.splitlines()]
    for entry in found:
        assert datetime.fromisoformat(entry["time"]).tzinfo is not None
        assert entry["level"] in {"debug", "info", "warning", "error", "critical"}
        assert entry["logger"]
        assert entry["message"]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`good` and `bad` are due, and `later` is not."""
    (tmp_path / "posts").mkdir()
    (tmp_path / "posts" / "one.md").write_text("# One")
    past = ("--at", "2026-01-01 09:00", "--timezone", "UTC", "--if-past", "run", "--dry-run")
    pipesched("add-once", "good", *past, "--data-dir", "posts", cwd=tmp_path)
    pipesched("add-once", "bad", *past, "--data-dir", "none", "--storage-path", "elsewhere", cwd=tmp_path)
    pipesched("add-cron", "later", "@yearly", "--timezone", "UTC", "--storage-path", "third", cwd=tmp_path)
    return tmp_path


def once(folder: Path, *options: str) -> tuple[Result, dict[str, str], dict[str, str]]:
    """The daemon's words, and by job the id and the log of its run."""
    done = pipesched(*options, "daemon", "--once", cwd=folder)
    ids, logs = {}, {}
    for path in (folder / ".pipesched" / "logs").glob("*.log"):
        job = path.name.rpartition("-")[0].rpartition("-")[2]
        ids[job], logs[job] = path.stem, path.read_text()
    return done, ids, logs


def test_a_log_level_that_is_none_counts_as_not_given(folder: Path) -> None:
    done = pipesched("daemon", "--once", "--no-http", cwd=folder, env={"LOG_LEVEL": "loud"})
    assert " INFO pipesched" in done.err


def test_every_line_of_a_daemon_and_its_runs_is_json_with_the_ids_of_job_and_run(folder: Path) -> None:
    done, ids, logs = once(folder, "--log-format", "json", "--log-level", "DEBUG")
    assert (done.code, done.out) == (1, "")
    daemon = entries(done.err)
    for job, run_id in ids.items():
        assert {entry["job_id"] for entry in daemon if entry.get("run_id") == run_id} == {job}
        run = entries(logs[job])
        assert {(entry["job_id"], entry["run_id"]) for entry in run} == {(job, run_id)}
    failed = [entry for entry in entries(logs["bad"]) if entry["level"] == "error"]
    assert failed[0]["message"].startswith("the data folder")
    traces = [entry for entry in entries(logs["bad"]) if "traceback" in entry]
    assert traces[0]["exception_type"] == "DataDirMissing"
    assert traces[0]["exception_message"].startswith("the data folder")
    assert "Traceback" in traces[0]["traceback"]


def test_at_debug_a_daemon_says_why_each_job_fires_or_does_not(folder: Path) -> None:
    done, ids, _ = once(folder, "--log-level", "DEBUG")
    said = done.err
    assert f"job good: fires for 2026-01-01T09:00:00+00:00 as run {ids['good']}: " in said
    assert "job later: nothing to do: looked at again at 2027-01-01T00:00:00+00:00" in said


def test_an_error_is_a_json_line_too(tmp_path: Path) -> None:
    done = pipesched("--log-format", "json", "run", "nobody", "--run-id", "r1", cwd=tmp_path)
    assert done.code == 4
    error, hint = entries(done.err)
    assert (error["level"], hint["level"]) == ("error", "info")
    assert (error["job_id"], error["run_id"]) == ("nobody", "r1")
    assert hint["message"].startswith("hint: ")


def test_a_bug_and_a_packages_warning_are_json_lines_too(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(
        "import sys, warnings\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'pipesched.cli.listing':\n"
        "            warnings.warn('old \\x1b[2J', UserWarning)\n"
        "            raise ZeroDivisionError('a\\nbug')\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    env = {"PYTHONPATH": str(tmp_path / "broken"), "PYTHONWARNINGS": "default"}
    done = pipesched("--log-format", "json", "list", cwd=tmp_path, env=env)
    warned, bug, *_ = entries(done.err)
    assert done.code == 1
    assert (warned["level"], warned["logger"]) == ("warning", "py.warnings")
    assert (bug["level"], bug["exception_type"]) == ("critical", "ZeroDivisionError")
    assert bug["exception_message"] == "a\nbug"


def test_a_level_from_the_environment_holds_in_ci_mode_too(folder: Path) -> None:
    command = ("run", "good", "--ci-mode", "--no-dry-run")
    quiet = pipesched(*command, cwd=folder, env={"LOG_LEVEL": "ERROR"})
    assert (quiet.code, quiet.err) == (0, "")
    assert " INFO " in pipesched(*command, cwd=folder).err


@pytest.mark.parametrize("style", ["text", "json"])
def test_lines_that_the_journal_reads_have_their_priority(folder: Path, style: str) -> None:
    def said(journal: str) -> list[str]:
        reader, writer = os.pipe()
        info = os.fstat(writer)
        environment = clean_environment(
            {"JOURNAL_STREAM": journal.format(device=info.st_dev, inode=info.st_ino)}
        )
        command = [PIPESCHED, "--log-format", style, "--log-level", "DEBUG", "run", "bad", "--no-dry-run"]
        subprocess.run(command, cwd=folder, env=environment, stderr=writer, check=False, timeout=60)
        os.close(writer)
        with os.fdopen(reader) as file:
            return file.read().splitlines()

    lines = said("{device}:{inode}")
    assert all(line[0] == "<" and line[2] == ">" for line in lines)
    assert {line[1] for line in lines} == {"7", "3", "6"}  # the traceback, the error, its hint
    assert any(line.startswith("<3>") and "the data folder" in line for line in lines)
    if style == "json":
        entries("\n".join(line[3:] for line in lines))
    else:
        assert all(not line[3:].startswith("20") for line in lines), "the journal has its own time"
        assert sum(line.startswith("<7>") for line in lines) > 5, "each line of a traceback"
    assert not any(line.startswith("<") for line in said("8:{inode}1"))
