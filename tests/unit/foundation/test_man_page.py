"""The manual page: current, complete, and clean for the formatters that are there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pipesched.cli.registry import COMMANDS
from pipesched.options import PIPELINE_OPTIONS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "man" / "pipesched.1"
LINTERS = {
    "groff": ["groff", "-man", "-ww", "-rCHECKSTYLE=10", "-z", str(PAGE)],
    "mandoc": ["mandoc", "-T", "lint", "-W", "warning", str(PAGE)],
    "man": ["man", "--warnings", "-l", str(PAGE)],
}


def test_it_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/man_page.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert PAGE.read_text() == done.stdout, "make docs"


def test_it_has_every_command_and_pipeline_option() -> None:
    page = PAGE.read_text().replace("\\-", "-")
    assert [name for name in COMMANDS if f".SS pipesched {name}" not in page] == []
    assert [name for name in PIPELINE_OPTIONS if f"\\fB--{name.replace('_', '-')}" not in page] == []
    assert page.isascii()


def test_the_formatters_that_are_there_have_nothing_to_say_about_it() -> None:
    environment = {"PATH": os.defpath, "MANPAGER": "cat", "LC_ALL": "C.UTF-8"}
    for name, command in LINTERS.items():
        if shutil.which(name) is None:
            continue
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (0, ""), name
        assert name != "mandoc" or done.stdout == ""
