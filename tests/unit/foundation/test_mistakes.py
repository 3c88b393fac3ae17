"""Every mistake on the command line: exit 2, what is wrong, what to do; as text and as JSON."""

import json
from pathlib import Path

import pytest

from pipesched.cli.main import execute
from pipesched.cli.output import Output


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_logging: None) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["lst"], "there is no command 'lst'; did you mean list?", "see pipesched --help"),
        (["run", "--chunksize", "4"], "--chunk-size", "see pipesched run --help"),
        (["run", "--chunk-size"], "requires an argument", "see pipesched run --help"),
        (["run", "--chunk-size", "many"], "chunk", "see pipesched run --help"),
        (["run", "a", "b"], "unexpected extra argument", "see pipesched run --help"),
        (["search"], "QUERY", "see pipesched search --help"),
        (["list", "--file", "x"], "--file comes before the command", "pipesched --file ... list"),
        (["--log-level", "LOUD", "list"], "--log-level: there is no level 'LOUD'", "one of DEBUG"),
        (["--log-format", "xml", "list"], "--log-format: 'xml'", "use text or json"),
        (["--file", "", "list"], "--file: an empty path", "leave the option out"),
        (["--nope"], "--nope", "see pipesched --help"),
    ],
)
def test_a_mistake_on_the_command_line_exits_2_with_a_hint_as_text_and_as_json(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str, hint: str
) -> None:
    assert execute(arguments, Output()) == 2
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert out == ""
    assert first.startswith("error: ")
    assert message.lower() in first.lower()
    assert second.startswith(f"hint: {hint}")
    assert execute(arguments, Output(json=True)) == 2
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(out)
    assert document["schema_version"] == 1
    assert document["error"]["code"] in {"usage", "invalid_value"}
    assert set(document["error"]) == {"code", "message", "hint"}
