"""Where one invocation keeps things."""

from pathlib import Path

import pytest

from pipesched.errors import InvalidValue
from pipesched.settings import Paths, absolute


def test_without_a_word_everything_is_beside_the_job_file(tmp_path: Path) -> None:
    paths = Paths.resolve(environ={}, cwd=tmp_path)
    assert paths.job_file == tmp_path / "schedules.json"
    assert paths.state_dir == tmp_path / ".pipesched"
    assert paths.output_dir == tmp_path / "output"
    assert paths.home == tmp_path


def test_a_job_file_elsewhere_takes_state_and_output_along(tmp_path: Path) -> None:
    paths = Paths.resolve(file="a/jobs.json", environ={}, cwd=tmp_path)
    assert paths.state_dir == tmp_path / "a" / ".pipesched"
    assert paths.output_dir == tmp_path / "a" / "output"


def test_the_environment_is_taken_from_the_current_folder_and_a_flag_goes_before_it(tmp_path: Path) -> None:
    environ = {
        "PIPESCHED_FILE": "env/jobs.json",
        "PIPESCHED_STATE_DIR": "state",
        "PIPESCHED_OUTPUT_DIR": "/var/reports",
    }
    paths = Paths.resolve(environ=environ, cwd=tmp_path)
    assert paths.job_file == tmp_path / "env" / "jobs.json"
    assert paths.state_dir == tmp_path / "state"
    assert paths.output_dir == Path("/var/reports")
    paths = Paths.resolve(file="f.json", state_dir="s", output_dir="o", environ=environ, cwd=tmp_path)
    assert paths.job_file == tmp_path / "f.json"
    assert paths.state_dir == tmp_path / "s"
    assert paths.output_dir == tmp_path / "o"


def test_an_empty_variable_is_an_unset_one_and_an_empty_flag_a_mistake(tmp_path: Path) -> None:
    assert Paths.resolve(environ={"PIPESCHED_FILE": ""}, cwd=tmp_path).job_file.name == "schedules.json"
    with pytest.raises(InvalidValue, match="--state-dir: an empty path"):
        Paths.resolve(state_dir="", environ={}, cwd=tmp_path)


def test_the_state_directory_variable_of_systemd_is_not_read(tmp_path: Path) -> None:
    paths = Paths.resolve(environ={"STATE_DIRECTORY": "/var/lib/x"}, cwd=tmp_path)
    assert paths.state_dir == tmp_path / ".pipesched"


def test_a_bad_path_is_refused_by_where_it_came_from(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="--file: ~nobody-by-this-name"):
        Paths.resolve(file="~nobody-by-this-name/x", environ={}, cwd=tmp_path)
    with pytest.raises(InvalidValue, match="PIPESCHED_FILE in the environment: ~nobody-by-this-name"):
        Paths.resolve(environ={"PIPESCHED_FILE": "~nobody-by-this-name/x"}, cwd=tmp_path)


def test_a_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute("~/x", Path("/")) == tmp_path / "x"


def test_a_link_stays_visible_but_a_step_up_from_it_goes_where_the_kernel_goes(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/deep")
    assert absolute("link/state", tmp_path) == tmp_path / "link" / "state"
    assert absolute("link/../state", tmp_path) == tmp_path / "real" / "state"
    assert absolute("./a/./b", tmp_path) == tmp_path / "a" / "b"
    assert absolute("a/..", tmp_path) == tmp_path


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InvalidValue, match="loop"):
        absolute("loop/a/../x", tmp_path)
