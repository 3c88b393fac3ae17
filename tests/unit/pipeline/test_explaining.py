"""What a run says at DEBUG of each document: why it is kept, read, embedded or removed."""

import logging
import os
from pathlib import Path

import pytest

from support.indexing import Index


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(
        logging.getLogger("pipesched"), "propagate", True
    )  # an in-process command may have set it
    caplog.set_level(logging.DEBUG, "pipesched")
    return caplog


def test_each_document_is_said_with_its_reason(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    index = Index(tmp_path)
    for name in ("kept", "touched", "edited", "moved", "gone"):
        index.write(f"{name}.md", f"# {name}\n\nSomething of {name}.", title=name)
    index.run()
    said.clear()
    os.utime(index.posts / "touched.md", (1_600_000_000, 1_600_000_000))
    index.write("edited.md", "# edited\n\nSomething else.", age=-5, title="edited")
    (index.posts / "moved.md").rename(index.posts / "here.md")
    (index.posts / "gone.md").unlink()
    index.write("draft.md", "# draft", draft="true")
    index.write("added.md", "# added")
    index.run()
    lines = {record.getMessage() for record in said.records if record.name.startswith("pipesched.pipeline")}
    for line in (
        "document kept.md is kept: its content is the same",
        "document touched.md is read: only its modification time changed",
        "document edited.md is read: its content changed",
        "document edited.md: modified, its content changed: 1 of 1 chunks; 1 chunks to write, 0 with new metadata only, 1 to delete, 0 as they are",
        "document here.md is read: was moved.md",
        "document gone.md is removed: its file is gone",
        "document added.md is read: it is new",
        "document added.md: new; 1 chunks to write, 0 with new metadata only, 0 to delete, 0 as they are",
    ):
        assert line in lines, sorted(lines)
    assert any(line.startswith("document draft.md: skipped, ") for line in lines)
    assert any(line.startswith("of ") and "were embedded" in line for line in lines)
    assert not any("moved.md is" in line for line in lines), "it is told of under its new name"


def test_a_withheld_removal_is_said_with_what_withholds_it(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    index = Index(tmp_path)
    index.write("one.md", "# One")
    index.run()
    (index.posts / "one.md").unlink()
    index.run()
    assert "document one.md stays: its removal is withheld, the data folder is empty" in said.text
