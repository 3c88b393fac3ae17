"""Completion as shells ask for it: a real bash, and the others by what their scripts send."""

import contextlib
import os
import pty
import resource
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer._completion_classes import BashComplete

from pipesched.cli.main import application
from pipesched.cli.registry import COMMANDS
from pipesched.settings import ENV_COMPLETE
from support.command import PIPESCHED, clean_environment, pipesched

BASH = shutil.which("bash")
PATH = f"{Path(PIPESCHED).parent}:{os.environ['PATH']}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs, one of which has run, and a preset of its own."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data").mkdir()
    (folder / "data" / "bread.md").write_text("# Bread\n\nText.\n")
    for job_id in ("nightly", "nightly-full", "weekly"):
        assert pipesched("add-cron", job_id, "0 2 * * *", "--timezone", "UTC", cwd=folder).code == 0
    (folder / "presets").mkdir()
    (folder / "presets" / "newsletter.toml").write_text("")
    assert pipesched("run", "nightly", "--dry-run", cwd=folder).code == 0
    return folder


def words_for(*words: str) -> set[str]:
    """What is found for the last of `words`, in this process and the current folder."""
    group: Any = typer.main.get_command(application)
    found = BashComplete(group, {}, "pipesched", ENV_COMPLETE).get_completions(list(words[:-1]), words[-1])
    return {item.value for item in found}


def complete(*words: str, cwd: Path, **env: str) -> list[str]:
    """What the script that `completion bash` prints gives in a real bash."""
    script = (
        'source <(pipesched completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        ' _pipesched_completion pipesched; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script, "bash", "pipesched", *words],
        cwd=cwd, env=clean_environment({"PATH": PATH, **env}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


needs_bash = pytest.mark.skipif(BASH is None, reason="there is no bash")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ver"], {"verify"}),
        (["--lo"], {"--log-level", "--log-format"}),
        (["show", ""], {"nightly", "nightly-full", "weekly"}),
        (["show", "nightly-"], {"nightly-full"}),
        (["remove", "weekly", "n"], {"nightly", "nightly-full"}),
        (["run", "--job"], set()),
        (["verify", "--job", "w"], {"weekly"}),
        (["edit", "nightly", "--after", "weekl"], {"weekly"}),
        (["edit", "nightly", "--timezone", "Europe/Rig"], {"Europe/Riga"}),
        (["run", "--incremental-mode", ""], {"auto", "incremental", "full"}),
        (["run", "--chunk-s"], {"--chunk-size"}),
        (["presets", "news"], {"newsletter"}),
        (["add-preset", "daily"], {"daily_2am"}),
        (["add-cron", "night"], set()),
        (["history", "--status", "lo"], {"lost"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
    ids=lambda value: " ".join(sorted(value) if isinstance(value, set) else value),
)  # fmt: skip
def test_each_word_is_completed_from_what_there_is(
    project: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], found: set[str]
) -> None:
    monkeypatch.chdir(project)
    assert words_for(*words) == found


def test_run_ids_and_report_names_are_completed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (run,) = pipesched("history", "--json", cwd=project).json["runs"]
    (report,) = pipesched("reports", "--json", cwd=project).json["reports"]
    assert words_for("report", "") == {report["filename"], report["run_id"]}
    assert words_for("logs", run["run_id"][:8]) == {run["run_id"]}
    assert words_for("cancel", "") == set()  # it has ended


@needs_bash
def test_a_real_bash_completes_and_heeds_global_options(project: Path, tmp_path: Path) -> None:
    assert complete("--file", str(project / "schedules.json"), "show", "we", cwd=tmp_path) == ["weekly"]
    assert complete("show", "night", cwd=project) == ["nightly", "nightly-full"]
    assert complete("nonsense", "", cwd=project) == []
    assert list(tmp_path.iterdir()) == []


def test_the_job_file_of_the_environment_is_heeded(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words_for("show", "we") == set()
    monkeypatch.setenv("PIPESCHED_FILE", str(project / "schedules.json"))
    assert words_for("show", "we") == {"weekly"}


@needs_bash
def test_a_key_pressed_in_an_interactive_bash_completes_the_job(project: Path) -> None:
    ours, theirs = pty.openpty()
    environment = clean_environment({"PATH": PATH, "TERM": "dumb", "PS1": "$ ", "INPUTRC": os.devnull})
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=project, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ):  # fmt: skip
        os.close(theirs)
        os.write(ours, b"source <(pipesched completion bash)\necho rea''dy\n")
        seen = read_until(ours, b"ready\r\n")
        os.write(ours, b"echo pipesched; pipesched show wee\t")
        seen += read_until(ours, b"show weekly ")
        os.write(ours, b"\x03\nexit\n")
        seen += read_until(ours, None)
    assert b"Traceback" not in seen


def read_until(terminal: int, wanted: bytes | None) -> bytes:
    seen = b""
    with contextlib.suppress(OSError):
        while wanted is None or wanted not in seen:
            part = os.read(terminal, 4096)
            if not part:
                break
            seen += part
    assert wanted is None or wanted in seen, seen
    return seen


def ask(shell: str, words: str, *, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """As zsh's and fish's scripts do."""
    return subprocess.run(
        [PIPESCHED],
        cwd=cwd,
        env=clean_environment(
            {"_PIPESCHED_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words, **env}
        ),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_zsh_gets_what_it_evaluates_and_fish_one_a_line(project: Path) -> None:
    done = ask("zsh", "pipesched show nightly-", cwd=project)
    assert (done.stdout, done.stderr) == ("_arguments '*: :((\"nightly-full\"))'\n", "")
    assert ask("zsh", "pipesched import ", cwd=project).stdout == "_files\n"
    done = ask("fish", "pipesched veri", cwd=project, _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert done.stdout == f"verify\t{COMMANDS['verify'].help}\n"
    assert ask("fish", "pipesched show ", cwd=project, _TYPER_COMPLETE_FISH_ACTION="is-args").returncode == 0
    assert (
        ask("fish", "pipesched import ", cwd=project, _TYPER_COMPLETE_FISH_ACTION="is-args").returncode == 1
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_printed_script_is_one_that_its_shell_takes(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(pipesched("completion", shell, cwd=tmp_path).out)
    assert f"_PIPESCHED_COMPLETE=complete_{shell}" in script.read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


@pytest.mark.parametrize(
    "damage",
    [b"{", b'{"jobs": 3}', b"\xff", b'{"jobs": {"1": {"id": 4}, "2": 5}}'],
    ids=["torn", "shape", "bytes", "ids"],
)
def test_nothing_is_said_whatever_is_wrong(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "schedules.json").write_bytes(damage)
    (tmp_path / ".pipesched").mkdir(mode=0o700)
    (tmp_path / ".pipesched" / "ledger.sqlite3").write_bytes(
        b"no database, but long enough to look like one" * 99
    )
    for words in ("pipesched logs ", "pipesched 'unclosed "):
        done = ask("fish", words, cwd=tmp_path, _TYPER_COMPLETE_FISH_ACTION="get-args")
        assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_shell_that_is_not_known_gets_nothing(tmp_path: Path) -> None:
    done = ask("unheard-of", "pipesched show ", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("", "")


def test_an_answer_is_there_before_anybody_waits_for_it(project: Path) -> None:
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        ask("fish", "pipesched show ", cwd=project, _TYPER_COMPLETE_FISH_ACTION="get-args")
        wall = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time, should the machine have been busy with something else.
        spent.append(min(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime))
    assert min(spent) < 0.3
