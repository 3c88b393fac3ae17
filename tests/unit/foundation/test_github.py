"""What GitHub Actions shows of a run: each character that means something to it arrives as it was."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.cli.app import App
from pipesched.cli.execution import Executed
from pipesched.cli.github import ANNOTATIONS, ROWS, annotation_lines, job_summary, tell
from pipesched.errors import DataDirMissing, PipeschedError
from pipesched.report import DocumentChange, ItemError, Outcome, RunReport, RunStats
from pipesched.settings import Paths


def report(*errors: ItemError, changes: tuple[DocumentChange, ...] = (), dry_run: bool = True) -> RunReport:
    return RunReport(
        run_id="one",
        job_id="nightly",
        timestamp="2026-11-24T09:00:00+00:00",
        scheduled_for=None,
        finished_at="2026-11-24T09:00:01+00:00",
        duration_seconds=1.0,
        outcome=Outcome(
            status="partial" if errors else "succeeded",
            message="2 new",
            mode="full",
            mode_reason="nothing was indexed before",
            stats=RunStats(total_documents=2, new_documents=2, chunks_embedded=7),
            documents=changes,
            errors=errors,
        ),
        dry_run=dry_run,
    )


def understood(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as the runner reads it."""
    match = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    assert match is not None, line
    properties = dict(pair.split("=", 1) for pair in match[2].split(","))
    codes = {"%25": "%", "%0A": "\n", "%0D": "\r", "%3A": ":", "%2C": ","}

    def plain(text: str, known: tuple[str, ...]) -> str:
        return re.sub("|".join(known), lambda found: codes[found[0]], text)

    message = plain(match[3], ("%25", "%0A", "%0D"))
    return match[1], {key: plain(value, tuple(codes)) for key, value in properties.items()}, message


def test_a_document_that_failed_is_an_error_at_its_line() -> None:
    bad = ItemError("tls.md", "front_matter", "bad YAML: a tab (line 3)")
    (line,) = annotation_lines(report(bad), None, "content/posts")
    assert understood(line) == (
        "error",
        {"title": "pipesched front_matter", "file": "content/posts/tls.md", "line": "3"},
        "bad YAML: a tab (line 3)",
    )


def test_deletes_that_are_withheld_are_a_warning_of_no_file() -> None:
    (line,) = annotation_lines(report(ItemError("", "deletes_withheld", "the folder is empty")), None, "data")
    level, properties, _ = understood(line)
    assert (level, properties) == ("warning", {"title": "pipesched deletes_withheld"})


def test_what_ended_the_run_is_told_with_its_hint() -> None:
    error = DataDirMissing("there is no folder x", hint="name it with --data-dir")
    (line,) = annotation_lines(report(ItemError("", error.code, error.message)), error, "x")
    assert understood(line)[2] == "there is no folder x\nname it with --data-dir"


def test_a_run_without_errors_is_not_annotated() -> None:
    assert annotation_lines(report(), None, "data") == []


@given(st.text(max_size=30), st.text(min_size=1, max_size=30))
def test_whatever_a_document_is_called_no_command_can_be_smuggled_in(message: str, source: str) -> None:
    (line,) = annotation_lines(report(ItemError(source, "x", message)), None, "")
    assert "\n" not in line
    assert "\r" not in line
    assert understood(line)[1]["file"] == source
    assert understood(line)[2] == message


def test_github_shows_ten_so_the_tenth_says_how_many_more_there_are() -> None:
    many = [ItemError(f"{number}.md", "x", "broken") for number in range(ANNOTATIONS + 3)]
    assert len(annotation_lines(report(*many[:ANNOTATIONS]), None, "")) == ANNOTATIONS
    lines = annotation_lines(report(*many), None, "")
    assert len(lines) == ANNOTATIONS
    assert understood(lines[-1])[2].startswith("and 4 more")
    assert understood(lines[-2])[1]["file"] == f"{ANNOTATIONS - 2}.md"


def test_a_summary_shows_names_as_they_are() -> None:
    hostile = "a|b <img src=x> `c` [d](e) *f*\n# g"
    text = job_summary(report(ItemError(hostile, "x", "broken")), None)
    (row,) = [line for line in text.splitlines() if line.endswith("| x | broken |")]
    assert row == r"| a\|b \<img src=x\> \`c\` \[d\](e) \*f\* \# g | x | broken |"


def test_a_summary_says_whether_it_is_a_plan_and_stays_short() -> None:
    changes = tuple(DocumentChange(f"{number}.md", "new", "", 1) for number in range(ROWS + 5))
    text = job_summary(report(changes=changes), None)
    assert text.startswith("### pipesched dry run nightly: succeeded\n")
    assert "| chunks to embed |" in text
    assert text.count("| new |") == ROWS + 1  # the counts have it too
    assert "... and 5 more" in text
    assert "| chunks embedded |" in job_summary(report(dry_run=False), None)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(paths=Paths.resolve(cwd=tmp_path, environ={}))


def told(app: App, environ: dict[str, str], data: Path, error: PipeschedError | None = None) -> None:
    done = Executed(report(ItemError("a.md", "x", "broken")), error, None)
    tell(app, done, data, environ)


def test_a_data_folder_that_is_a_link_to_itself_is_named_as_it_is(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    told(app, {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path)}, loop)
    assert "file=loop/a.md" in capsys.readouterr().err


def test_elsewhere_nothing_is_said(app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = tmp_path / "summary.md"
    told(app, {"GITHUB_STEP_SUMMARY": str(summary)}, tmp_path)
    told(app, {"GITHUB_ACTIONS": "false", "GITHUB_STEP_SUMMARY": str(summary)}, tmp_path)
    assert not summary.exists()
    assert capsys.readouterr() == ("", "")


def test_files_are_named_from_the_repositorys_root(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path / "repo")}
    for folder, name in (("repo/posts", "posts/a.md"), ("repo", "a.md"), ("else", f"{tmp_path}/else/a.md")):
        told(app, environ, tmp_path / folder)
        out, err = capsys.readouterr()
        assert out == ""
        assert understood(err.rstrip("\n"))[1]["file"] == name


def test_a_summary_is_added_to_what_other_steps_wrote(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    told(app, {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}, tmp_path)
    assert summary.read_text().startswith("before\n### pipesched dry run nightly: partial\n")
    told(app, {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)}, tmp_path)
    assert "warning: the job summary cannot be written" in capsys.readouterr().err


def test_a_json_log_stays_json(app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app.log_format = "json"
    told(app, {"GITHUB_ACTIONS": "true"}, tmp_path)
    assert capsys.readouterr().err == ""
