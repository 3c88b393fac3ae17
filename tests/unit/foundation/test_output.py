"""What is printed, byte by byte: plain in a pipe, harmless on a terminal, JSON in any locale."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.cli.output import Output
from pipesched.cli.printable import json_line, printable

HARMLESS = set("\t\n")


@given(st.text())
def test_nothing_printable_steers_a_terminal_or_fails_to_encode(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert not [c for c in shown if (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0) and c not in HARMLESS]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 🎉", "plain é 漢 🎉"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\x0db"),
        ("evil\u202egpj.exe", "evil\\u202egpj.exe"),
        ("lone \udcff", "lone \\udcff"),
    ],
)
def test_what_steers_a_terminal_is_shown_by_its_number(text: str, shown: str) -> None:
    assert printable(text) == shown


class Pipe(io.TextIOWrapper):
    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="\n")

    def bytes(self) -> bytes:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue()


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.text())))
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "utf-16"])
def test_a_document_is_one_line_of_json_in_any_encoding(encoding: str, data: dict[str, object]) -> None:
    pipe = Pipe(encoding)
    line = json_line(data, pipe)
    assert "\n" not in line
    pipe.write(line)
    text = pipe.bytes().decode(encoding)
    assert json.loads(text) == data
    assert not [c for c in text if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0]


def test_a_number_that_json_lacks_is_a_bug_and_not_printed() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_line({"score": float("nan")}, sys.stdout)


def test_a_document_starts_with_its_schema_version(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json=True)
    out.document({"jobs": []})
    assert capsys.readouterr().out == '{"schema_version": 1, "jobs": []}\n'
    assert out.documents == 1


def test_under_json_only_documents_reach_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json=True)
    out.line("a line")
    out.table(("a",), [("1",)])
    out.note("a remark")
    assert capsys.readouterr() == ("", "a remark\n")


def test_a_table_in_a_pipe_is_aligned_text_without_trailing_spaces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output().table(("id", "next"), [("nightly", "02:00"), ("a\nb", "\x1b[2J")])
    assert capsys.readouterr().out == "id       next\nnightly  02:00\na b      \\x1b[2J\n"


def test_an_empty_table_is_a_remark_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("id",), [], empty="no jobs yet")
    assert capsys.readouterr() == ("", "no jobs yet\n")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("color", "escapes"), [(True, True), (False, False)])
def test_a_terminal_gets_colour_unless_it_was_declined(
    monkeypatch: pytest.MonkeyPatch, *, color: bool, escapes: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(color=color).table(("id", "next"), [("[bold]nightly[/bold] \x1b[2J", "02:00")])
    shown = terminal.getvalue()
    assert ("\x1b[" in shown) is escapes
    assert "[bold]nightly[/bold] \\x1b[2J" in shown


def test_a_narrow_terminal_folds_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(color=False).table(("job", "what"), [("nightly", "x" * 100)])
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert terminal.getvalue().count("x") == 100
