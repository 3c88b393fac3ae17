"""What a run said is to be done, found at the end of its log whatever else is in it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipesched.runs.hints import last_hint
from pipesched.runs.model import Run
from pipesched.settings import Paths

PLAIN = "error: a full disk\nhint: free some space: df -h\n"
AS_JSON = '{"level": "error", "message": "a full disk"}\n{"level": "error", "message": "hint: say \\"df\\" \u2028 -h"}\n'


def hint(home: Path, written: str) -> str:
    paths = Paths.resolve(file=str(home / "schedules.json"), environ={}, cwd=home)
    paths.logs_dir.mkdir(parents=True)
    (paths.logs_dir / "a.log").write_text(written)
    now = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    return last_hint(Run("a", "nightly", "failed", "schedule", started_at=now), paths)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (PLAIN, "free some space: df -h"),
        ("hint: another\n" + PLAIN + "the end\n", "free some space: df -h"),
        ("x" * 20_000 + "\n" + PLAIN, "free some space: df -h"),
        (PLAIN + "x" * 20_000, ""),
        (AS_JSON, 'say "df" \u2028 -h'),
        ("error: a full disk\n", ""),
        ("hint: \n", ""),
        ("", ""),
    ],
)
def test_the_last_hint_of_either_log_format_is_found(tmp_path: Path, written: str, found: str) -> None:
    assert hint(tmp_path, written) == found


@pytest.mark.parametrize(
    "foreign",
    [
        '{"message": "hint: \\q"}',
        '{"message": "hint: cut off\n"}',
        '{"message": 1, "hint": "hint: "}',
        "{[",
        '{"a":' * 1600,
    ],
)
def test_what_another_program_wrote_is_in_nobodys_way(tmp_path: Path, foreign: str) -> None:
    assert hint(tmp_path, f"{PLAIN}{foreign}\n") == "free some space: df -h"
