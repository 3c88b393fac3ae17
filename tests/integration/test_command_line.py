"""The installed command as a shell starts it: parsing, errors, streams, locales, signals."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipesched import __version__
from pipesched.cli.registry import COMMANDS
from support.command import PIPESCHED, Result, clean_environment, pipesched

DESCRIPTION = "Grüße, 漢字 🎉 \x9b31mred\x9b0m"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with one job, whose description is hard to print."""
    added = pipesched("add-cron", "nightly", "0 2 * * *", "--description", DESCRIPTION, cwd=tmp_path)
    assert added.code == 0, added.err
    return tmp_path


def on_a_terminal(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit status and what a terminal of 40 columns is sent."""
    ours, theirs = pty.openpty()
    environment = clean_environment({"TERM": "xterm-256color", "COLUMNS": "40", **(env or {})})
    with subprocess.Popen(
        [PIPESCHED, *arguments], cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        sent = rest_of(ours)
    return process.returncode, sent.decode()


def rest_of(terminal: int) -> bytes:
    """What is still sent to a terminal until the other side is closed."""
    sent = b""
    with contextlib.suppress(OSError):  # EIO is how Linux says closed
        while part := os.read(terminal, 65536):
            sent += part
    os.close(terminal)
    return sent


def test_version(tmp_path: Path) -> None:
    assert pipesched("--version", cwd=tmp_path) == Result(0, f"pipesched {__version__}\n", "")
    for arguments in (("--version", "--json"), ("--json", "--version")):
        assert pipesched(*arguments, cwd=tmp_path).json == {"schema_version": 1, "version": __version__}


def test_help_names_every_command_and_goes_to_stdout(tmp_path: Path) -> None:
    for flag in ("--help", "-h"):
        done = pipesched(flag, cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        assert [name for name in COMMANDS if f"  {name} " not in done.out] == []


def test_no_command_is_a_mistake_that_shows_the_help_on_stderr(tmp_path: Path) -> None:
    done = pipesched(cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "Usage: pipesched" in done.err


def test_a_mistake_exits_2_with_a_hint_as_text_and_as_json(tmp_path: Path) -> None:
    # The many kinds of them: tests/unit/foundation/test_mistakes.py.
    text = pipesched("lst", cwd=tmp_path)
    assert text == Result(
        2, "", "error: there is no command 'lst'; did you mean list?\nhint: see pipesched --help\n"
    )
    told = pipesched("lst", "--json", cwd=tmp_path)
    assert (told.code, told.err, set(told.json)) == (2, "", {"schema_version", "error"})


def test_nothing_was_created_by_mistakes_and_questions(tmp_path: Path) -> None:
    for arguments in (["--help"], ["lst"], ["show", "x"]):
        pipesched(*arguments, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("streams", ["stdout", "both"])
def test_a_reader_that_left_gets_no_traceback(project: Path, streams: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [PIPESCHED, "list"],
        cwd=project,
        env=clean_environment(),
        stdout=writer,
        stderr=subprocess.PIPE if streams == "stdout" else writer,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 128 + signal.SIGPIPE
    assert not done.stderr


def test_closed_streams_hurt_nobody_and_no_file_takes_their_place(tmp_path: Path) -> None:
    script = f"exec {PIPESCHED} init <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=clean_environment(), check=False)
    assert done.returncode == 0
    assert len(json.loads((tmp_path / "schedules.json").read_text())["jobs"]) == 3
    assert (
        subprocess.run(["sh", "-c", script], cwd=tmp_path, env=clean_environment(), check=False).returncode
        == 73
    )


@pytest.mark.parametrize(
    "locale", [{"LANG": "C"}, {"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}], ids=str
)
def test_a_poor_locale_costs_no_traceback_and_no_data(project: Path, locale: dict[str, str]) -> None:
    shown = pipesched("show", "nightly", cwd=project, env=locale)
    assert shown.code == 0, shown.err
    assert "\x9b" not in shown.out
    told = pipesched("show", "nightly", "--json", cwd=project, env=locale)
    assert told.json["job"]["description"] == DESCRIPTION


@pytest.mark.parametrize(
    ("name", "locale"),
    [
        ("é".encode(), {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        (b"a\xffb", {"LC_ALL": "C.UTF-8"}),
    ],
    ids=["ASCII locale", "no UTF-8"],
)
def test_a_folder_whose_name_is_no_text_here_is_worked_in_and_not_indexed(
    tmp_path: Path, name: bytes, locale: dict[str, str]
) -> None:
    home = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    (home / "data").mkdir(parents=True)
    (home / "data" / "a.md").write_text("# A\n\nText.\n")
    assert pipesched("init", cwd=home, env=locale).code == 0
    ran = pipesched("run", "--json", cwd=home, env=locale)
    assert ran.code == 2, ran.err
    assert "is not UTF-8 here" in ran.json["errors"][0]["message"]
    for command in (["list"], ["prune", "--dry-run"]):  # they open the ledger that the run made
        done = pipesched(*command, cwd=home, env=locale)
        assert done.code == 0, done.err
    found = pipesched("doctor", "--json", cwd=home, env=locale)
    assert found.code == 1, found.err
    assert any("is not UTF-8 here" in check["message"] for check in found.json["checks"].values())


def test_a_pipe_gets_no_escape_sequences_and_a_narrow_terminal_no_overlong_lines(project: Path) -> None:
    assert "\x1b" not in pipesched("list", cwd=project, env={"FORCE_COLOR": "1"}).out
    code, sent = on_a_terminal("list", cwd=project)
    assert code == 0
    assert "\x1b[" in sent
    code, plain = on_a_terminal("list", cwd=project, env={"NO_COLOR": "1"})
    assert code == 0
    assert "\x1b" not in plain
    assert "\x1b" not in on_a_terminal("--no-color", "list", cwd=project)[1]
    assert max(len(line) for line in plain.splitlines()) <= 40


def test_help_fits_a_narrow_terminal(tmp_path: Path) -> None:
    done = pipesched("--help", cwd=tmp_path, env={"COLUMNS": "40"})
    assert done.code == 0
    assert [name for name in COMMANDS if name not in done.out] == []


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [(None, 130, "interrupted"), (b"n\n", 1, "nothing was"), (b"\x04", 1, "nothing was")],
    ids=["Ctrl-C", "no", "Ctrl-D"],
)
def test_a_question_that_is_not_answered_with_yes_changes_nothing(
    project: Path, answer: bytes | None, code: int, said: str
) -> None:
    before = (project / "schedules.json").read_bytes()
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        # What runs in the background of a shell has SIGINT ignored, and hands that on.
        ["env", "--default-signal=INT", PIPESCHED, "remove", "nightly"],
        cwd=project,
        env=clean_environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while b"Remove nightly?" not in shown:
            shown += os.read(ours, 1024)
        if answer is None:
            # Again, should Python have been just between its last look for signals and the read.
            while process.poll() is None:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
        else:
            os.write(ours, answer)
        shown += rest_of(ours)
    assert process.returncode == code, shown
    assert said in shown.decode()
    assert "Traceback" not in shown.decode()
    assert (project / "schedules.json").read_bytes() == before


def test_a_current_folder_that_is_gone_is_told_and_no_traceback(tmp_path: Path) -> None:
    script = f"mkdir gone && cd gone && rmdir ../gone && exec {PIPESCHED} list --json"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 74, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "io_error"
    assert "Traceback" not in done.stderr


def test_a_bug_is_loud_and_still_json(tmp_path: Path) -> None:
    code = (
        "import sys; from pipesched.cli.main import main; sys.modules['pipesched.cli.listing'] = None;"
        "sys.argv[1:] = ['list', '--json']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "internal"
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["status"], ["list", "--json"], ["nonsense", "--json"], ["health"], ["run", "--json"]]
)
def test_the_token_is_never_echoed(project: Path, arguments: list[str]) -> None:
    secret = "hunter2-very-secret"
    done = pipesched("--log-level", "DEBUG", *arguments, cwd=project, env={"PIPESCHED_HTTP_TOKEN": secret})
    assert secret not in done.out + done.err
    for path in project.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


def test_log_lines_are_json_when_asked_for(project: Path) -> None:
    done = pipesched(
        "--log-level", "debug", "--log-format", "json", "run", "--data-dir", "nowhere", cwd=project
    )
    assert done.code == 2
    lines = [line for line in done.err.splitlines() if line.startswith("{")]
    assert all({"time", "level", "logger", "message"} <= set(json.loads(line)) for line in lines)
