"""Front matter in three languages: what is taken, what is text, what is refused and on which line."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipesched.pipeline.frontmatter import FrontMatterError, parse


def test_yaml_toml_and_json_give_the_same_values_and_body() -> None:
    body = "\n# Heading\n\ntext\n"
    expected = {"title": "A post", "tags": ["a", "b"], "draft": True}
    assert parse(f"---\ntitle: A post\ntags: [a, b]\ndraft: true\n---{body}").values == expected
    assert parse(f'+++\ntitle = "A post"\ntags = ["a", "b"]\ndraft = true\n+++{body}').values == expected
    assert parse(f'{{"title": "A post",\n "tags": ["a", "b"], "draft": true}}{body}').values == expected
    assert parse(f"---\ntitle: A post\n---{body}").body == body[1:]
    assert parse(f'+++\ntitle = "A post"\n+++{body}').body == body[1:]
    assert parse(f'{{"title": "A post"}}{body}').body == body[1:]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "# Heading\n---\nnot: front matter\n---\n",
        "---\n\nA thematic break, never closed.\n",
        "----\ntitle: no fence\n----\n",
        "+++\nplus signs, never closed\n",
        "\n\n---\nA rule after blank lines.\n---\nand another.\n",
        "{% liquid %}\n",
        "{{ template }}\n",
        "{not json}\n",
        " ---\ntitle: indented\n ---\n",
    ],
)
def test_what_is_no_front_matter_is_body(text: str) -> None:
    parsed = parse(text)
    assert parsed.values == {}
    assert parsed.body == text


@pytest.mark.parametrize(
    ("text", "values", "body"),
    [
        ("---\n---\nbody", {}, "body"),
        ("---\n# only a comment\n---\nbody", {}, "body"),
        ("+++\n+++\nbody", {}, "body"),
        ("{}\nbody", {}, "body"),
        ("---\na: 1\n...\nbody", {"a": 1}, "body"),
        ("---  \na: 1\n---\t\nbody", {"a": 1}, "body"),
        ("\n  \n---\na: 1\n---\nbody", {"a": 1}, "body"),
        ("---\na: 1\n---", {"a": 1}, ""),
        (
            "---\ntext: |\n  one\n  ---\n  two\n---\nbody\n---\nmore",
            {"text": "one\n---\ntwo\n"},
            "body\n---\nmore",
        ),
        ("---\n2026: year\n---\n", {"2026": "year"}, ""),
        ("---\nbase: &b {x: 1}\nmore: {<<: *b, x: 2}\n---\n", {"base": {"x": 1}, "more": {"x": 2}}, ""),
        (
            "---\na: {k: &b {<<: &c {x: 1}, x: 2}}\nd: {<<: *b}\n---\n",
            {"a": {"k": {"x": 2}}, "d": {"x": 2}},
            "",
        ),
    ],
)
def test_odd_but_good_front_matter_is_read(text: str, values: dict, body: str) -> None:
    parsed = parse(text)
    assert parsed.values == values
    assert parsed.body == body


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("NO", "NO"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("007", "007"),
        ("1.10.2", "1.10.2"),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-3", -3),
        ("0x1F", 31),
        ("3.5", 3.5),
        ("~", None),
        ("null", None),
        ("'12'", "12"),
    ],
)
def test_a_plain_yaml_scalar_means_what_people_write(written: str, meant: object) -> None:
    value = parse(f"---\nkey: {written}\n---\n").values["key"]
    assert value == meant
    assert type(value) is type(meant)


BOMB = "---\na: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
) + "---\nbody\n"  # fmt: skip

MERGE_BOMB = (
    "---\na: &a {k0: 1, k1: 1, k2: 1}\n"
    + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} {{x: [*{chr(97 + n)}, *{chr(97 + n)}, *{chr(97 + n)}]}}\n"
        for n in range(12)
    )
    + "---\n"
)

REFUSED: dict[str, tuple[str, str]] = {
    "yaml never closed": ("---\ntitle: x\n\nbody\n", r"never closed \(line 1\)"),
    "yaml never closed, blank first": ("---\n\ntitle: x\n\nbody\n", r"never closed \(line 1\)"),
    "toml never closed": ('+++\ntitle = "x"\n', r"opened by \+\+\+ is never closed"),
    "json never closed": ('{"title": "x"\n\nbody', r"bad JSON front matter"),
    "yaml scalar": ("---\njust a sentence\n---\n", r"between the first two --- is text, not keys and values; .* \*\*\*"),
    "a rule, text and another rule": ("---\n\nOne.\n\nTwo.\n\n---\n\nThree.\n", r"is text, not keys .* can be written \*\*\*"),
    "yaml list": ("---\n- a\n- b\n---\n", "is a list"),
    "yaml number": ("---\n42\n---\n", "is a single value"),
    "yaml duplicate": ("---\ntitle: a\ndate: x\ntitle: b\n---\n", r"'title' is given twice \(line 4\)"),
    "yaml duplicate below": ("---\na:\n  b: 1\n  b: 2\n---\n", r"'b' is given twice \(line 4\)"),
    "toml duplicate": ("+++\na = 1\na = 2\n+++\n", r"Cannot overwrite a value.*\(line 3\)"),
    "json duplicate": ('{"a": 1, "a": 2}\n', "'a' is given twice"),
    "yaml indentation": ("---\na: 1\n  b: 2\n---\n", r"bad YAML: .*\(line 3\)"),
    "yaml tab": ("---\na:\n\t- b\n---\n", r"bad YAML: .*tab|cannot start any token"),
    "yaml colon": ("---\ntitle: one: two\n---\n", r"bad YAML: mapping values are not allowed.*\(line 2\)"),
    "yaml undefined alias": ("---\na: *nothing\n---\n", "bad YAML"),
    "yaml day": ("---\ndate: 2026-02-30\n---\n", "day is out of range"),
    "yaml year 0": ("---\ndate: 0000-01-01\n---\n", "year 0 is out of range"),
    "yaml zone": ("---\ndate: 2026-01-01T00:00:00+99:00\n---\n", "bad YAML"),
    "yaml huge integer": ("---\nn: " + "9" * 5000 + "\n---\n", "bad YAML"),
    "yaml huge hex": ("---\nn: 0x" + "f" * 5000 + "\n---\n", "more than 300 digits"),
    "yaml deep": ("---\na: " + "[" * 5000 + "]" * 5000 + "\n---\n", "nested more than 50 deep"),
    "yaml deep blocks": ("---\n" + "".join(f"{' ' * n}a{n}:\n" for n in range(100)) + "---\n", "nested more than 50"),
    "yaml nan": ("---\nrating: .nan\n---\n", "'rating' is nan"),
    "yaml inf inside": ("---\na: {b: [1, -.inf]}\n---\n", "'a' is -inf"),
    "yaml surrogate": ('---\ntitle: "\\ud800"\n---\n', "bad YAML|surrogate"),
    "yaml python object": ("---\na: !!python/object/apply:os.system ['true']\n---\n", "could not determine a constructor"),
    "yaml python name": ("---\na: !!python/name:os.system\n---\n", "could not determine a constructor"),
    "yaml unknown tag": ("---\na: !secret x\n---\n", "could not determine a constructor"),
    "yaml bomb": (BOMB, "more than 10000 values"),
    "yaml nested bomb": (MERGE_BOMB, "more than 10000 values"),
    "yaml alias in itself": ("---\na: &a [*a]\n---\n", "contains itself"),
    "yaml unhashable key": ("---\n? {a: b}\n: c\n---\n", "bad YAML"),
    "yaml control character": ("---\na: \x07\n---\n", "bad YAML"),
    "toml syntax": ("+++\na = \n+++\n", r"bad TOML: .*\(line 2\)"),
    "toml day": ("+++\nd = 2026-02-30\n+++\n", "bad TOML"),
    "toml nan": ("+++\nx = nan\n+++\n", "'x' is nan"),
    "toml huge integer": ("+++\nn = " + "9" * 5000 + "\n+++\n", "bad TOML"),
    "toml huge hex": ("+++\nn = 0x" + "f" * 5000 + "\n+++\n", "more than 300 digits"),
    "toml deep": ("+++\na = " + "[" * 5000 + "]" * 5000 + "\n+++\n", "bad TOML|nested"),
    "toml deep enough": ("+++\na = " + "[" * 60 + "]" * 60 + "\n+++\n", "nested more than 50"),
    "json nan": ('{"a": NaN}\n', "'a' is nan"),
    "json surrogate": ('{"title": "\\ud800"}\n', "surrogate"),
    "json surrogate below": ('{"a": [{"b": "x\\udfff"}]}\n', "surrogate"),
    "json surrogate key": ('{"\\ud800": 1}\n', "surrogate"),
    "json huge integer": ('{"n": ' + "9" * 5000 + "}\n", "bad JSON"),
    "json deep": ('{"a": ' + "[" * 100_000 + "\n", "bad JSON"),
    "json wide": ('{"a": [' + "1," * 20_000 + "1]}\n", "more than 10000 values"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_its_reason_and_line(case: str) -> None:
    text, said = REFUSED[case]
    with pytest.raises(FrontMatterError) as raised:
        parse(text)
    message = str(raised.value)
    assert re.search(said, message), message
    assert re.search(r"\(line \d+\)$", message)
    assert len(message) < 400
    assert "\n" not in message.removesuffix("\n") or "JSON" not in message


def test_the_bomb_is_small_and_refused_quickly() -> None:
    import time

    assert len(BOMB) < 350
    started = time.perf_counter()
    with pytest.raises(FrontMatterError):
        parse(BOMB)
    assert time.perf_counter() - started < 0.5


def test_lines_count_from_the_top_of_the_file() -> None:
    with pytest.raises(FrontMatterError) as raised:
        parse("\n\n---\ntitle: a\ntitle: b\n---\n")
    assert raised.value.line == 5


fence = st.sampled_from(["---\n", "+++\n", "{", "\n---\n", '{"'])
SNIPPETS = [
    "a: b\n",
    "- ",
    "[",
    "{",
    "]",
    "}",
    "&a ",
    "*a ",
    "!!",
    "? ",
    ": ",
    ">\n",
    "'",
    '"',
    "---\n",
    "+++\n",
    "...\n",
    "a = 1\n",
    "[t]\n",
    "\\u",
    "d800",
    "0x",
    "99999-99-99",
    "2026-02-30",
    "1e999",
    ".nan",
    "<<: ",
    "\t",
    "%YAML 9\n",
]
piece = st.text(max_size=30) | st.sampled_from(SNIPPETS)


@given(
    st.one_of(
        st.text(), st.tuples(fence, st.lists(piece, max_size=30)).map(lambda pair: pair[0] + "".join(pair[1]))
    )
)
@example("---\n=\n---\n")
@example("---\n? \n---\n")
@example("---\n!!set {a, b}\n---\n")
@example("---\na: !!binary x\n---\n")
@example("---\na: !!binary '%'\n---\n")
@example("---\na: !!timestamp x\n---\n")
@example("---\na: !!int x\n---\n")
@example("---\na: !!float x\n---\n")
@example("---\na: !!bool x\n---\n")
@example("---\na: !!omap [1]\n---\n")
@example("---\n<<: 1\n---\n")
@example("---\n!!map x\n---\n")
def test_any_text_gives_values_and_a_body_or_one_kind_of_error(text: str) -> None:
    try:
        parsed = parse(text)
    except FrontMatterError as error:
        assert 1 <= error.line <= text.count("\n") + 2  # noqa: PT017  it may be raised or not
    else:
        assert all(isinstance(key, str) for key in parsed.values)
        assert text.endswith(parsed.body)
