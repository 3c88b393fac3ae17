"""The laws of chunking: nothing lost, nothing too long, nothing that depends on anything but the text."""

import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.pipeline import documents
from pipesched.pipeline.chunks import Chunker
from pipesched.pipeline.embedders.ollama_api import most_tokens
from pipesched.pipeline.embedders.onnx import count_tokens

EXAMPLES = Path(__file__).parents[3] / "examples" / "blog"
WHITE = re.compile(r"\s+")


def posts() -> list[str]:
    found = documents.scan(str(EXAMPLES), "*.md").files
    read = [documents.read(file, documents.DocumentSettings()) for file in found]
    return [document.text for document in read if isinstance(document, documents.Document)]


WORDS = [
    "the",
    "and",
    "of",
    "bicycle",
    "Größe",
    "naïve",
    "金継ぎ",
    "한국어",
    "🐢",
    "👩\u200d👩\u200d👧",
    "é",
    "https://example.com/a/b?c=d",
    "9f86d081884c7d659a2f",
    "x",
]
sentence = st.lists(st.sampled_from(WORDS), min_size=1, max_size=25).map(lambda words: " ".join(words) + ". ")
paragraph = st.lists(sentence, min_size=1, max_size=4).map("".join)
block = st.one_of(
    paragraph,
    st.tuples(st.integers(1, 6), sentence).map(lambda pair: "#" * pair[0] + " " + pair[1]),
    st.lists(sentence, min_size=1, max_size=6).map(lambda items: "\n".join("- " + item for item in items)),
    st.lists(sentence, min_size=1, max_size=6).map(lambda lines: "```sh\n# " + "\n\n".join(lines) + "\n```"),
    st.lists(sentence, min_size=1, max_size=4).map(
        lambda rows: "| a | b |\n|-|-|\n" + "\n".join(f"| {r} | x |" for r in rows)
    ),
    st.lists(sentence, min_size=1, max_size=3).map(lambda lines: "".join(f"> {line}\n" for line in lines)),
    st.just("---"),
    st.just("~~~\nnever closed"),
    st.integers(50, 600).map(lambda n: "x" * n),
    st.text(max_size=80),
)
markdown = st.lists(block, max_size=8).map("\n\n".join)


def exactly(text: str) -> int:
    """A token a code point of the decomposed bytes, so that some characters have several."""
    return len(text.encode("utf-8", "surrogatepass"))


def chunkers(count: Callable[[str], int] | None = None) -> st.SearchStrategy[Chunker]:
    sizes = st.integers(50, 400)
    return sizes.flatmap(
        lambda size: st.builds(
            Chunker,
            size=st.just(size),
            overlap=st.integers(0, size // 2),
            max_tokens=st.none() if count is None else st.integers(12, 200),
            count_tokens=st.just(count),
        )
    )


def is_covered(text: str, chunks: list[str]) -> bool:
    """Whether the chunks, in order and overlapping or not, have all of `text` but white space."""
    wanted = WHITE.sub("", text)
    done = 0
    for chunk in chunks:
        piece = WHITE.sub("", chunk)
        start = wanted.rfind(piece, 0, done + len(piece))
        if start < 0:
            return False
        done = max(done, start + len(piece))
    return done == len(wanted)


@given(markdown, chunkers())
def test_every_character_but_white_space_is_in_some_chunk_and_none_is_too_long(
    text: str, chunker: Chunker
) -> None:
    chunks = chunker.split(text)
    assert is_covered(text, chunks)
    assert all(chunk.strip() for chunk in chunks)
    assert max(map(len, chunks), default=0) <= chunker.size


@given(markdown, chunkers(exactly))
def test_no_chunk_is_over_the_models_window_and_still_nothing_is_lost(text: str, chunker: Chunker) -> None:
    chunks = chunker.split(text)
    assert is_covered(text, chunks)
    assert max(map(len, chunks), default=0) <= chunker.size
    assert chunker.max_tokens is not None
    assert max(map(exactly, chunks), default=0) <= chunker.max_tokens


@given(markdown, st.sampled_from(["onnx:all-MiniLM-L6-v2", "ollama:any"]), st.integers(20, 254))
def test_the_counters_of_the_embedders_are_obeyed(text: str, model: str, window: int) -> None:
    count = count_tokens if model.startswith("onnx") else most_tokens
    text = text.encode("utf-8", "replace").decode()
    chunks = Chunker(1000, 200, max_tokens=window, count_tokens=count).split(text)
    assert is_covered(text, chunks)
    assert max(map(count, chunks), default=0) <= window


@given(markdown, markdown, chunkers(exactly))
def test_a_text_is_always_split_the_same_way_whatever_came_before_it(
    text: str, other: str, chunker: Chunker
) -> None:
    first = chunker.split(text)
    chunker.split(other)
    assert chunker.split(text) == first
    fresh = Chunker(
        chunker.size, chunker.overlap, max_tokens=chunker.max_tokens, count_tokens=chunker.count_tokens
    )
    assert fresh.split(text) == first


def test_another_process_and_another_thread_split_the_same_way() -> None:
    text = "\n\n".join(posts())
    chunker = Chunker(500, 100)
    here = chunker.split(text)
    code = "import sys; from pipesched.pipeline.chunks import Chunker; print(repr(Chunker(500, 100).split(sys.stdin.read())))"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.strip() == repr(here)
    there: list[list[str]] = []
    threads = [threading.Thread(target=lambda: there.append(chunker.split(text))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert there == [here] * 4


@given(markdown)
def test_without_chunking_a_document_is_one_chunk_as_it_is(text: str) -> None:
    whole = Chunker(50, 10, whole=True, max_tokens=12, count_tokens=exactly).split(text)
    assert whole == ([text] if text.strip() else [])


@pytest.mark.parametrize("text", ["", " ", "\n\n\t\n", "\u00a0\n"])
def test_a_text_of_white_space_has_no_chunks(text: str) -> None:
    assert Chunker(100, 20).split(text) == []
    assert Chunker(100, 20, whole=True).split(text) == []


def test_what_fits_is_one_chunk_without_the_blank_lines_around_it() -> None:
    assert Chunker(100, 20).split("\n\n# Title\n\n    code\n\ntext\n\n") == ["# Title\n\n    code\n\ntext"]
    assert Chunker(100, 20).split("    code first\n") == ["    code first"]


def test_a_heading_begins_a_chunk_and_a_higher_one_is_the_better_place_to_cut() -> None:
    sections = [
        f"{mark} Section {n}\n\n" + f"Sentence number {n}. " * 8
        for n, mark in enumerate(["#", "###", "##", "###"])
    ]
    text = "\n\n".join(sections)
    chunks = Chunker(400, 0).split(text)
    assert [re.findall(r"Section \d", chunk) for chunk in chunks] == [
        ["Section 0", "Section 1"],
        ["Section 2", "Section 3"],
    ]


def test_a_code_fence_that_fits_stays_whole_whatever_looks_like_markdown_in_it() -> None:
    fence = "```sh\n# not a heading\n\n- not an item\n\nmore\n````not the end\n```"
    text = "\n\n".join(
        [
            "A paragraph of some length, to fill the chunk. " * 4,
            fence,
            "Another paragraph of some length. " * 5,
        ]
    )
    chunks = Chunker(250, 0).split(text)
    assert any(fence in chunk for chunk in chunks)
    tilde = "~~~\n```\n# no\n```\n~~~"
    assert any(
        tilde in chunk
        for chunk in Chunker(60, 0).split(
            f"Some words before it here.\n\n{tilde}\n\nAnd some words after it."
        )
    )


def test_chunks_repeat_the_last_whole_blocks_of_the_one_before_where_they_fit() -> None:
    paragraphs = [f"Paragraph {n} is made of a few words, not many." for n in range(40)]
    text = "\n\n".join(paragraphs)
    chunks = Chunker(400, 100).split(text)
    repeated = [after.split("\n\n")[0] in before for before, after in pairwise(chunks)]
    assert any(repeated)
    for shared, (before, after) in zip(repeated, pairwise(chunks), strict=True):
        assert shared or len(before.split("\n\n")[-1]) + 2 + len(after) > 400
    none = Chunker(400, 0).split(text)
    assert "\n\n".join(none) == text
    assert sum(map(len, chunks)) > sum(map(len, none))


def test_a_long_paragraph_is_split_at_sentences_and_overlaps() -> None:
    text = " ".join(f"This is sentence number {n}." for n in range(60))
    chunks = Chunker(200, 60).split(text)
    assert all(chunk.startswith("This") and chunk.endswith(".") for chunk in chunks)
    for before, after in pairwise(chunks):
        assert after[:20] in before


def test_nothing_overlaps_across_a_heading() -> None:
    text = "\n\n".join(f"## Heading {n}\n\nShort text {n}.\n\nAnother short text {n}." for n in range(20))
    for chunk in Chunker(120, 100).split(text):
        assert chunk.startswith("## ")


def test_a_dense_text_is_cut_to_the_window_without_splinters() -> None:
    text = " ".join("9f86d081884c7d659a2feaa0c55ad015" for _ in range(300))
    count = count_tokens
    chunks = Chunker(1000, 0, max_tokens=254, count_tokens=count).split(text)
    sizes = [count(chunk) for chunk in chunks]
    assert max(sizes) <= 254
    assert sum(sizes) / len(sizes) > 120


SENTENCE = "This sentence was inserted by an editor who noticed that something was missing. "


def changed(chunker: Chunker, text: str, seed: int) -> tuple[int, int]:
    """The new chunks, and all, after one sentence was inserted at some place."""
    places = [match.end() for match in re.finditer(r"[.!?]\s", text)] or [len(text)]
    place = random.Random(seed).choice(places)
    before, after = (
        Counter(chunker.split(text)),
        Counter(chunker.split(text[:place] + SENTENCE + text[place:])),
    )
    return sum((after - before).values()), sum(after.values())


def long_text(seed: int, paragraphs: int = 120) -> str:
    """A text like a long post: headings, paragraphs, lists and code of random lengths."""
    rnd = random.Random(seed)
    words = re.findall(r"\w+", " ".join(posts()))
    parts = []
    for _ in range(paragraphs):
        lines = [" ".join(rnd.choices(words, k=rnd.randint(5, 25))) + "." for _ in range(rnd.randint(1, 6))]
        kind = rnd.random()
        if kind < 0.15:
            parts.append("#" * rnd.randint(2, 4) + " " + " ".join(rnd.choices(words, k=4)))
        elif kind < 0.3:
            parts.append("\n".join("- " + line for line in lines))
        elif kind < 0.4:
            parts.append("```\n" + "\n".join(lines) + "\n```")
        else:
            parts.append(" ".join(lines))
    return "\n\n".join(parts)


@pytest.mark.parametrize("counted", [True, False], ids=["tokens counted", "characters only"])
def test_an_inserted_sentence_changes_the_chunks_around_it_and_no_others(counted: bool) -> None:
    count = count_tokens if counted else None
    chunker = Chunker(1000, 200, max_tokens=254 if counted else None, count_tokens=count)
    trials = [changed(chunker, long_text(seed), seed) for seed in range(30)]
    new = [one for one, _ in trials]
    assert sorted(new)[len(new) // 2] <= 2
    assert sum(new) / sum(total for _, total in trials) < 0.05


def test_an_edit_in_a_huge_list_without_headings_stays_local() -> None:
    text = "\n".join(f"- item {n} of a list that has neither headings nor blank lines" for n in range(3_000))
    new, total = changed(Chunker(1000, 200), text, 1)
    assert total > 150
    assert new <= 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "x" * 2_000_000,
        "lorem ipsum " * 170_000,
        "```\n" + "a line of code\n" * 130_000 + "```",
        "- an item\n" * 200_000,
        "金継ぎ。" * 400_000,
        "|a|b|\n|-|-|\n" + "|c|d|\n" * 300_000,
        "[" * 300_000,
        "> " * 300_000,
        "*a_" * 300_000,
        "\n" * 2_000_000 + "end",
        "🐢" * 500_000,
        "a\u0301" * 500_000,
    ],
    ids=["line", "words", "fence", "list", "cjk", "table", "brackets", "quotes", "marks", "newlines", "emoji", "accents"],
)  # fmt: skip
def test_a_huge_text_of_one_kind_takes_seconds_at_most(text: str) -> None:
    started = time.perf_counter()
    chunks = Chunker(1000, 200).split(text)
    assert time.perf_counter() - started < 10
    assert max(map(len, chunks)) <= 1000
