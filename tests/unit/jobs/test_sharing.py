"""Two jobs, one collection."""

from pathlib import Path

import pytest

from pipesched.errors import InvalidValue, SettingsConflict
from pipesched.jobs.model import Defaults, JobFile
from pipesched.jobs.sharing import MUST_AGREE, check_sharing
from pipesched.options import PipelineConfig

OTHER = {
    "data_dir": "other",
    "data_dir_pattern": "*.markdown",
    "embedding_model": "ollama:x",
    "chunk_size": 700,
    "chunk_overlap": 50,
    "use_chunking": False,
}


def check(
    job,
    home: Path,
    *configs: dict,
    defaults: dict | None = None,
    environment: dict | None = None,
    changed="1",
) -> None:
    jobs = [job(str(number), config=PipelineConfig(**config)) for number, config in enumerate(configs)]
    file = JobFile(
        jobs={each.id: each for each in jobs}, defaults=Defaults(config=PipelineConfig(**(defaults or {})))
    )
    check_sharing(file, [changed], environment=PipelineConfig(**(environment or {})), home=home)


@pytest.mark.parametrize("option", MUST_AGREE)
def test_each_option_that_must_agree_is_compared_and_named(job, tmp_path: Path, option: str) -> None:
    with pytest.raises(SettingsConflict) as caught:
        check(job, tmp_path, {}, {option: OTHER[option]})
    assert "job 1 " in caught.value.message
    assert "job 0 " in caught.value.message
    assert f"--{option.replace('_', '-')} (" in caught.value.message
    assert caught.value.message.count("--") == 1


def test_what_need_not_agree_may_differ(job, tmp_path: Path) -> None:
    check(
        job,
        tmp_path,
        {},
        {"dry_run": True, "force_recreate": True, "incremental_mode": "full", "ci_mode": True},
    )


def test_another_collection_or_store_is_another_matter(job, tmp_path: Path) -> None:
    check(job, tmp_path, {}, {**OTHER, "collection_name": "other"})
    check(job, tmp_path, {}, {**OTHER, "storage_path": "db/other"})
    check(job, tmp_path, {"storage_path": "http://a:1"}, {**OTHER, "storage_path": "http://a:2"})


def test_one_store_is_known_under_its_other_names(job, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for one, other in (
        ("real", "link"),
        ("real", str(tmp_path / "real")),
        ("real", "./x/../real"),
        ("http://a:1", "http://A:1/"),
    ):
        with pytest.raises(SettingsConflict):
            check(job, tmp_path, {"storage_path": one}, {**OTHER, "storage_path": other})


def test_one_folder_under_two_names_agrees(job, tmp_path: Path) -> None:
    (tmp_path / "posts").mkdir()
    (tmp_path / "link").symlink_to("posts")
    check(job, tmp_path, {"data_dir": "posts/"}, {"data_dir": "link"})
    check(job, tmp_path, {"data_dir": "posts"}, {"data_dir": str(tmp_path / "posts")})


def test_what_holds_by_default_or_environment_counts(job, tmp_path: Path) -> None:
    check(
        job,
        tmp_path,
        {},
        {"chunk_size": 700, "chunk_overlap": 50},
        defaults={"chunk_size": 700, "chunk_overlap": 50},
    )
    check(job, tmp_path, {}, {"data_dir": "x"}, environment={"data_dir": "x"})
    with pytest.raises(SettingsConflict):
        check(
            job,
            tmp_path,
            {},
            {"chunk_size": 1000, "chunk_overlap": 200},
            defaults={"chunk_size": 700, "chunk_overlap": 50},
        )


def test_only_what_changed_is_judged(job, tmp_path: Path) -> None:
    check(job, tmp_path, {}, OTHER, {"collection_name": "third"}, changed="2")


def test_options_that_do_not_fit_together_are_refused_where_they_changed(job, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="chunk-overlap"):
        check(job, tmp_path, {}, {"chunk_overlap": 5000})
    check(job, tmp_path, {"chunk_overlap": 5000}, {})
