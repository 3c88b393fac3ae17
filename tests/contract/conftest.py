"""What the contract tests share: a command line run in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipesched.cli.main import execute
from pipesched.cli.output import Output
from support.command import Result

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`pipesched ARGUMENTS` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Europe/Riga")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = execute(arguments, Output(json="--json" in arguments))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call
