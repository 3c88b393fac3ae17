"""What pipesched leaves outside the places it was given."""

from pathlib import Path

import pytest

from support.command import pipesched


@pytest.mark.slow
def test_neither_a_run_nor_a_search_writes_into_the_home_folder(tmp_path: Path) -> None:
    """Chroma and onnxruntime would both keep an id there, with which they tell their makers about the machine."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    (project / "posts").mkdir(parents=True)
    (project / "posts" / "a.md").write_text("# Bread\n\nFlour, water, salt.\n")
    for command in (["run"], ["search", "bread"], ["doctor"]):
        done = pipesched(*command, "--data-dir", "posts", cwd=project, env={"HOME": str(home)})
        assert "telemetry" not in done.err
    assert list(home.rglob("*")) == []
