"""What a fork of this process says and answers, in processes that may fork: pytest's own has loaded too much."""

import subprocess
import sys

import pytest

from support.command import clean_environment

SCRIPT = """
import os, sys
from pipesched.errors import DataError, NotFound
from pipesched.pipeline.stores.isolation import isolated

def ask():
    os.write(2, b"said by the fork\\n" * 10_000)
    if sys.argv[1] == "refuses":
        raise NotFound("there is none")
    if sys.argv[1] == "damaged":
        raise DataError("torn", code="store_damaged")
    if sys.argv[1] == "dies":
        os.abort()
    return "x" * 1_000_000

try:
    print(len(isolated(ask, storage_path="store")))
except (DataError, NotFound) as error:
    print(error.code, error.message)
"""


@pytest.mark.parametrize(
    ("how", "answer", "is_said"),
    [
        ("answers", "1000000", True),
        ("refuses", "not_found there is none", True),
        ("damaged", "store_damaged torn", False),
        (
            "dies",
            "store_damaged the vector store store is damaged: Chroma died of SIGABRT when it read it",
            False,
        ),
    ],
)
def test_what_a_fork_says_is_kept_from_people_only_where_the_store_is_damaged(
    how: str, answer: str, is_said: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == answer
    assert done.stderr == ("said by the fork\n" * 10_000 if is_said else "")
