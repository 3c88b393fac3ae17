"""write_atomic where all goes well, and what it refuses."""

import os
import stat
from pathlib import Path

import pytest

from pipesched.errors import CannotCreate, InputOutputError
from pipesched.files import umask, write_atomic


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_gets_the_umasks_permissions_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with umask(0o022):
        write_atomic(path, b"1")
        assert mode(path) == 0o644
        path.chmod(0o600)
        write_atomic(path, b"2")
    assert (path.read_bytes(), mode(path)) == (b"2", 0o600)


def test_a_given_mode_holds_whatever_the_umask(tmp_path: Path) -> None:
    with umask(0o000):
        write_atomic(tmp_path / "secret", b"", mode=0o600)
    assert mode(tmp_path / "secret") == 0o600


def test_a_linked_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "schedules.json"
    link.symlink_to("real/jobs.json")
    for data in (b"first, through a dangling link", b"second"):
        write_atomic(link, data)
        assert link.is_symlink()
        assert (tmp_path / "real" / "jobs.json").read_bytes() == data


def test_a_name_at_the_length_limit_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomic(path, b"x")
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_said_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(CannotCreate) as caught:
        write_atomic(tmp_path / "no" / "a.json", b"")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"


def test_a_folder_in_the_files_place_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InputOutputError, match="directory"):
        write_atomic(tmp_path / "a.json", b"")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_the_umask_is_put_back(tmp_path: Path) -> None:
    before = os.umask(0o022)
    os.umask(before)
    with umask(0o077):
        (tmp_path / "x").touch()
    assert mode(tmp_path / "x") == 0o600
    after = os.umask(before)
    assert after == before
