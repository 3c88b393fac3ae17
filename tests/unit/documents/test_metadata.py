"""From front matter to metadata: every key, in every form that blogs write it in."""

import hashlib
from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.pipeline.metadata import document_metadata, is_draft, is_published
from pipesched.pipeline.model import METADATA_KEYS, MetadataValue


def metadata(values: dict, *, source: str = "posts/one.md", text: str = "Text.") -> dict[str, MetadataValue]:
    return document_metadata(
        source,
        text,
        values,
        url="https://blog.example/x",
        mtime_ns=1_768_737_600_000_000_000,
        base_url="https://cdn.example",
    )


def test_a_post_without_front_matter_has_what_its_file_tells() -> None:
    assert metadata({}, source="posts/2026-01-18-my-first_post.md", text="Text ü.") == {
        "source": "posts/2026-01-18-my-first_post.md",
        "url": "https://blog.example/x",
        "post_slug": "2026-01-18-my-first_post",
        "post_title": "my first post",
        "date": "2026-01-18",
        "published": True,
        "content_length": 7,
        "content_checksum": hashlib.sha256("Text ü.".encode()).hexdigest(),
        "file_modified_time": "2026-01-18T12:00:00+00:00",
    }


@pytest.mark.parametrize(
    ("values", "text", "title"),
    [
        ({"title": "Given"}, "# Heading", "Given"),
        ({"title": "  two\n lines\t"}, "", "two lines"),
        ({"title": 2026}, "", "2026"),
        ({"title": 1.5}, "", "1.5"),
        ({"title": date(2026, 1, 18)}, "", "2026-01-18"),
        ({"title": "\x1b[31mred\x1b[0m\0"}, "", "[31mred [0m"),
        ({"title": ""}, "# Heading", "Heading"),
        ({"title": None}, "intro\n\n## Second\n\n# First ##\n", "First"),
        ({"title": ["a", "list"]}, "# Heading", "Heading"),
        ({"title": {"en": "x"}}, "", "one"),
        ({}, "```\n# a comment\n```\n# Heading", "Heading"),
        ({}, "~~~\n```\n# a comment\n~~~\ntext", "one"),
        ({}, "#hashtag", "one"),
    ],
)
def test_the_title_is_given_or_the_first_heading_or_the_files_name(
    values: dict, text: str, title: str
) -> None:
    assert metadata(values, text=text)["post_title"] == title


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2026, 1, 18), "2026-01-18"),
        (datetime(2026, 1, 18, 9, 30), "2026-01-18T09:30:00"),  # noqa: DTZ001  as written, without a zone
        (datetime(2026, 1, 18, 9, 30, tzinfo=UTC), "2026-01-18T09:30:00+00:00"),
        (
            datetime(2026, 1, 18, 9, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            "2026-01-18T09:30:00+05:45",
        ),
        ("2015-10-30T12:00:00.000Z", "2015-10-30T12:00:00.000Z"),
        ("18 January 2026", "18 January 2026"),
        (20260118, "20260118"),
        (2026, "2026"),
        (True, None),
        (time(9, 30), None),
        (["2026-01-18"], None),
        ("", None),
    ],
)
def test_a_date_is_kept_as_precise_as_it_was_written(value: object, expected: str | None) -> None:
    assert metadata({"date": value}).get("date") == expected


@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        ("2026-01-18-x.md", {}, "2026-01-18"),
        ("2026-01-18_x.md", {"date": "2020-05-05"}, "2020-05-05"),
        ("2026-02-30-x.md", {}, None),
        ("2026-01-18.md", {}, None),
        ("x.md", {"path": "2018/09/13/Rust-1.29"}, "2018-09-13"),
        ("x.md", {"path": "/inside-rust/2020/04/23/x"}, "2020-04-23"),
        ("x.md", {"path": "2018/13/13/x"}, None),
        ("x.md", {"path": 7}, None),
    ],
)
def test_without_a_date_the_name_or_the_path_may_have_one(
    source: str, values: dict, expected: str | None
) -> None:
    assert metadata(values, source=source).get("date") == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"categories": ["a", "b"]}, ["a", "b"]),
        ({"categories": "a"}, ["a"]),
        ({"categories": "a, b c ,, a"}, ["a", "b c"]),
        ({"category": "release"}, ["release"]),
        ({"categories": ["a"], "tags": ["b", "a"]}, ["a", "b"]),
        ({"tags": "x"}, ["x"]),
        ({"taxonomies": {"categories": ["c"], "tags": ["t"]}}, ["c", "t"]),
        ({"categories": [1, 2.5, date(2026, 1, 1)]}, ["1", "2.5", "2026-01-01"]),
        ({"categories": ["a", None, "", {"x": 1}, ["y"]]}, ["a"]),
        ({"categories": []}, None),
        ({"categories": None}, None),
        ({"categories": {"a": 1}}, None),
        ({"taxonomies": "x"}, None),
    ],
)
def test_categories_and_tags_are_one_list_of_texts_or_absent(
    values: dict, expected: list[str] | None
) -> None:
    assert metadata(values).get("categories") == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"readingTime": 5}, 5),
        ({"readingTime": 3.5}, 3.5),
        ({"readingTime": "4 min"}, "4 min"),
        ({"reading_time": 6}, 6),
        ({"extra": {"reading_time": 7}}, 7),
        ({"params": {"readingTime": 8}}, 8),
        ({"readingTime": {"text": "4 min read", "minutes": 3.785, "words": 757}}, "4 min read"),
        ({"readingTime": {"minutes": 3.785}}, 3.785),
        ({"readingTime": 2**70}, str(2**70)),
        ({"readingTime": 3.6182506584860707e171}, "3.6182506584860707e+171"),
        ({"readingTime": 1 / 3}, 0.333333333333333),
        ({"readingTime": True}, None),
        ({"readingTime": [5]}, None),
        ({"readingTime": {"words": 1}}, None),
    ],
)
def test_a_reading_time_is_a_number_or_a_text(values: dict, expected: float | str | None) -> None:
    found = metadata(values).get("reading_time")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("key", ["cover_image", "cover_video"])
def test_covers_are_found_in_either_spelling_and_get_the_base_url(key: str) -> None:
    camel = {"cover_image": "coverImage", "cover_video": "coverVideo"}[key]
    for values in (
        {camel: "/a.png"},
        {key: "a.png"},
        {"extra": {camel: "a.png"}},
        {camel: {"src": "/a.png"}},
    ):
        assert metadata(values)[key] == "https://cdn.example/a.png"
    assert metadata({camel: "./a.png"})[key] == "https://cdn.example/posts/a.png"
    for value in ("", "  ", None, 5, ["a.png"], {"alt": "x"}):
        assert key not in metadata({camel: value})


@pytest.mark.parametrize(
    ("value", "slug"),
    [
        ("given", "given"),
        (7, "7"),
        ("", "one"),
        (None, "one"),
        (["x"], "one"),
        (True, "one"),
        (" a b ", "a b"),
    ],
)
def test_the_slug_is_given_or_the_last_part_of_the_path(value: object, slug: str) -> None:
    assert metadata({"slug": value})["post_slug"] == slug


def test_a_layout_a_path_or_a_permalink_changes_nothing() -> None:
    plain = metadata({"title": "x"})
    assert (
        metadata({"title": "x", "layout": "post", "permalink": "/elsewhere", "url": "/y", "path": "z"})
        == plain
    )


@pytest.mark.parametrize(
    ("value", "published"),
    [
        (True, True), (False, False), ("false", False), ("No", False), ("off", False), ("0", False), (0, False), (1, True),
        ("true", True), ("", True), (None, True), (date(2026, 1, 18), True), ("2026-01-18", True), ([], True),
    ],
    ids=repr,
)  # fmt: skip
def test_only_what_says_no_is_unpublished(value: object, published: bool) -> None:
    assert is_published({"published": value}) is published
    assert metadata({"published": value})["published"] is published


@pytest.mark.parametrize(
    ("value", "draft"),
    [
        (True, True),
        ("yes", True),
        ("true", True),
        (1, True),
        (False, False),
        ("no", False),
        (None, False),
        ("soon", False),
    ],
)
def test_only_what_says_yes_is_a_draft(value: object, draft: bool) -> None:
    assert is_draft({"draft": value}) is draft
    assert metadata({"draft": value})["published"] is not draft


@pytest.mark.parametrize("mtime_ns", [10**30, -(10**30), 253402300800 * 10**9])
def test_a_time_that_no_calendar_has_is_left_out(mtime_ns: int) -> None:
    found = document_metadata("a.md", "x", {}, url=None, mtime_ns=mtime_ns, base_url="")
    assert "file_modified_time" not in found
    assert "url" not in found


def test_a_file_from_before_1970_has_its_time() -> None:
    found = document_metadata("a.md", "x", {}, url=None, mtime_ns=-1, base_url="")
    assert found["file_modified_time"] == "1969-12-31T23:59:59+00:00"


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.binary(max_size=5),
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "title", "date", "description", "categories", "category", "tags", "taxonomies", "extra", "params", "slug", "coverImage",
    "coverVideo", "cover_image", "readingTime", "reading_time", "published", "draft", "layout", "path",
]  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(KEYS), trees),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
def test_whatever_front_matter_says_every_value_can_be_stored(values: dict, text: str) -> None:
    for key, value in metadata(values, text=text).items():
        assert key in METADATA_KEYS
        if isinstance(value, list):
            assert value
            assert all(isinstance(item, str) and item for item in value)
        else:
            assert isinstance(value, str | int | float | bool)
            assert value != ""
            assert not isinstance(value, int) or -(2**63) <= value < 2**63
