"""`run`, `rebuild`, `search` and `verify` as CONTRACT: keys of the JSON, exit codes, streams."""

from pathlib import Path

import pytest

from support.command import Result, pipesched
from support.contract import REPORT, STATS


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good post, one that cannot be parsed, indexed."""
    home = tmp_path_factory.mktemp("site")
    (home / "data").mkdir()
    (home / "data" / "good.md").write_text("---\ntitle: Good\n---\nA short post about whales.\n")
    (home / "data" / "bad.md").write_text("---\ntitle: [\n---\nNever closed.\n")
    return home


@pytest.fixture(scope="module")
def first(site: Path) -> Result:
    return pipesched("run", "--json", cwd=site)


def test_a_run_report_has_every_key(first: Result) -> None:
    report = first.json
    assert set(report) >= REPORT
    assert set(report["stats"]) == STATS
    assert {frozenset(item) for item in report["documents"]} == {
        frozenset({"source", "change", "reason", "chunks"})
    }
    assert {frozenset(item) for item in report["errors"]} == {frozenset({"source", "code", "message"})}


def test_a_failed_document_makes_the_run_partial_with_exit_code_3(first: Result) -> None:
    report = first.json
    assert first.code == 3
    assert (report["status"], report["success"]) == ("partial", False)
    stats = report["stats"]
    assert stats["total_documents"] == stats["new_documents"] + stats["failed_documents"] == 2
    assert [error["source"] for error in report["errors"]] == ["bad.md"]
    assert first.err == ""


def test_a_dry_run_is_told_by_its_report_and_writes_none(site: Path, first: Result) -> None:
    before = sorted(site.rglob("*"))
    done = pipesched("run", "--dry-run", "--json", cwd=site)
    assert done.code == 3
    assert done.json["dry_run"] is True
    assert sorted(site.rglob("*")) == before


def test_search_has_its_keys_and_an_unknown_collection_an_error(site: Path, first: Result) -> None:
    found = pipesched("search", "whales", "--json", cwd=site)
    assert found.code == 0
    (result,) = found.json["results"]
    assert set(result) == {"score", "source", "url", "title", "chunk_index", "text"}
    missing = pipesched("search", "whales", "--collection-name", "nothing", "--json", cwd=site)
    assert missing.code == 4
    assert missing.json["error"]["code"] == "collection_not_found"
    assert "pipesched run" in missing.json["error"]["hint"]


def test_a_result_is_three_lines_whatever_is_in_a_files_name(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "new\nline.md").write_text("About whales.\n")
    assert pipesched("run", "--json", cwd=tmp_path).code == 0
    found = pipesched("search", "whales", cwd=tmp_path)
    title, source, text = found.out.splitlines()
    assert title.lower().endswith("new line")
    assert source.startswith("   new line.md  (chunk 0)")
    assert text == "   About whales."


def test_search_in_a_folder_without_a_store_makes_none(tmp_path: Path) -> None:
    assert pipesched("search", "whales", "--json", cwd=tmp_path).code == 4
    assert list(tmp_path.iterdir()) == []


def test_verify_lists_differences_and_exits_1(site: Path, first: Result) -> None:
    sound = pipesched("verify", "--json", cwd=site)
    assert sound.code == 0
    assert {"ok", "missing", "extra", "changed", "bad_vectors"} <= set(sound.json)
    (site / "data" / "later.md").write_text("A post that no run has seen.\n")
    try:
        differing = pipesched("verify", "--json", cwd=site)
    finally:
        (site / "data" / "later.md").unlink()
    assert differing.code == 1
    assert len(differing.json["missing"]) == 1


def test_a_missing_data_folder_is_exit_code_2_and_makes_nothing_but_a_record(tmp_path: Path) -> None:
    done = pipesched("run", "--json", cwd=tmp_path)
    assert done.code == 2
    assert done.json["status"] == "failed"
    assert done.json["error"]["code"] == "data_dir_missing"
    assert (done.json["mode"], done.json["mode_reason"]) == (
        "incremental",
        "the run failed before it decided",
    )
    rebuilt = pipesched("rebuild", "--json", cwd=tmp_path)
    assert (rebuilt.code, rebuilt.json["mode"], rebuilt.json["mode_reason"]) == (2, "rebuild", "asked for")
    assert not (tmp_path / "db").exists()


def test_an_empty_new_folder_is_exit_code_0(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert pipesched("run", cwd=tmp_path).code == 0


def test_a_collection_of_others_is_exit_code_78(tmp_path: Path) -> None:
    from pipesched.pipeline.stores import open_store

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.md").write_text("One.\n")
    store = open_store(str(tmp_path / "db" / "vector_store"))
    store.create("blog_documents", {"who": "somebody"})
    store.close()
    done = pipesched("run", "--json", cwd=tmp_path)
    assert done.code == 78
    assert done.json["error"]["code"] == "collection_not_ours"
    assert "--adopt" in done.json["error"]["hint"]


def test_a_busy_store_is_exit_code_75_and_names_who_holds_it(site: Path, first: Result) -> None:
    from pipesched.files import KernelLock

    with KernelLock(site / "db" / "vector_store.lock", what="run nightly") as lock:
        assert lock.try_acquire()
        done = pipesched("run", "--json", cwd=site)
    assert done.code == 75
    assert "run nightly" in done.json["error"]["message"]


def test_a_job_that_met_a_busy_store_by_hand_has_not_failed(tmp_path: Path) -> None:
    from pipesched.files import KernelLock

    (tmp_path / "data").mkdir()
    (tmp_path / "db").mkdir()
    assert pipesched("add-interval", "often", "--every", "1h", cwd=tmp_path).code == 0
    with KernelLock(tmp_path / "db" / "vector_store.lock", what="run nightly") as lock:
        assert lock.try_acquire()
        assert pipesched("run", "often", cwd=tmp_path).code == 75
    (row,) = pipesched("history", "often", "--json", cwd=tmp_path).json["runs"]
    assert (row["status"], row["exit_code"]) == ("skipped", 75)
    assert "run nightly" in row["reason"]
    status = pipesched("status", "--json", cwd=tmp_path).json
    assert (status["jobs_failed"], status["jobs_skipped"]) == (0, 1)


def test_a_question_that_is_no_text_is_exit_code_2(site: Path, first: Result) -> None:
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = pipesched("search", "ünïcödé", "--json", cwd=site, env=locale)
    assert (done.code, done.json["error"]["code"]) == (2, "invalid_value")
