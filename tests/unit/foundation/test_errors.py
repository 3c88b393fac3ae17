"""The error tree, its drawing and its documentation agree."""

import inspect
import re
from pathlib import Path

import pytest

from pipesched import errors
from pipesched.errors import Interrupted, NotFound, PipeschedError, exit_status

ROOT = Path(__file__).parents[3]


def classes() -> dict[str, type[PipeschedError]]:
    found = {
        name: value
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, PipeschedError)
    }
    assert len(found) > 10
    return found


def statuses(name: str) -> list[int]:
    kind = classes()[name]
    return [130, 143] if issubclass(kind, Interrupted) else [kind.exit_code]


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    drawn = {}
    for name, numbers in re.findall(r"([A-Z]\w+) \(?([0-9]+(?:, [0-9]+)*)\)?", errors.__doc__ or ""):
        drawn[name] = [int(number) for number in numbers.split(", ")]
    assert drawn == {name: statuses(name) for name in classes()}


def test_the_drawing_hangs_each_class_below_its_parent() -> None:
    parents = {}
    top = "PipeschedError"
    branch = top
    for line in (errors.__doc__ or "").splitlines():
        names = re.findall(r"[├└]── ([A-Z]\w+)", line)
        deep = line.startswith(("    │", "        "))
        for name in names:
            parents[name] = branch if deep else top
        if names and not deep:
            branch = names[0]
    assert parents == {name: kind.__base__.__name__ for name, kind in classes().items() if name != top}


def test_every_exit_code_is_documented_and_every_documented_one_is_real() -> None:
    documented = set()
    for cell in re.findall(r"^\| ([0-9, ]+) \|", (ROOT / "docs" / "exit-codes.md").read_text(), re.MULTILINE):
        documented.update(int(number) for number in cell.split(","))
    real = {status for name in classes() for status in statuses(name)}
    assert documented == real | {0, 3}  # done; partial, which is a result and no error


def test_no_two_classes_share_a_code() -> None:
    codes = [kind.code for kind in classes().values()]
    assert len(codes) == len(set(codes))


def test_a_code_is_a_word_that_scripts_can_match() -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code) for kind in classes().values())


def test_what_was_not_found_is_said_at_the_raise() -> None:
    error = NotFound("there is no job x", hint="pipesched list", code="job_not_found")
    assert error.as_dict() == {
        "code": "job_not_found",
        "message": "there is no job x",
        "hint": "pipesched list",
    }
    assert NotFound.code == "not_found"


@pytest.mark.parametrize(("number", "status"), [(2, 130), (15, 143)])
def test_an_interrupted_run_exits_as_the_shell_counts_signals(number: int, status: int) -> None:
    assert exit_status(Interrupted(number)) == status
