"""The scripts of examples/ci do under bash what docs/ci.md says, and the workflow names what exists."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.command import PIPESCHED, clean_environment, pipesched

ROOT = Path(__file__).parents[2]
CI = ROOT / "examples" / "ci"
BROKEN = "---\ntitle: [\n---\nA post.\n"


def script(
    name: str, *arguments: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    whole = clean_environment(env)
    whole["PATH"] = f"{Path(PIPESCHED).parent}{os.pathsep}{whole['PATH']}"
    return subprocess.run(
        ["bash", str(CI / name), *arguments], cwd=cwd, env=whole, capture_output=True, text=True, check=False
    )


@pytest.fixture
def blog(tmp_path: Path) -> Path:
    (tmp_path / "posts").mkdir()
    for name in ("sourdough-starter.md", "systemd-timers.md"):
        shutil.copy(ROOT / "examples" / "blog" / name, tmp_path / "posts")
    return tmp_path


@pytest.fixture
def github(blog: Path) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(blog),
        "GITHUB_STEP_SUMMARY": str(blog / "summary.md"),
        "GITHUB_OUTPUT": str(blog / "outputs"),
    }


def test_a_pull_request_with_good_posts_passes_and_touches_no_store(blog: Path) -> None:
    done = script("check-posts.sh", "posts", cwd=blog)
    assert done.returncode == 0, done.stderr
    assert "every post can be indexed" in done.stdout
    assert "::" not in done.stderr
    assert json.loads((blog / "output" / "ci_summary.json").read_text())["dry_run"] is True
    assert not (blog / "db").exists()
    assert not (blog / ".pipesched").exists()


def test_a_broken_post_is_annotated_where_it_is_broken(blog: Path, github: dict[str, str]) -> None:
    (blog / "posts" / "broken.md").write_text(BROKEN)
    done = script("check-posts.sh", "posts", cwd=blog, env=github)
    assert done.returncode == 3
    assert "some posts cannot be indexed" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("::")]
    assert line.startswith("::error title=pipesched front_matter,file=posts/broken.md,line=3::bad YAML")
    assert "### pipesched dry run: partial" in (blog / "summary.md").read_text()


def test_json_on_stdout_stays_one_document_under_github(blog: Path, github: dict[str, str]) -> None:
    (blog / "posts" / "broken.md").write_text(BROKEN)
    done = pipesched("run", "--dry-run", "--ci-mode", "--data-dir", "posts", "--json", cwd=blog, env=github)
    assert done.code == 3
    assert done.json["errors"][0]["source"] == "broken.md"
    assert "::error " in done.err


def test_a_missing_folder_stops_with_its_own_exit_code(blog: Path, github: dict[str, str]) -> None:
    done = script("check-posts.sh", "nowhere", cwd=blog, env=github)
    assert done.returncode == 2
    assert "the pipeline cannot run (exit 2)" in done.stderr
    assert re.search(
        r"^::error title=pipesched data_dir_missing::.*%0Aname the folder", done.stderr, re.MULTILINE
    )
    done = script("update-index.sh", "nowhere", cwd=blog)
    assert done.returncode == 2
    assert "again in" not in done.stderr


@pytest.mark.slow
def test_an_index_is_updated_counted_and_asked(blog: Path, github: dict[str, str]) -> None:
    (blog / "posts" / "broken.md").write_text(BROKEN)
    done = script("update-index.sh", "posts", cwd=blog, env=github)
    assert done.returncode == 0, done.stderr  # partial does not stop a deployment
    assert "partial" in done.stderr
    (blog / "posts" / "broken.md").unlink()
    done = script("what-changed.sh", cwd=blog, env=github)
    assert done.stdout.splitlines() == ["changed=2", "failed=1", "chunks_embedded=4"]
    assert (blog / "outputs").read_text() == done.stdout
    where = {"PIPESCHED_DATA_DIR": "posts"}
    done = script("ask.sh", "sourdough starter", "sourdough-starter.md", cwd=blog, env=where)
    assert done.returncode == 0, done.stderr
    done = script("ask.sh", "sourdough starter", "vector-search.md", cwd=blog, env=where)
    assert done.returncode == 1
    assert "none of the three nearest" in done.stderr


@pytest.mark.slow
def test_an_embedder_that_does_not_answer_is_tried_again_and_then_given_up(blog: Path) -> None:
    nobody = {"OLLAMA_HOST": "http://127.0.0.1:9", "TRIES": "2", "WAIT": "0"}
    done = script("update-index.sh", "posts", "--embedding-model", "ollama:m", cwd=blog, env=nobody)
    assert done.returncode == 69
    assert done.stderr.count("exit 69: again in 0 s") == 1


def test_the_lines_for_other_systems_print_what_would_happen(blog: Path) -> None:
    section = (ROOT / "docs" / "ci.md").read_text().partition("## Other systems")[2]
    (block,) = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    block = block.replace("content/posts", "posts")
    lines = blog / "lines.sh"
    lines.write_text(f"set -euo pipefail\n{block}")
    done = script(str(lines), cwd=blog)
    assert (done.returncode, done.stdout) == (0, "2 documents new, 4 chunks\n")
    (blog / "posts" / "broken.md").write_text(BROKEN)
    assert script(str(lines), cwd=blog).stdout == "2 documents new, 1 failed, 4 chunks\nexit 3\n"


def test_the_workflow_is_yaml_and_runs_scripts_and_options_that_exist() -> None:
    workflow: dict[Any, Any] = yaml.safe_load((CI / "github-workflow.yml").read_text())
    triggers = workflow[True]  # YAML 1.1 reads `on` as true; GitHub does not mind
    assert set(triggers) == {"pull_request", "push"}
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    named = {name for command in commands for name in re.findall(r"ci/([\w-]+\.sh)", command)}
    assert named == {path.name for path in CI.glob("*.sh")}
    from pipesched.options import from_environment

    assert from_environment(job["env"]).data_dir == "content/posts"
    assert all(("run" in step) != ("uses" in step) for step in job["steps"])


def test_the_scripts_are_sound_shell() -> None:
    shellcheck = Path(PIPESCHED).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, *CI.glob("*.sh"), ROOT / ".ci" / "run"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
