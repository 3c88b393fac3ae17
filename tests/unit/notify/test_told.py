"""What was told is kept over restarts."""

import stat
from datetime import UTC, datetime
from pathlib import Path

from pipesched.notify.decision import Told
from pipesched.notify.told import ToldFiles

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
FAILING = Told(failing_since=NOW, paused_at=NOW, missed=3, missed_at=NOW)


def test_another_process_knows_what_was_told(tmp_path: Path) -> None:
    ToldFiles(tmp_path / "notified").put("nightly", FAILING)
    assert ToldFiles(tmp_path / "notified").get("nightly") == FAILING
    assert stat.S_IMODE((tmp_path / "notified" / "nightly.json").stat().st_mode) == 0o600


def test_nothing_is_written_of_a_job_that_is_well(tmp_path: Path) -> None:
    told = ToldFiles(tmp_path / "notified")
    told.put("nightly", Told())
    assert not (tmp_path / "notified").exists()
    told.put("nightly", FAILING)
    told.put("nightly", Told())
    assert ToldFiles(tmp_path / "notified").get("nightly") == Told()


def test_a_damaged_file_counts_as_nothing_told(tmp_path: Path) -> None:
    ToldFiles(tmp_path).put("nightly", FAILING)
    for bad in (b"", b"{}", b"[1]", b'{"failing_since": "yesterday"}', b"\xff"):
        (tmp_path / "nightly.json").write_bytes(bad)
        assert ToldFiles(tmp_path).get("nightly") is None


def test_a_disk_that_takes_nothing_does_not_make_it_tell_twice(tmp_path: Path, caplog) -> None:
    (tmp_path / "notified").write_text("no folder")
    told = ToldFiles(tmp_path / "notified")
    told.put("nightly", FAILING)
    assert told.get("nightly") == FAILING
    assert "may be told once more" in caplog.text


def test_jobs_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    told = ToldFiles(tmp_path)
    told.put("nightly", FAILING)
    told.put("weekly", FAILING)
    (tmp_path / "notes.txt").write_text("somebody's")
    told.keep({"weekly"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "weekly.json"]
    assert told.get("nightly") is None
