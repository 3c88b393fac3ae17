"""Log lines: one a line, as text or JSON, on stderr."""

import json
import logging
from datetime import datetime

import pytest

from pipesched.cli.logs import about, at_least_info, configure, tell

log = logging.getLogger("pipesched.test")


pytestmark = pytest.mark.usefixtures("plain_logging")


def test_text_is_time_with_offset_level_logger_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "text")
    log.info("fired %s", "nightly")
    out, err = capsys.readouterr()
    time, level, rest = err.split(" ", 2)
    assert out == ""
    assert datetime.fromisoformat(time).tzinfo is not None
    assert (level, rest) == ("INFO", "pipesched.test: fired nightly\n")


def test_a_message_cannot_fake_a_line_nor_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure("", "text")
    log.warning("bad name: %s", "x\n2026-01-01 INFO all is well \x1b[2J")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_json_is_one_object_a_line_with_the_ids_given(capsys: pytest.CaptureFixture[str]) -> None:
    configure("DEBUG", "json")
    log.debug("line\nbreak \udcff é", extra={"job_id": "nightly", "run_id": "r1"})
    entry = json.loads(capsys.readouterr().err)
    assert datetime.fromisoformat(entry.pop("time")).tzinfo is not None
    assert entry == {
        "level": "debug",
        "logger": "pipesched.test",
        "message": "line\nbreak \udcff é",
        "job_id": "nightly",
        "run_id": "r1",
    }


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_traceback_is_kept(capsys: pytest.CaptureFixture[str], style: str) -> None:
    configure("", style)
    try:
        int("of \x1b[2J the test", 0)
    except ValueError:
        log.exception("failed")
    err = capsys.readouterr().err
    assert "ValueError: invalid literal" in (json.loads(err)["traceback"] if style == "json" else err)
    assert "\x1b" not in err


def test_warnings_are_the_default_and_what_runs_unattended_tells_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("", "text")
    log.info("quiet")
    at_least_info(None)
    log.info("told")
    configure("ERROR", "text")
    at_least_info("ERROR")
    log.info("asked to be quiet")
    err = capsys.readouterr().err
    assert "told" in err
    assert "quiet" not in err


def test_configuring_twice_prints_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure("", "text")
    configure("", "text")
    log.warning("once")
    assert capsys.readouterr().err.count("once") == 1


def test_the_ids_of_the_run_that_a_process_is_about_are_in_every_line_but_where_it_says_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("", "json")
    about(job_id="nightly", run_id="r1")
    log.warning("mine")
    log.warning("another's", extra={"job_id": "other", "run_id": "r2"})
    configure("", "json")
    log.warning("nobody's")
    mine, other, nobody = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (mine["job_id"], mine["run_id"]) == ("nightly", "r1")
    assert (other["job_id"], other["run_id"]) == ("other", "r2")
    assert "run_id" not in nobody


@pytest.mark.parametrize(
    ("text", "level", "message"),
    [
        ("error: it failed: badly", "error", "it failed: badly"),
        ("warning: old", "warning", "old"),
        ("hint: do this", "info", "hint: do this"),
        ("run x: succeeded", "info", "run x: succeeded"),
    ],
)
def test_a_remark_is_a_line_whatever_the_level(
    capsys: pytest.CaptureFixture[str], text: str, level: str, message: str
) -> None:
    configure("CRITICAL", "json")
    tell(text)
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["message"]) == (level, message)
