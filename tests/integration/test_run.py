"""A blog indexed, edited, searched and verified with the installed command and the packaged model."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.command import clean_environment, pipesched

BREAD = """---
title: How to bake bread
date: 2024-03-01
categories: [kitchen, slow]
---
Bread needs flour, water, salt and time. Knead the dough, let it rise overnight, and bake it in a hot oven.
"""
WHALES = """+++
title = "The songs of whales"
date = 2024-05-06
[taxonomies]
tags = ["ocean"]
+++
Humpback whales sing long songs in the deep ocean, and learn new ones from each other.
"""
TAXES = "# Filing a tax return\n\nA tax return is due in July; keep every receipt, and deduct what the law allows.\n"


@pytest.fixture(scope="module")
def blog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A blog that was indexed once; tests leave it in step."""
    home = tmp_path_factory.mktemp("blog")
    posts = home / "data"
    (posts / "taxes").mkdir(parents=True)
    (posts / "bread.md").write_text(BREAD)
    (posts / "whales.md").write_text(WHALES)
    (posts / "taxes" / "index.md").write_text(TAXES)
    (posts / "draft.md").write_text("---\ndraft: true\n---\nNot yet.\n")
    done = pipesched("run", "--blog-base-url", "https://blog.example", "--json", cwd=home)
    assert done.code == 0, done.err
    report = done.json
    assert report["stats"]["new_documents"] == 3
    assert report["stats"]["skipped_documents"] == 1
    assert report["mode"] == "full"
    return home


def run(home: Path, *arguments: str, code: int = 0) -> dict:
    done = pipesched("run", "--blog-base-url", "https://blog.example", *arguments, "--json", cwd=home)
    assert done.code == code, done.err + done.out
    return done.json


@pytest.mark.slow
def test_a_question_finds_the_post_that_answers_it_first(blog: Path) -> None:
    done = pipesched("search", "what do whales sing", "--json", cwd=blog)
    first = done.json["results"][0]
    assert (first["source"], first["title"], first["url"]) == (
        "whales.md",
        "The songs of whales",
        "https://blog.example/whales",
    )
    assert set(first) == {"score", "source", "url", "title", "chunk_index", "text"}
    assert 0.3 < first["score"] <= 1


@pytest.mark.slow
def test_search_keeps_to_its_conditions(blog: Path) -> None:
    done = pipesched("search", "what do whales sing", "--where", "categories=kitchen", "--json", cwd=blog)
    assert [result["source"] for result in done.json["results"]] == ["bread.md"]
    assert pipesched("search", "whales", "--where", "colour=red", cwd=blog).code == 2


@pytest.mark.slow
def test_a_run_without_change_imports_neither_the_store_nor_a_model(blog: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "pipesched",
            "run",
            "--blog-base-url",
            "https://blog.example",
        ],
        cwd=blog,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "nothing changed" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    heavy = {
        "chromadb",
        "onnxruntime",
        "tokenizers",
        "ollama",
        "numpy",
        "rich",
        "semantic_text_splitter",
        "httpx",
    }
    assert "pipesched.pipeline.run" in imported
    assert not imported & heavy


def test_what_only_changed_documents_or_damage_need_is_imported_with_them() -> None:
    late = ["yaml", "subprocess", "pipesched.pipeline.drift", "pipesched.pipeline.mending"]
    code = f"import sys, pipesched.pipeline.run; print([name for name in {late} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_edits_renames_and_deletes_arrive_and_nothing_else_is_embedded(blog: Path) -> None:
    posts = blog / "data"
    (posts / "bread.md").rename(posts / "kitchen.md")
    (posts / "new.md").write_text("# Gardens\n\nTomatoes want sun, water and a stake to climb.\n")
    planned = run(blog, "--dry-run")
    report = run(blog)
    assert planned["stats"] == report["stats"]
    assert report["stats"]["renamed_documents"] == 1
    assert report["stats"]["chunks_embedded"] == 1
    assert {(item["source"], item["change"]) for item in report["documents"]} == {
        ("kitchen.md", "renamed"),
        ("new.md", "new"),
        ("draft.md", "skipped"),
    }
    (posts / "kitchen.md").rename(posts / "bread.md")
    (posts / "new.md").unlink()
    assert run(blog)["stats"]["deleted_sources"] == 1
    verified = pipesched("verify", "--deep", "--blog-base-url", "https://blog.example", "--json", cwd=blog)
    assert verified.code == 0
    assert verified.json["ok"] is True


@pytest.mark.slow
def test_a_rebuild_embeds_nothing_and_a_search_goes_on_finding(blog: Path) -> None:
    done = pipesched("rebuild", "--blog-base-url", "https://blog.example", "--json", cwd=blog)
    assert done.code == 0, done.err
    assert (done.json["mode"], done.json["stats"]["chunks_embedded"]) == ("rebuild", 0)
    found = pipesched("search", "how long does dough rise", "-n", "1", "--json", cwd=blog)
    assert found.json["results"][0]["source"] == "bread.md"


@pytest.mark.slow
def test_a_store_that_vanished_is_put_back_from_the_cache(blog: Path) -> None:
    shutil.rmtree(blog / "db" / "vector_store")
    missing = pipesched("verify", "--blog-base-url", "https://blog.example", "--json", cwd=blog)
    assert missing.code == 1
    assert len(missing.json["missing"]) == 3
    report = run(blog)
    assert (report["stats"]["chunks_added"], report["stats"]["chunks_embedded"]) == (3, 0)


@pytest.mark.slow
def test_state_is_private_and_nothing_is_left_beside_it(blog: Path) -> None:
    index = blog / ".pipesched" / "index"
    assert index.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in index.iterdir()} == {0o600}
    assert {path.suffix for path in index.iterdir()} == {".sqlite3"}


@pytest.mark.slow
def test_a_thousand_posts_without_change_take_under_a_second(tmp_path: Path) -> None:
    from support.indexing import Index, Model

    index = Index(tmp_path, model=Model(dimensions=384), real_store=True)
    for number in range(1000):
        index.write(f"{number % 40}/{number}.md", f"Post {number}.", title=f"Post {number}")
    packaged(index)
    arguments = ["run", "--data-dir", "posts", "--storage-path", "store", "--collection-name", "posts"]
    arguments += ["--state-dir", "."]
    (tmp_path / "state").rename(tmp_path / "index")
    best = 10.0
    for _ in range(4):
        begun = time.monotonic()
        done = pipesched(
            arguments[0], "--json", *arguments[1:7], cwd=tmp_path, env={"PIPESCHED_STATE_DIR": str(tmp_path)}
        )
        best = min(best, time.monotonic() - begun)
        assert done.code == 0, done.err
        assert done.json["stats"]["unchanged_documents"] == 1000
    assert best < 1.0 or os.getloadavg()[0] > 2, best


def packaged(index) -> None:
    """Index with the packaged model's name and fingerprint, but vectors that cost nothing."""
    from dataclasses import replace

    from pipesched.pipeline import embedders

    spec = embedders.identify("onnx:all-MiniLM-L6-v2")
    index.model.spec = lambda _: spec
    index.options = replace(index.options, embedding_model=spec.model, chunk_size=1000, chunk_overlap=200)
    assert index.run().stats.new_documents == 1000


@pytest.mark.slow
def test_reports_of_a_run_are_one_json_document(blog: Path) -> None:
    report = run(blog)
    written = max((blog / "output").glob("report-*.json"))
    on_disk = json.loads(written.read_text())
    assert on_disk["run_id"] == report["run_id"]
    assert on_disk["stats"] == report["stats"]
