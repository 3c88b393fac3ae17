"""Reports as files: named to sort by time, read only as far as asked, safe against what else lies in the folder."""

import json
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipesched.errors import CannotCreate, DataError, NotFound
from pipesched.report import DocumentChange, ItemError, LengthStatistics, Outcome, RunReport, RunStats
from pipesched.runs.ids import new_run_id
from pipesched.runs.reports import (
    list_reports,
    names,
    read_report,
    write_ci_summary,
    write_report,
    write_statistics,
)

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def report(
    run_id: str = "", at: datetime = NOW, *, job_id: str | None = "nightly", **outcome: object
) -> RunReport:
    defaults: dict[str, object] = {
        "status": "partial",
        "message": "1 of 2 documents failed",
        "mode": "full",
        "mode_reason": "first run",
        "stats": RunStats(total_documents=2, new_documents=1, failed_documents=1),
        "documents": (DocumentChange("a.md", "new", chunks=2), DocumentChange("b.md", "failed", "bad YAML")),
        "errors": (ItemError("b.md", "data_error", "bad YAML"),),
        "lengths": LengthStatistics(1, 120, 120, 120, 120.0),
        "exit_code": 3,
    }
    return RunReport(
        run_id=run_id or new_run_id(job_id, at),
        job_id=job_id,
        timestamp=at.isoformat(),
        scheduled_for=None,
        finished_at=(at + timedelta(seconds=2)).isoformat(),
        duration_seconds=2.0,
        outcome=Outcome(**(defaults | outcome)),  # type: ignore[arg-type]
        dry_run=False,
        exit_code=3,
    )


def test_a_report_is_read_back_by_its_name_and_by_its_runs_id(tmp_path: Path) -> None:
    written = report()
    path = write_report(written, tmp_path / "deep" / "output")
    assert path.name == f"report-{written.run_id}.json"
    expected = {**json.loads(json.dumps(written.as_json())), "filename": path.name}
    for name in (path.name, path.stem, written.run_id):
        assert read_report(path.parent, name) == expected


def test_an_id_of_another_scheduler_is_a_name_too_and_sorts_by_time(tmp_path: Path) -> None:
    for number, run_id in enumerate(["zzz", "argo-42", "a", ""]):
        write_report(report(run_id, NOW + timedelta(minutes=number)), tmp_path)
    listed = list_reports(tmp_path)
    assert [each["run_id"] for each in listed][1:] == ["a", "argo-42", "zzz"]
    assert all(each["run_id"] in each["filename"] for each in listed)
    assert read_report(tmp_path, "a")["run_id"] == "a"
    assert read_report(tmp_path, "argo-42")["run_id"] == "argo-42"
    with pytest.raises(NotFound):
        read_report(tmp_path, "42")


def test_the_newest_come_first_without_their_documents(tmp_path: Path) -> None:
    for number in range(5):
        write_report(report(at=NOW + timedelta(hours=number)), tmp_path)
    listed = list_reports(tmp_path, 3)
    assert [each["timestamp"][11:13] for each in listed] == ["06", "05", "04"]
    assert all("documents" not in each for each in listed)
    assert all(read_report(tmp_path, each["filename"])["documents"] for each in listed)


def test_no_more_files_are_opened_than_are_asked_for(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"report-20200101T{number // 60:06}.{number % 60:03}Z-x-{number}.json").write_text("")
    for number in range(3):
        write_report(report(at=NOW + timedelta(hours=number)), tmp_path)
    before = {name: (tmp_path / name).stat().st_atime_ns for name in list(names(tmp_path))[3:]}
    for name in before:
        os.utime(tmp_path / name, ns=(0, 0))
    assert len(list_reports(tmp_path, 3)) == 3
    assert all((tmp_path / name).stat().st_atime_ns == 0 for name in before)


def test_damaged_and_foreign_files_do_no_harm(tmp_path: Path) -> None:
    good = write_report(report(), tmp_path)
    later = "report-20300101T000000.000Z-x-"
    whole = good.read_text()
    for name, content in {
        "truncated": whole[: len(whole) // 2],
        "empty": "",
        "nul": "\0" * 100,
        "list": "[]",
        "deep": "[" * 100_000,
        "foreign": '{"run_id": "x"}',
        "nan": re.sub(r'("duration_seconds": )[0-9.]+', r"\1NaN", whole),
        "vast": re.sub(r'("duration_seconds": )[0-9.]+', r"\g<1>1e400", whole),
        "shape": whole.replace('"errors": [', '"errors": [1, '),
    }.items():
        (tmp_path / f"{later}{name}.json").write_text(content)
    (tmp_path / f"{later}binary.json").write_bytes(b"\xff\xfe{")
    (tmp_path / f"{later}folder.json").mkdir()
    os.mkfifo(tmp_path / f"{later}pipe.json")
    (tmp_path / f"{later}link.json").symlink_to(good)
    (tmp_path / "report-mine.json").write_text(whole)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "ci_summary.json").write_text(whole)
    assert [each["filename"] for each in list_reports(tmp_path, 5)] == [good.name]
    with pytest.raises(DataError, match="damaged"):
        read_report(tmp_path, f"{later}truncated.json")
    with pytest.raises(DataError, match="not a run report"):
        read_report(tmp_path, f"{later}foreign.json")
    for name in ("link", "pipe", "folder"):
        with pytest.raises(NotFound):
            read_report(tmp_path, f"{later}{name}.json")


def test_a_folder_with_a_reports_name_takes_no_file_handle(tmp_path: Path) -> None:
    (tmp_path / "report-20300101T000000.000Z-x.json").mkdir()
    handles = Path("/proc/self/fd")
    before = len(list(handles.iterdir()))
    for _ in range(5):
        assert list_reports(tmp_path, 5) == []
    assert len(list(handles.iterdir())) == before, "a page that is asked for each minute would use them up"


@pytest.mark.parametrize(
    "name",
    ["../secret.json", "-x", "a\nb", "", ".", "..", "/etc/passwd", "report-x\0.json", "ci_summary.json"],
)
def test_nothing_outside_is_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "output"
    write_report(report(), folder)
    write_ci_summary(report(), folder)
    write_report(report(), tmp_path).rename(tmp_path / "secret.json")
    with pytest.raises(NotFound) as caught:
        read_report(folder, name)
    assert caught.value.code == "report_not_found"


def test_a_missing_folder_has_no_reports(tmp_path: Path) -> None:
    assert list_reports(tmp_path / "output") == []
    with pytest.raises(NotFound):
        read_report(tmp_path / "output", "x")
    assert list(tmp_path.iterdir()) == []


def test_statistics_have_the_lengths(tmp_path: Path) -> None:
    written = report()
    path = write_statistics(written, tmp_path)
    assert written.run_id in path.name
    assert json.loads(path.read_text()) == {
        "timestamp": NOW.isoformat(),
        "run_id": written.run_id,
        "total_documents": 1,
        "total_characters": 120,
        "min_length": 120,
        "max_length": 120,
        "avg_length": 120.0,
    }
    assert list_reports(tmp_path) == []


def test_the_ci_summary_is_of_the_last_run(tmp_path: Path) -> None:
    write_ci_summary(report("first"), tmp_path)
    write_ci_summary(report("second"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ci_summary.json"]
    summary = json.loads((tmp_path / "ci_summary.json").read_text())
    assert summary["schema_version"] == 1
    assert (summary["run_id"], summary["status"], summary["success"]) == ("second", "partial", False)
    assert (summary["exit_code"], summary["message"]) == (3, "1 of 2 documents failed")
    assert summary["stats"]["total_documents"] == 2
    assert summary["errors"] == [{"source": "b.md", "code": "data_error", "message": "bad YAML"}]
    assert "documents" not in summary


def test_names_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xff\n.md")
    path = write_report(report(documents=(DocumentChange(odd, "new"),)), tmp_path)
    path.read_bytes().decode("utf-8")
    assert read_report(tmp_path, path.name)["documents"][0]["source"] == odd


def test_the_folder_and_the_files_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        path = write_report(report(), tmp_path / "output")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("mine")
    for folder in (tmp_path / "output", tmp_path / "output" / "deeper"):
        with pytest.raises(CannotCreate, match="output"):
            write_report(report(), folder)
    assert (tmp_path / "output").read_text() == "mine"
