"""What README.md tells a new user to type works as it stands there."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipesched.cli.registry import COMMANDS
from support.command import PIPESCHED, clean_environment, pipesched, shell

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def shell_blocks(title: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL)
    assert blocks, title
    return blocks


@pytest.fixture(scope="module")
def blog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A blog's folder, with its posts where the README has them."""
    folder = tmp_path_factory.mktemp("blog")
    shutil.copytree(ROOT / "examples" / "blog", folder / "content" / "posts")
    return folder


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    (block,) = shell_blocks("Two commands")
    targets = re.findall(r"^make (\w+)", block, re.MULTILINE)
    assert targets == ["demo", "test"]
    done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_five_things_people_do_first_work_in_their_order(blog: Path) -> None:
    blocks = shell_blocks("The five things people do first")
    assert len(blocks) == 5
    index, ask, schedule, start, well = blocks
    done = shell(index, blog)
    assert done.returncode == 0, done.stderr
    assert "12 new" in done.stdout
    done = shell(ask, blog)
    assert done.returncode == 0, done.stderr
    assert "From cron to systemd timers" in done.stdout.splitlines()[0]
    done = shell(schedule, blog)
    assert done.returncode == 0, done.stderr
    jobs = pipesched("list", "--json", cwd=blog).json["jobs"]
    assert {job["id"]: job["timezone"] for job in jobs}["nightly"] == "Europe/Berlin"
    assert start == "pipesched daemon\n"
    with daemon(blog):
        done = shell(well, blog)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "health: pass" in done.stdout


class daemon:  # noqa: N801  reads as the command it stands for
    """`pipesched daemon`, on a port that is free, from when it says that it runs until SIGTERM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.process = subprocess.Popen(
            [PIPESCHED, "daemon", "--http", "127.0.0.1:0"],
            cwd=self.folder,
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 30
        while not pipesched("status", "--json", cwd=self.folder).json["scheduler_running"]:
            assert time.monotonic() < deadline, "the daemon did not start"

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=60)
        assert "Traceback" not in err


def test_the_script_for_ci_says_what_is_wrong_and_not_more(blog: Path) -> None:
    (block,) = shell_blocks("In scripts and CI")
    done = shell(block, blog)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cannot" not in done.stdout
    broken = blog / "content" / "posts" / "broken.md"
    broken.write_text("---\ntitle: [\n---\n")
    done = shell(block, blog)
    broken.unlink()
    assert "some posts cannot be indexed" in done.stdout
    assert done.returncode == 0


def test_the_example_output_of_the_demo_is_what_it_prints() -> None:
    example = re.search(r"^```text\n(.*?)^```", section("Two commands"), re.MULTILINE | re.DOTALL)
    assert example is not None
    assert "12 documents" in example[1]
    assert "Keeping a sourdough starter alive" in example[1]


def rows() -> Iterator[tuple[str, str, str]]:
    """Each row of the feature tables: what one wants (or had), what it is here, where to read on."""
    for line in section("What it does").splitlines():
        if line.startswith("| ") and not line.startswith(("| you want", "| there")):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
            assert len(cells) == 3, line
            yield cells[0], cells[1], cells[2]


def test_what_the_feature_tables_name_exists() -> None:
    options = {option for name in COMMANDS for option in re.findall(r"--[a-z][a-z-]+", pipesched_help(name))}
    options |= {"--log-level", "--log-format", "--json"}  # before the command, or of each
    assert len(list(rows())) > 30
    for _, uses, _ in rows():
        for code in re.findall(r"`([^`]+)`", uses):
            first = code.split()[0]
            if re.fullmatch(r"[a-z]+(-[a-z]+)*", first):
                assert first in COMMANDS, code
            assert set(re.findall(r"--[a-z][a-z-]+", code)) <= options, code


def test_each_feature_says_where_to_read_on() -> None:
    assert [
        wanted for wanted, _, more in rows() if not re.fullmatch(r"(\[[^\]]+\]\(docs/[^)]+\)(, )?)+", more)
    ] == []


def pipesched_help(name: str) -> str:
    from pipesched.cli.commands import build

    command = build(COMMANDS[name])
    return command.get_help(command.context_class(command, info_name=name, terminal_width=200))


def test_every_command_is_named() -> None:
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))
    named = {word for span in spans for word in span.removeprefix("pipesched ").split()[:1]}
    named |= set(re.findall(r"^(?:pipesched|make) ([a-z-]+)", README, re.MULTILINE))
    assert set(COMMANDS) - named == set()
