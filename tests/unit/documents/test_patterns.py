"""Which files a pattern means."""

import fnmatch
import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipesched.pipeline.patterns import compile_pattern

FILES = [
    "a.md",
    "A.MD",
    "b.txt",
    "md",
    "a.md.bak",
    "posts/a.md",
    "posts/2026/a.md",
    "posts/2026/01/a.md",
    "drafts/posts/a.md",
    "posts",
    "[x].md",
    "a.{md}",
    "x\ny.md",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.md", ["a.md", "posts/a.md", "posts/2026/a.md", "posts/2026/01/a.md", "drafts/posts/a.md", "[x].md", "x\ny.md"]),
        ("**/*.md", ["a.md", "posts/a.md", "posts/2026/a.md", "posts/2026/01/a.md", "drafts/posts/a.md", "[x].md", "x\ny.md"]),
        ("./*.md", ["a.md", "posts/a.md", "posts/2026/a.md", "posts/2026/01/a.md", "drafts/posts/a.md", "[x].md", "x\ny.md"]),
        ("posts/*.md", ["posts/a.md"]),
        ("posts/**/*.md", ["posts/a.md", "posts/2026/a.md", "posts/2026/01/a.md"]),
        ("posts/**", ["posts/a.md", "posts/2026/a.md", "posts/2026/01/a.md"]),
        ("posts/*/a.md", ["posts/2026/a.md"]),
        ("**/posts/*.md", ["posts/a.md", "drafts/posts/a.md"]),
        ("a.??", ["a.md", "posts/a.md", "posts/2026/a.md", "posts/2026/01/a.md", "drafts/posts/a.md"]),
        ("[aA].[mM][dD]", ["a.md", "A.MD", "posts/a.md", "posts/2026/a.md", "posts/2026/01/a.md", "drafts/posts/a.md"]),
        ("[!a].txt", ["b.txt"]),
        ("[[]x[]].md", ["[x].md"]),
        ("*.{md}", ["a.{md}"]),
        ("*.{md,txt}", []),
        ("*.MD", ["A.MD"]),
        ("*", FILES),
        ("**", FILES),
        ("[z-a].md", []),
        ("[", []),
    ],
)  # fmt: skip
def test_a_pattern_means_these_files(pattern: str, expected: list[str]) -> None:
    matcher = compile_pattern(pattern)
    assert [file for file in FILES if matcher.fullmatch(file)] == expected


names = st.text("ab.*?[]!-^\\{} &|~", min_size=1, max_size=8).filter(lambda name: name not in {".", ".."})


@given(names, names)
def test_one_part_means_what_the_standard_librarys_fnmatch_means(pattern: str, name: str) -> None:
    assume(pattern.strip(".") and not pattern.startswith("./"))
    expected = re.match(fnmatch.translate(pattern), name) is not None
    assert (compile_pattern(pattern).fullmatch(name) is not None) == expected


def test_many_stars_do_not_take_for_ever() -> None:
    started = time.perf_counter()
    assert compile_pattern("*a" * 30 + "b").fullmatch("a" * 250) is None
    assert time.perf_counter() - started < 0.5
