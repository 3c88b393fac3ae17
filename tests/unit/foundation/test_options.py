"""The pipeline options: precedence, checks, paths."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.errors import InvalidValue
from pipesched.options import (
    BUILT_IN,
    PATH_OPTIONS,
    PIPELINE_OPTIONS,
    PipelineConfig,
    anchored,
    for_job_file,
    from_environment,
    resolve,
)

HOME = Path("/srv/blog")
CWD = Path("/home/me")

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "data_dir": st.sampled_from(["posts", "/data/posts", "../up"]),
    "data_dir_pattern": st.sampled_from(["*.md", "posts/**/*.md"]),
    "storage_path": st.sampled_from(["db", "/var/db", "http://localhost:8000"]),
    "collection_name": st.sampled_from(["abc", "posts-2", "a.b_c"]),
    "embedding_model": st.sampled_from(["onnx:all-MiniLM-L6-v2", "ollama:x:latest"]),
    "chunk_size": st.integers(50_000, 100_000),
    "chunk_overlap": st.integers(0, 999),
    "incremental_mode": st.sampled_from(["auto", "incremental", "full"]),
    "blog_base_url": st.sampled_from(["https://a.example", "/blog", ""]),
    "base_url": st.sampled_from(["https://cdn.example/x", "/media"]),
}
VALUES |= {name: st.booleans() for name in PIPELINE_OPTIONS if name not in VALUES}
LEVEL = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})


def test_every_option_has_a_strategy_and_a_field_at_every_level() -> None:
    assert set(VALUES) == set(PIPELINE_OPTIONS) == set(PipelineConfig.model_fields)


@given(flags=LEVEL, job=LEVEL, environment=LEVEL, defaults=LEVEL)
def test_a_flag_goes_before_the_job_before_the_environment_before_the_defaults_before_the_built_in(
    flags: dict[str, Any], job: dict[str, Any], environment: dict[str, Any], defaults: dict[str, Any]
) -> None:
    levels = [flags, job, environment, defaults]
    found = asdict(
        resolve(
            flags=PipelineConfig(**flags),
            job=PipelineConfig(**job),
            environment=PipelineConfig(**environment),
            defaults=PipelineConfig(**defaults),
            home=HOME,
            cwd=CWD,
        )
    )
    for name in PIPELINE_OPTIONS:
        strongest = next((level[name] for level in levels if level[name] is not None), None)
        expected = getattr(BUILT_IN, name) if strongest is None else strongest
        if name in PATH_OPTIONS:
            expected = anchored(expected, CWD if flags[name] is not None else HOME)
        if name == "chunk_overlap" and strongest is None:
            assert found[name] < found["chunk_size"]
            continue
        assert found[name] == expected, name


@given(level=LEVEL)
def test_the_environment_says_the_same_as_a_flag(level: dict[str, Any]) -> None:
    environ = {
        f"PIPESCHED_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in level.items()
        if value is not None
    }
    expected = {name: value for name, value in level.items() if value not in {None, ""}}
    assert from_environment(environ).set_values() == expected


@given(size=st.integers(50, 199))
def test_a_chunk_smaller_than_the_built_in_overlap_takes_its_proportion(size: int) -> None:
    options = resolve_flags(chunk_size=size)
    assert options.chunk_overlap == size // 5


def resolve_flags(home: Path = HOME, cwd: Path = CWD, **flags: Any) -> Any:
    unset = PipelineConfig()
    return resolve(
        flags=PipelineConfig(**flags), job=unset, environment=unset, defaults=unset, home=home, cwd=cwd
    )


BAD = [
    ("data_dir", " "),
    ("data_dir", "a\0b"),
    ("storage_path", ""),
    ("storage_path", "ftp://host/x"),
    ("storage_path", "http://"),
    ("storage_path", "http://host:99999"),
    ("storage_path", "http://[::1"),
    ("data_dir_pattern", "/etc/*"),
    ("data_dir_pattern", "../*.md"),
    ("data_dir_pattern", "a/../../*.md"),
    ("collection_name", "ab"),
    ("collection_name", "has space"),
    ("collection_name", "a..b"),
    ("collection_name", "-ab"),
    ("collection_name", "x" * 501),
    ("embedding_model", "gpt"),
    ("embedding_model", "onnx:"),
    ("embedding_model", "onnx:../../etc/passwd"),
    ("embedding_model", "ollama:a b"),
    ("chunk_size", 0),
    ("chunk_size", 49),
    ("chunk_size", 100_001),
    ("chunk_size", "many"),
    ("chunk_size", "9" * 5000),
    ("chunk_overlap", -1),
    ("use_chunking", "maybe"),
    ("incremental_mode", "AUTO"),
    ("blog_base_url", "blog.example"),
    ("blog_base_url", "javascript:alert(1)"),
    ("blog_base_url", "https://a b"),
    ("base_url", "https://a\nb"),
    ("force_recreate", 2),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value!r:.30}" for name, value in BAD])
def test_a_bad_value_is_refused_by_the_name_of_its_flag_and_its_variable(name: str, value: object) -> None:
    flag = "--" + name.replace("_", "-")
    with pytest.raises(InvalidValue) as caught:
        PipelineConfig.checked({name: value})
    assert caught.value.message.startswith(f"{flag}: ")
    assert caught.value.hint == f"see pipesched run --help for {flag}"
    assert len(caught.value.message) < 400
    if value != "":
        with pytest.raises(InvalidValue, match=f"in the environment: PIPESCHED_{name.upper()}: "):
            from_environment({f"PIPESCHED_{name.upper()}": str(value)})


def test_every_option_but_free_text_has_a_bad_value_above() -> None:
    booleans = {name for name in PIPELINE_OPTIONS if isinstance(getattr(BUILT_IN, name), bool)}
    assert set(PIPELINE_OPTIONS) - {name for name, _ in BAD} <= booleans


@pytest.mark.parametrize(
    ("given", "near"),
    [("chunksize", "--chunk-size"), ("datadir", "--data-dir"), ("colection_name", "--collection-name")],
)
def test_an_unknown_setting_names_the_nearest_one(given: str, near: str) -> None:
    with pytest.raises(InvalidValue, match="there is no such setting") as caught:
        PipelineConfig.checked({given: "1"}, where="job nightly: ")
    assert caught.value.message.startswith("job nightly: --")
    assert caught.value.hint == f"did you mean {near}?"


def test_an_overlap_that_does_not_fit_its_size_names_both_flags() -> None:
    with pytest.raises(InvalidValue, match=r"--chunk-overlap \(100\) must be below --chunk-size \(100\)"):
        PipelineConfig.checked({"chunk_size": 100, "chunk_overlap": 100})


def test_an_overlap_and_a_size_from_two_levels_must_fit_too() -> None:
    with pytest.raises(InvalidValue, match=r"--chunk-overlap \(300\) must be below --chunk-size \(250\)"):
        resolve(
            flags=PipelineConfig(chunk_size=250),
            job=PipelineConfig(chunk_overlap=300),
            environment=PipelineConfig(),
            defaults=PipelineConfig(),
            home=HOME,
            cwd=CWD,
        )


@pytest.mark.parametrize("word", ["1", "true", "YES", " on ", "True"])
def test_the_words_for_yes(word: str) -> None:
    assert from_environment({"PIPESCHED_DRY_RUN": word}).dry_run is True


@pytest.mark.parametrize("word", ["0", "false", "No", "off"])
def test_the_words_for_no(word: str) -> None:
    assert from_environment({"PIPESCHED_USE_CHUNKING": word}).use_chunking is False


def test_the_token_and_the_three_folders_are_no_pipeline_options() -> None:
    environ = {"PIPESCHED_HTTP_TOKEN": "secret", "PIPESCHED_FILE": "f", "PIPESCHED_STATE_DIR": "s"}
    assert from_environment(environ).set_values() == {}


def test_a_flags_path_is_taken_from_the_current_folder_and_all_others_from_the_job_files() -> None:
    options = resolve_flags(data_dir="posts")
    assert (options.data_dir, options.storage_path) == ("/home/me/posts", "/srv/blog/db/vector_store")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("posts", "posts"),
        ("/srv/blog/posts/", "posts"),
        ("/srv/blog", "."),
        ("../other", "/srv/other"),
        ("/data", "/data"),
        ("http://host:8000", "http://host:8000"),
    ],
)
def test_the_job_file_keeps_a_path_below_its_folder_relative_and_else_absolute(given: str, kept: str) -> None:
    assert for_job_file(given, home=HOME, cwd=HOME) == kept
    assert anchored(kept, HOME) == anchored(given, HOME)


def test_a_home_of_nobody_is_refused() -> None:
    with pytest.raises(InvalidValue, match="~nobody-by-this-name"):
        resolve_flags(data_dir="~nobody-by-this-name/posts")


def test_a_server_is_known_by_its_scheme_in_any_case() -> None:
    assert resolve_flags(storage_path="HTTP://host:8000/").storage_path == "HTTP://host:8000"
    assert resolve_flags(storage_path="HTTP://host:8000").store_is_server
    assert not resolve_flags(storage_path="httpd/db").store_is_server
