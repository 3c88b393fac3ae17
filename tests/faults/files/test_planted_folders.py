"""What others plant where our files go: links, foreign folders, a umask that opens everything."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from pipesched.errors import CannotCreate, InputOutputError, NotPermitted
from pipesched.files import KernelLock, private_dir, write_atomic
from support.command import PIPESCHED, clean_environment, pipesched
from support.machine import bound_by_permissions

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _open_umask():
    old = os.umask(0)
    yield
    os.umask(old)


def test_a_folder_made_under_umask_000_is_private(tmp_path: Path) -> None:
    assert mode(private_dir(tmp_path / "a" / "state")) == 0o700


def test_a_folder_that_stood_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o777)
    assert mode(private_dir(tmp_path / "state")) == 0o700


def test_a_folder_that_serves_others_is_refused_and_stays_open(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    site = tmp_path / "site"
    site.mkdir(mode=0o755)
    (site / "index.html").write_text("for everybody")
    with pytest.raises(NotPermitted, match="used for other things") as caught:
        private_dir(site)
    assert "--state-dir" in caught.value.hint
    assert mode(site) == 0o755


def test_a_shared_folder_such_as_tmp_is_refused_even_when_it_is_empty(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(NotPermitted, match="used for other things"):
        private_dir(shared)
    assert mode(shared) == 0o1777


def test_a_state_folder_of_ours_that_was_opened_is_closed_again(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    state = private_dir(tmp_path / "state")
    (state / "ledger.sqlite3").touch()
    state.chmod(0o755)
    assert mode(private_dir(state)) == 0o700


def test_a_lock_file_made_under_umask_000_is_private(tmp_path: Path) -> None:
    lock = KernelLock(tmp_path / "x.lock")
    assert lock.try_acquire()
    assert mode(lock.path) == 0o600
    lock.release()


def test_a_planted_link_to_a_folder_is_refused_and_its_target_untouched(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    link = tmp_path / "state"
    link.symlink_to(target)
    with pytest.raises(NotPermitted, match="symbolic link"):
        private_dir(link)
    assert mode(target) == 0o755


def test_a_dangling_link_is_refused_and_creates_nothing(tmp_path: Path) -> None:
    link = tmp_path / "state"
    link.symlink_to(tmp_path / "not there")
    with pytest.raises(NotPermitted, match="symbolic link"):
        private_dir(link)
    assert not (tmp_path / "not there").exists()


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(CannotCreate, match="state"):
        private_dir(tmp_path / "state")


def test_a_planted_link_is_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "x.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(InputOutputError, match="cannot lock"):
        KernelLock(tmp_path / "x.lock").try_acquire()
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_planted_fifo_does_not_hang_a_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.lock")
    lock = KernelLock(tmp_path / "x.lock")
    with pytest.raises(NotPermitted, match="no regular file"):
        lock.try_acquire()
    assert lock.holder().pid is None


@root_only
def test_root_is_refused_anothers_state_folder_and_told_whom_to_be(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    with pytest.raises(NotPermitted, match="belongs to nobody") as caught:
        private_dir(state)
    assert caught.value.hint == "run it as its owner: sudo -u nobody pipesched ..."


@root_only
def test_root_is_warned_that_what_it_makes_in_anothers_folder_is_of_no_use_to_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    private_dir(theirs / "a" / "state")
    (record,) = caplog.records
    assert "theirs belongs to nobody" in record.getMessage()
    assert "sudo -u nobody pipesched" in record.getMessage()
    caplog.clear()
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    assert private_dir(shared / "state").stat().st_uid == 0
    (theirs / "old").mkdir(mode=0o700)  # from before: it is root's, and stays in use
    assert private_dir(theirs / "old" / "index").stat().st_uid == 0
    assert caplog.records == []


@root_only
def test_root_leaves_a_file_its_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    path.write_bytes(b"old")
    path.chmod(0o640)
    os.chown(path, NOBODY, NOBODY)
    write_atomic(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (NOBODY, NOBODY, 0o640)


def test_who_may_not_read_is_told_so_and_not_shown_a_traceback(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    done = subprocess.run(
        [*bound_by_permissions(), PIPESCHED, "--file", str(closed / "schedules.json"), "list", "--json"],
        env=clean_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    closed.chmod(0o700)
    assert done.returncode == 77, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "not_permitted"
    assert "Traceback" not in done.stderr


def test_a_stale_temporary_name_that_is_a_link_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    link = tmp_path / ".pipesched-0123456789abcdef.tmp"
    link.symlink_to(precious)
    write_atomic(tmp_path / "a.json", b"x")
    assert link.is_symlink()
    assert precious.read_text() == "precious"


def test_a_command_that_writes_refuses_the_planted_state_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / ".pipesched").symlink_to(tmp_path / "data")
    done = pipesched("run", "--json", cwd=tmp_path)
    assert done.code == 77
    assert done.json["error"]["code"] == "not_permitted"
    assert list((tmp_path / "data").iterdir()) == []
