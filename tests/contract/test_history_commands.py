"""history, logs, reports and report: keys, filters, exit codes, and what people read."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipesched.cli.main import execute
from pipesched.cli.output import Output
from pipesched.files import KernelLock
from pipesched.report import DocumentChange, Outcome, RunReport, RunStats
from pipesched.runs import process
from pipesched.runs.ledger import Ledger, new_run_id
from pipesched.runs.logs import LogFile, log_path
from pipesched.runs.model import STATES
from pipesched.runs.reports import write_report
from pipesched.schedule.model import Skip
from support.command import PIPESCHED, Result, clean_environment, pipesched, start
from support.contract import RUN

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


@dataclass
class Place:
    """A folder with a ledger, and the command line in it, run in this process."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / ".pipesched"

    @property
    def ledger_path(self) -> Path:
        return self.state / "ledger.sqlite3"

    def __call__(self, *arguments: str) -> Result:
        self.capsys.readouterr()
        code = execute(arguments, Output(json="--json" in arguments))
        captured = self.capsys.readouterr()
        return Result(code, captured.out, captured.err)

    def claimed(
        self, name: str, job: str, at: datetime, output: bytes | None = None, *, pid: int | None = None
    ) -> str:
        run_id = self.ids[name] = new_run_id(job, at)
        with Ledger.open(self.ledger_path, create=True) as ledger:
            ledger.claim(run_id, job, scheduled_for=at, attempt=1, trigger="schedule", now=at)
            ledger.started(
                run_id,
                pid=os.getpid() if pid is None else pid,
                pid_started=process.start_ticks(os.getpid()) if pid is None else None,
                now=at,
            )
        if output is not None:
            with LogFile(log_path(self.state / "logs", run_id)) as file:
                file.write(output)
        return run_id

    def ended(self, run_id: str, status: str = "succeeded", **fields: Any) -> None:
        with Ledger.open(self.ledger_path, create=True) as ledger:
            ledger.finish(run_id, status=status, **fields)  # type: ignore[arg-type]

    def report(self, run_id: str, at: datetime, **fields: Any) -> Path:
        outcome = Outcome(
            status="succeeded",
            message="2 new documents",
            mode="full",
            mode_reason="first run",
            stats=RunStats(total_documents=2, new_documents=2),
            documents=(DocumentChange("a\x1b[31m.md", "new", chunks=3),),
        )
        return write_report(
            RunReport(
                run_id=run_id,
                job_id="nightly",
                timestamp=at.isoformat(),
                scheduled_for=at.isoformat(),
                finished_at=at.isoformat(),
                duration_seconds=75.25,
                outcome=outcome,
                dry_run=False,
            ),
            self.folder / "output",
        )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    return Place(tmp_path, capsys)


@pytest.fixture
def lived(place: Place) -> Place:
    """Oldest first: a success, a failure, three missed slots, a dry run of another job by hand, a run that goes on."""
    place.ended(place.claimed("good", "nightly", NOW - 9 * HOUR, b"all is well\n"), now=NOW - 8 * HOUR)
    place.ended(
        place.claimed("bad", "nightly", NOW - 7 * HOUR, b"Traceback\x1b[2J\n"),
        "failed",
        exit_code=69,
        reason="the embedder is down",
        now=NOW - 7 * HOUR + timedelta(seconds=75),
    )
    with Ledger.open(place.ledger_path, create=True) as ledger:
        ledger.record_slots(
            Skip("nightly", NOW - 6 * HOUR, NOW - 4 * HOUR, 3, "missed", "the scheduler was not running"), NOW
        )
        ledger.begin_manual("by-hand", "other", now=NOW - 2 * HOUR, pid=1, dry_run=True)
        ledger.finish("by-hand", status="partial", exit_code=3, reason="1 document failed", now=NOW - HOUR)
    place.claimed("now", "nightly", NOW - HOUR / 2, b"working\n")
    return place


def runs(result: Result) -> list[dict[str, Any]]:
    assert result.code == 0, result.err
    assert result.json["schema_version"] == 1
    found: list[dict[str, Any]] = result.json["runs"]
    return found


def test_history_has_the_contracts_keys_newest_first(lived: Place) -> None:
    found = runs(lived("history", "--json"))
    assert all(set(run) >= RUN for run in found)
    assert [run["status"] for run in found] == ["running", "partial", "missed", "failed", "succeeded"]
    for run in found:
        for key in ("scheduled_for", "started_at", "finished_at", "until"):
            assert run[key] is None or datetime.fromisoformat(run[key]).tzinfo is not None
    missed = found[2]
    assert (missed["count"], missed["reason"]) == (3, "the scheduler was not running")
    assert datetime.fromisoformat(missed["scheduled_for"]) == NOW - 6 * HOUR
    assert datetime.fromisoformat(missed["until"]) == NOW - 4 * HOUR
    failed = found[3]
    assert (failed["exit_code"], failed["reason"], failed["attempt"]) == (69, "the embedder is down", 1)
    assert (failed["trigger"], found[1]["trigger"], found[1]["dry_run"]) == ("schedule", "manual", True)


def test_the_history_of_one_job_says_how_its_runs_went(lived: Place) -> None:
    assert lived("history", "nightly", "--limit", "1", "--json").json["statistics"] == {
        "success_rate": 0.5,
        "duration_p50_seconds": 3600.0,
        "duration_p95_seconds": 3600.0,
        "totals": {"succeeded": 1, "failed": 1, "missed": 3},
    }
    assert "statistics" not in lived("history", "--json").json


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nightly"], ["running", "missed", "failed", "succeeded"]),
        (["other"], ["partial"]),
        (["--limit", "2"], ["running", "partial"]),
        (["--status", "failed", "--status", "missed"], ["missed", "failed"]),
        (["--status", "succeeded,partial"], ["partial", "succeeded"]),
        (["nightly", "--status", "partial"], []),
        (["--since", "5h"], ["running", "partial", "missed"]),
        (["--since", (NOW - 8 * HOUR).isoformat()], ["running", "partial", "missed", "failed"]),
        (["--since", f"{NOW - 8 * HOUR:%Y-%m-%d %H:%M:%S}"], ["running", "partial", "missed", "failed"]),
    ],
)
def test_history_is_filtered(lived: Place, arguments: list[str], expected: list[str]) -> None:
    assert [run["status"] for run in runs(lived("history", *arguments, "--json"))] == expected


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["history", "--status", "broken"], 2, "invalid_value"),
        (["history", "--limit", "0"], 2, "usage"),
        (["history", "--since", "yesterday-ish"], 2, "invalid_value"),
        (["history", "nobody"], 4, "job_not_found"),
        (["logs", "nobody"], 4, "job_not_found"),
        (["logs", "../../etc/passwd"], 4, "run_not_found"),
        (["logs", "a\nb"], 4, "run_not_found"),
        (["logs", "by-hand"], 4, "log_not_found"),
        (["logs"], 2, "usage"),
        (["report", "nobody"], 4, "report_not_found"),
        (["report", "../schedules.json"], 4, "report_not_found"),
        (["report", "a\nb"], 4, "report_not_found"),
        (["report", "-x"], 2, "usage"),
        (["reports", "--limit", "-1"], 2, "usage"),
    ],
)
def test_what_cannot_be_is_refused_in_json_and_in_words(
    lived: Place, arguments: list[str], code: int, error: str
) -> None:
    asked = lived(*arguments, "--json")
    assert (asked.code, asked.json["error"]["code"]) == (code, error)
    assert asked.json["error"]["hint"]
    told = lived(*arguments)
    assert told.code == code
    assert told.err.startswith("error: ")
    assert told.out == ""


def test_a_status_that_is_none_names_those_that_are(place: Place) -> None:
    assert all(state in place("history", "--status", "x").err for state in STATES)


def test_reading_makes_nothing(place: Place) -> None:
    assert runs(place("history", "--json")) == []
    assert place("history").code == 0
    assert place("reports", "--json").json["reports"] == []
    assert place("reports").code == 0
    assert place("logs", "x").code == 4
    assert place("report", "x").code == 4
    assert list(place.folder.iterdir()) == []


def test_history_for_people_is_aligned_and_says_why(lived: Place) -> None:
    lines = lived("history").out.splitlines()
    assert lines[0].split() == ["when", "job", "status", "took", "by", "reason", "run"]
    assert "missed (3 times)" in lines[3]
    assert "the embedder is down" in lines[4]
    assert "1m15s" in lines[4]
    starts = {line.index("nightly") for line in lines if "nightly" in line}
    assert len(starts) == 1


def test_a_plot_in_a_pipe_is_plain_text_as_wide_as_columns_says(
    lived: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    one, several = lived("history", "nightly", "--plot"), lived("history", "--plot")
    for done in (one, several):
        assert (done.code, done.err) == (0, "")
        assert "\x1b" not in done.out
        assert max(len(line) for line in done.out.splitlines()) <= 60
    assert [line[17] for line in one.out.splitlines()[:4]] == ["R", "M", "F", "+"]
    assert [line.split()[0] for line in several.out.splitlines()[:2]] == ["nightly", "other"]
    assert "times in UTC" in one.out


def test_a_plot_is_not_json_and_of_nothing_says_so(lived: Place) -> None:
    refused = lived("history", "--plot", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "usage")
    assert lived("history", "--plot", "--status", "timeout").err == "no such run\n"


@pytest.mark.parametrize(
    ("environment", "colour", "blocks"),
    [
        ({}, True, True),
        ({"NO_COLOR": "1"}, False, True),
        ({"LANG": "C"}, True, False),
        ({"LC_ALL": "C"}, True, False),
    ],
)
def test_a_plot_on_a_terminal_is_coloured_unless_it_must_not_be_and_ascii_in_the_c_locale(
    lived: Place, environment: dict[str, str], colour: bool, blocks: bool
) -> None:
    settings = clean_environment(
        {"TERM": "xterm-256color", "COLUMNS": "70", "LANG": "C.UTF-8", **environment}
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(lived.folder)
        os.execve(PIPESCHED, [PIPESCHED, "history", "nightly", "--plot"], settings)
    seen = b""
    with contextlib.suppress(OSError):  # its end
        while piece := os.read(terminal, 65536):
            seen += piece
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    text = seen.decode()
    assert ("\x1b[" in text) == colour
    assert ("█" in text) == blocks
    assert text.isascii() != blocks
    assert "times in" in text


def test_a_run_whose_process_is_gone_is_seen_as_lost(place: Place) -> None:
    place.claimed("gone", "nightly", NOW - HOUR, pid=2**22 + 1)
    (lost,) = runs(place("history", "--json"))
    assert (lost["status"], lost["reason"]) == ("lost", process.GONE)
    assert len(runs(place("history", "--status", "lost", "--json"))) == 1
    assert runs(place("history", "--status", "running", "--json")) == []
    with KernelLock(place.state / "daemon.lock") as lock:
        assert lock.try_acquire()
        assert [run["status"] for run in runs(place("history", "--json"))] == ["running"]


def test_a_damaged_job_file_hides_no_history(lived: Place) -> None:
    (lived.folder / "schedules.json").write_text("{")
    assert len(runs(lived("history", "--json"))) == 5
    assert lived("history", "--since", "5h").code == 0


def test_a_job_whose_schedule_cannot_be_used_and_that_never_ran_has_an_empty_history(place: Place) -> None:
    assert place("add-cron", "odd", "@daily").code == 0
    path = place.folder / "schedules.json"
    path.write_text(path.read_text().replace("@daily", "61 * * * *"))
    assert runs(place("history", "odd", "--json")) == []
    assert place("logs", "odd", "--json").json["error"]["code"] == "log_not_found"


def test_a_damaged_ledger_is_named(place: Place) -> None:
    place.state.mkdir(mode=0o700)
    place.ledger_path.write_bytes(b"nonsense" * 1000)
    done = place("history", "--json")
    assert (done.code, done.json["error"]["code"]) == (65, "data_error")


# Logs


def test_logs_are_found_by_run_and_by_job(lived: Place) -> None:
    assert lived("logs", lived.ids["good"]).out == "all is well\n"
    assert lived("logs", "nightly").out == "working\n"
    done = lived("logs", lived.ids["good"], "--json").json
    assert (done["run_id"], done["job_id"], done["status"]) == (lived.ids["good"], "nightly", "succeeded")
    assert done["text"] == "all is well\n"


def test_a_jobs_latest_run_with_a_log_is_shown(lived: Place) -> None:
    lived.ended(lived.claimed("silent", "nightly", NOW), now=NOW)
    assert lived("logs", "nightly").out == "working\n"


def test_a_log_without_its_ledger_is_still_shown(lived: Place) -> None:
    for file in lived.state.glob("ledger.sqlite3*"):
        file.unlink()
    done = lived("logs", lived.ids["good"], "--json").json
    assert (done["text"], done["status"]) == ("all is well\n", None)


def test_a_finished_runs_log_is_followed_to_its_end_and_no_further(lived: Place) -> None:
    done = lived("logs", lived.ids["bad"], "--follow", "--json")
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"schema_version": 1, "run_id": lived.ids["bad"], "line": "Traceback\x1b[2J"}
    ]
    assert lived("logs", lived.ids["bad"], "--follow").err == (
        f"run {lived.ids['bad']}: failed: the embedder is down\n"
    )


def later(*steps: Callable[[], object]) -> threading.Thread:
    def work() -> None:
        for step in steps:
            time.sleep(0.3)
            step()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_running_runs_log_is_followed_until_the_run_ends(place: Place) -> None:
    run_id = place.claimed("now", "nightly", NOW)
    file = LogFile(log_path(place.state / "logs", run_id))
    file.write(b"one\n")
    writer = later(
        lambda: file.write(b"two\nth"),
        lambda: file.write(b"ree\n"),
        lambda: place.ended(run_id, now=NOW),
    )
    done = place("logs", "nightly", "--follow", "--json")
    writer.join()
    file.close()
    assert done.code == 0
    assert [json.loads(line)["line"] for line in done.out.splitlines()] == ["one", "two", "three"]


def test_following_ends_when_the_runs_process_is_gone(place: Place) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run_id = place.claimed("now", "nightly", NOW, b"one\n", pid=child.pid)
        killer = later(child.kill, child.wait)
        done = place("logs", run_id, "--follow")
        killer.join()
    assert done.out == "one\n"
    assert "lost" in done.err


@pytest.fixture
def following(place: Place) -> Iterator[subprocess.Popen[str]]:
    place.claimed("now", "nightly", NOW, b"one\n")
    follower = start("logs", "nightly", "--follow", cwd=place.folder)
    yield follower
    follower.kill()
    follower.communicate()


def test_ctrl_c_ends_following(following: subprocess.Popen[str]) -> None:
    assert following.stdout is not None
    assert following.stdout.readline() == "one\n"
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 130
    assert following.stderr is not None
    assert "Traceback" not in following.stderr.read()


# Reports


def test_reports_are_listed_newest_first_and_shown_by_name_or_run(place: Place) -> None:
    ids = [new_run_id("nightly", NOW - hours * HOUR) for hours in (3, 1, 2)]
    for hours, run_id in zip((3, 1, 2), ids, strict=True):
        place.report(run_id, NOW - hours * HOUR)
    (place.folder / "output" / "report-20990101T000000.000Z-x.json").write_text("{")
    listed = place("reports", "--json").json["reports"]
    assert [report["run_id"] for report in listed] == [ids[1], ids[2], ids[0]]
    assert all(report["filename"] == f"report-{report['run_id']}.json" for report in listed)
    assert all("documents" not in report for report in listed)
    assert len(place("reports", "--limit", "1", "--json").json["reports"]) == 1
    for name in (ids[0], f"report-{ids[0]}.json"):
        shown = place("report", name, "--json").json
        assert (shown["schema_version"], shown["run_id"]) == (1, ids[0])
        assert shown["documents"][0]["source"] == "a\x1b[31m.md"


def test_reports_for_people(place: Place) -> None:
    for hours in range(3):
        place.report(new_run_id("nightly", NOW - hours * HOUR), NOW - hours * HOUR)
    listed = place("reports", "--limit", "2")
    assert len(listed.out.splitlines()) == 3
    assert "1m15.2s" in listed.out
    assert "more" in listed.err
    shown = place("report", place("reports", "--json").json["reports"][0]["run_id"])
    assert "2 total, 2 new" in shown.out
    assert "\x1b" not in shown.out


def test_a_damaged_report_is_exit_65(place: Place) -> None:
    path = place.report(new_run_id("nightly", NOW), NOW)
    path.write_text("{")
    done = place("report", path.name, "--json")
    assert (done.code, done.json["error"]["code"]) == (65, "data_error")
    assert place("reports", "--json").json["reports"] == []
    place.report(new_run_id("nightly", NOW - HOUR), NOW - HOUR)
    assert place("reports").err == "", "there are no more to be seen"


# Runs by hand, through the installed command


def test_a_run_that_died_unheard_is_settled_by_the_next_one(place: Place) -> None:
    with Ledger.open(place.ledger_path, create=True) as ledger:
        ledger.begin_manual("died", None, now=NOW - HOUR, pid=2**22 + 1, dry_run=False)
    pipesched("run", "--data-dir", "nowhere", cwd=place.folder)
    with Ledger.open(place.ledger_path, create=False) as ledger:
        died, counters = ledger.run("died"), ledger.counters()
    assert died is not None
    assert (died.status, died.reason) == ("lost", process.GONE)
    assert counters.failed == 2


def test_a_run_with_another_schedulers_id_keeps_its_own_row_once(place: Place) -> None:
    asked = ("run", "--run-id", "argo-42", "--attempt", "2", "--scheduled-for", "2026-11-24T02:00:00Z")
    first = pipesched(*asked, "--data-dir", "nowhere", "--json", cwd=place.folder)
    assert first.code == 2
    (row,) = runs(place("history", "--json"))
    assert (row["run_id"], row["trigger"], row["attempt"], row["status"]) == (
        "argo-42",
        "manual",
        2,
        "failed",
    )
    assert row["scheduled_for"] == "2026-11-24T02:00:00+00:00"
    again = pipesched(*asked, "--data-dir", "nowhere", "--json", cwd=place.folder)
    assert again.code == 2
    assert "already" in again.json["error"]["message"]
    assert place("report", "argo-42").code == 0


def test_a_claimed_runs_row_is_left_to_its_scheduler(place: Place) -> None:
    with Ledger.open(place.ledger_path, create=True) as ledger:
        ledger.claim("ours", "nightly", scheduled_for=NOW, attempt=1, trigger="schedule", now=NOW)
    done = pipesched("run", "--run-id", "ours", "--data-dir", "nowhere", "--json", cwd=place.folder)
    assert done.code == 2
    with Ledger.open(place.ledger_path, create=False) as ledger:
        assert [(run.run_id, run.status) for run in ledger.history()] == [("ours", "queued")]


@pytest.mark.parametrize("command", ["logs", "report", "cancel"])
def test_a_run_id_that_is_nearly_right_or_cut_short_gets_the_right_one_as_a_hint(
    run, tmp_path: Path, command: str
) -> None:
    (tmp_path / "data").mkdir()
    assert run("add-cron", "nightly", "0 2 * * *").code == 0
    right = run("run", "nightly", "--dry-run", "--json").json["run_id"]
    last = "0" if right[-1] != "0" else "1"
    for wrong in (right[:-1] + last, right[:20]):
        done = run(command, wrong)
        assert done.code == 4
        assert done.err.splitlines() == [
            f"error: there is no {'report' if command == 'report' else 'run'} {wrong!r}",
            f"hint: did you mean {right}?",
        ]
    assert "did you mean" not in run(command, "20200101T000000.000Z-x-00000000").err


def test_a_run_that_never_started_has_a_reason_instead_of_a_log(place: Place) -> None:
    run_id = place.claimed("never", "nightly", NOW)
    place.ended(run_id, "failed", reason="its process could not be started: no memory", now=NOW)
    refused = place("logs", run_id, "--json").json["error"]
    assert (
        refused["message"] == f"run {run_id} has no log (failed: its process could not be started: no memory)"
    )
    assert refused["hint"] == "see pipesched history nightly"
