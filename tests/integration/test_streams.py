"""Every command that only reads, with streams that are closed, full or left, in a poor locale, on a narrow terminal."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipesched.cli.registry import COMMANDS
from support.command import PIPESCHED, clean_environment, pipesched

pytestmark = pytest.mark.slow

CHANGING = {
    "init", "add-cron", "add-interval", "add-once", "add-preset", "edit", "remove", "pause", "resume", "import", "cancel",
    "daemon", "notify-test", "rebuild",
}  # fmt: skip
# RUN stands for the id of a run.
READING = {
    "list": ["list"],
    "show": ["show", "due"],
    "presets": ["presets"],
    "presets NAME": ["presets", "twice_daily"],
    "next": ["next"],
    "simulate": ["simulate"],
    "explain": ["explain", "@daily"],
    "run --dry-run": ["run", "--dry-run"],
    "history": ["history"],
    "logs": ["logs", "due"],
    "reports": ["reports"],
    "report": ["report", "RUN"],
    "status": ["status"],
    "health": ["health", "--no-scheduler"],
    "doctor": ["doctor"],
    "prune --dry-run": ["prune", "--dry-run"],
    "export": ["export"],
    "export systemd": ["export", "--format", "systemd"],
    "search": ["search", "bread"],
    "verify": ["verify"],
    "completion": ["completion", "zsh"],
    "--help": ["--help"],
    "run --help": ["run", "--help"],
}
EACH = pytest.mark.parametrize("name", READING)
REFUSED = '{"jobs": [{"id": "no trigger"}]}'
"""A file of jobs of which none can be imported."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder where each of them has something to show, and the id of a run."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data").mkdir()
    (folder / "data" / "bread.md").write_text("---\ntitle: Grüße 漢字\n---\n\n# Bread\n\nFeed the starter.\n")
    for arguments in (
        ["init"],
        ["add-once", "due", "--at", "2020-01-01", "--if-past", "run", "--description", "Grüße, 漢字 🎉"],
        ["daemon", "--once", "--no-http"],
    ):
        assert pipesched(*arguments, cwd=folder).code == 0
    (run,) = pipesched("history", "due", "--json", cwd=folder).json["runs"]
    return folder, run["run_id"]


def words(name: str, run_id: str, *more: str) -> list[str]:
    return [PIPESCHED, *(run_id if word == "RUN" else word for word in READING[name]), *more]


def test_every_command_reads_or_changes() -> None:
    assert {words[0] for words in READING.values() if words[0] in COMMANDS} | CHANGING == set(COMMANDS)


@EACH
def test_a_reader_that_has_left_ends_the_command_quietly(project: tuple[Path, str], name: str) -> None:
    folder, run_id = project
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        words(name, run_id), cwd=folder, env=clean_environment(), stdout=writer, stderr=subprocess.PIPE, check=False
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 128 + signal.SIGPIPE
    assert b"Traceback" not in done.stderr
    assert b"rror" not in done.stderr


@EACH
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_stdout_is_told(project: tuple[Path, str], name: str) -> None:
    folder, run_id = project
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            words(name, run_id), cwd=folder, env=clean_environment(), stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 74, done.stderr
    assert "error: cannot write the output: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--json"],
        ["show", "nothing", "--json"],
        ["health"],
        ["--version"],
        ["import", "bad.json", "--dry-run"],
    ],
    ids=str,
)
def test_a_full_disk_behind_stdout_is_told_in_words_however_the_command_ends(
    project: tuple[Path, str], tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "bad.json").write_text(REFUSED)
    job_file = ["--file", str(project[0] / "schedules.json")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PIPESCHED, *job_file, *arguments], cwd=tmp_path, env=clean_environment(), stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 74, done.stderr
    assert "cannot write the output" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_shown_before_an_error_is_not_lost_in_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(REFUSED)
    done = subprocess.run(
        [PIPESCHED, "import", "bad.json", "--dry-run"], cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert 0 < done.stdout.find("refuse") < done.stdout.find("error: ")


def test_ctrl_c_does_not_wait_for_a_reader_that_does_not_read(tmp_path: Path) -> None:
    assert pipesched("add-cron", "often", "* * * * *", cwd=tmp_path).code == 0
    with subprocess.Popen(
        ["env", "--default-signal=INT", PIPESCHED, "next", "--count", "10000"],
        cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        while not select.select([process.stdout], [], [], 0.1)[0]:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read().startswith(b"error: interrupted by signal 2")


def test_an_error_of_the_system_that_is_not_the_outputs_is_a_bug_with_its_traceback(tmp_path: Path) -> None:
    script = """
import errno, pathlib, sys
def fails(cls):
    raise OSError(errno.ENOSPC, "No space left on device")
pathlib.Path.cwd = classmethod(fails)
from pipesched.cli.main import main
sys.argv = ["pipesched", "list", "--json"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot write the output" not in done.stderr
    assert "Traceback" in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "internal"


def test_an_unbuffered_output_fails_as_another_does(project: tuple[Path, str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            words("list", project[1]), cwd=project[0], env=clean_environment() | {"PYTHONUNBUFFERED": "1"},
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, "cannot write the output" in done.stderr) == (74, True), done.stderr


def test_a_stdin_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with (tmp_path / "only written").open("w") as stdin:
        done = subprocess.run(
            [PIPESCHED, "import", "-"], cwd=tmp_path, env=clean_environment(), stdin=stdin, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, "cannot read stdin" in done.stderr) == (74, True), done.stderr


@EACH
def test_closed_streams_change_nothing_about_the_exit_code(project: tuple[Path, str], name: str) -> None:
    folder, run_id = project
    before = sorted(folder.iterdir())
    script = 'exec "$@" <&- >&-'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words(name, run_id)],
        cwd=folder, env=clean_environment(), stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Bad file descriptor" not in done.stderr
    assert sorted(folder.iterdir()) == before


@EACH
def test_a_narrow_terminal_in_a_poor_locale_without_colour_gets_plain_ascii(
    project: tuple[Path, str], name: str
) -> None:
    folder, run_id = project
    ours, theirs = pty.openpty()
    environment = clean_environment(
        {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "40", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    )
    with subprocess.Popen(
        words(name, run_id), cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        sent = b""
        with contextlib.suppress(OSError):  # EIO is how Linux says closed
            while part := os.read(ours, 65536):
                sent += part
        os.close(ours)
    text = sent.decode("ascii")
    assert process.returncode == 0, text
    assert "\x1b" not in text
    assert "Traceback" not in text
    tables = [line for line in text.splitlines() if line.startswith(("|", "+-"))]
    assert all(len(line) <= 40 for line in tables), text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["show", "nothing"], 4), (["lst"], 2), (["export", "--format", "systemd"], 0), (["list"], 0)],
    ids=str,
)
def test_remarks_that_nobody_can_get_change_nothing_about_the_exit_code(
    project: tuple[Path, str], arguments: list[str], code: int
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PIPESCHED, *arguments], cwd=project[0], env=clean_environment(), stdout=subprocess.PIPE, stderr=full, check=False
        )  # fmt: skip
        assert done.returncode == code
        done = subprocess.run(
            [PIPESCHED, *arguments], cwd=project[0], env=clean_environment(), stdout=full, stderr=full, check=False
        )  # fmt: skip
        assert done.returncode == (code or 74)
