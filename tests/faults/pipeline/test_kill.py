"""SIGKILL at every commit step, and at any moment: one clean run later the collection is that of a fresh build."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipesched.pipeline import faults
from pipesched.pipeline.vectors import EMBED_AT_ONCE
from support.command import clean_environment
from support.indexing import Index, Model, difference, same

CHILD = str(Path(__file__).parents[2] / "support" / "indexing_child.py")
PARAGRAPH = "Paragraph {} of post {} says something that no other paragraph of any other post says."


class Children:
    """Starts runs one after the other, and says how each ended."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, CHILD],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, index: Index, fault: str = "", *, kill_after: float | None = None, **options: Any) -> int:
        """The exit code, negative for a signal."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {
            "home": str(index.home),
            "log": str(index.home / "log"),
            "fault": fault,
            "rebuild": options.pop("rebuild", False),
            "hours": options.pop("hours", 0),
            "options": options,
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    started = Children()
    with started.process:
        yield started


def posts(index: Index, count: int, *, paragraphs: int = 4) -> None:
    for post in range(count):
        text = "\n\n".join(PARAGRAPH.format(number, post) for number in range(paragraphs))
        index.write(f"{post % 3}/post-{post}.md", text, title=f"Post {post}")


def edit(index: Index) -> None:
    """Every kind of change at once."""
    index.write("0/post-0.md", "All of it is new.", title="Post 0")
    index.write("1/post-1.md", "\n\n".join(PARAGRAPH.format(n, 1) for n in range(4)), title="Another title")
    (index.posts / "2/post-2.md").rename(index.posts / "renamed.md")
    (index.posts / "0/post-3.md").unlink()
    (index.posts / "1/post-4.md").write_text("---\ndraft: true\n---\nnot yet")
    index.write("new.md", "A post that was not there.", title="New")


def embedded(index: Index) -> Counter[str]:
    log = index.home / "log"
    return Counter(log.read_text().split()) if log.exists() else Counter()


def run_cleanly(children: Children, index: Index, **options: Any) -> None:
    assert children.run(index, **options) == 0
    assert (index.home / "log.outcome").read_text().startswith("succeeded")


def expect_as_fresh(index: Index, **options: Any) -> None:
    ours, wanted = index.rows(), index.fresh(**options)
    assert same(ours, wanted), difference(ours, wanted)


UPDATING = [
    "scanned",
    "cached",
    "intended",
    "upserted",
    "updated",
    "deleted",
    "committed",
    "finished",
]
BUILDING = [
    "generation-recorded",
    "created",
    "intended",
    "upserted",
    "committed",
    "generation-checked",
    "swap-recorded",
    "swap-half",
    "swap-done",
    "swap-committed",
    "finished",
]
DROPPING = ["retired-dropped"]
READING_BACK = ["read-back"]


def killed_at(children: Children, index: Index, point: str, **options: Any) -> None:
    code = children.run(index, f"{point}:kill", **options)
    assert code == -signal.SIGKILL, f"the run never came to {point}"


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path, model=Model(), real_store=True)


@pytest.mark.slow
@pytest.mark.parametrize("point", UPDATING)
def test_a_kill_at_any_step_of_an_update_is_mended_by_the_next_run(
    children: Children, index: Index, point: str
) -> None:
    posts(index, 6)
    run_cleanly(children, index)
    edit(index)
    killed_at(children, index, point)
    run_cleanly(children, index)
    expect_as_fresh(index)
    assert max(embedded(index).values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("point", ["created", "cached", "intended", "upserted", "committed"])
def test_a_kill_at_any_step_of_the_first_run_is_mended_by_the_next(
    children: Children, index: Index, point: str
) -> None:
    posts(index, 5)
    killed_at(children, index, point)
    run_cleanly(children, index)
    expect_as_fresh(index)
    assert max(embedded(index).values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("point", BUILDING)
def test_a_kill_at_any_step_of_a_new_generation_is_mended_by_the_next_run(
    children: Children, index: Index, point: str
) -> None:
    posts(index, 5)
    run_cleanly(children, index)
    killed_at(children, index, point, chunk_size=70)
    run_cleanly(children, index, chunk_size=70)
    expect_as_fresh(index, chunk_size=70)
    assert max(embedded(index).values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("rebuild", [False, True])
def test_a_kill_while_a_lost_state_is_read_back_takes_no_row_from_the_collection(
    children: Children, index: Index, rebuild: bool
) -> None:
    posts(index, 6)
    run_cleanly(children, index)
    before = index.rows()
    for state in index.index_dir.glob("posts-*"):
        state.unlink()
    killed_at(children, index, "read-back", rebuild=rebuild)
    assert same(index.rows(), before)
    run_cleanly(children, index)
    expect_as_fresh(index)
    assert "not ours" not in (index.home / "log.outcome").read_text()
    assert max(embedded(index).values()) == 1


def test_every_step_that_a_run_can_die_at_is_tried_here() -> None:
    assert set(faults.POINTS) == {*UPDATING, *BUILDING, *DROPPING, *READING_BACK}


@pytest.mark.slow
def test_a_kill_when_an_old_generation_is_dropped_is_mended_by_the_next_run(
    children: Children, index: Index
) -> None:
    posts(index, 3)
    run_cleanly(children, index)
    run_cleanly(children, index, chunk_size=70)
    killed_at(children, index, "retired-dropped", chunk_size=70, hours=3)
    run_cleanly(children, index, chunk_size=70, hours=3)
    expect_as_fresh(index, chunk_size=70)


@pytest.mark.slow
def test_kills_at_any_moment_are_mended_by_one_clean_run(children: Children, index: Index) -> None:
    draw = random.Random(1)
    posts(index, 60, paragraphs=8)
    for round_ in range(8):
        children.run(index, kill_after=draw.uniform(0.05, 1.2), chunk_size=draw.choice([120, 70]))
        if round_ == 4:
            edit(index)
    run_cleanly(children, index, chunk_size=120)
    expect_as_fresh(index, chunk_size=120)
    # Only what was embedded and not yet in the cache when a kill came is embedded again: a batch at most.
    again = sum(count - 1 for count in embedded(index).values())
    assert again <= 8 * EMBED_AT_ONCE
