"""Front matter: YAML between `---`, TOML between `+++`, JSON from a leading `{`; parsed without trust."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

import yaml

MAX_NODES: Final = 10_000
"""Values in one front matter once aliases are expanded; an alias bomb of 304 bytes has millions."""

MAX_DEPTH: Final = 50

_YAML_KEY = re.compile(r"\s*(?:[\"']?[^\s#\-][^:\n]*[\"']?\s*:(?:\s|$)|#)")
_JSON_START = re.compile(r'\{\s*(?:"|\}|\n)')


class FrontMatterError(ValueError):
    """Front matter that cannot be used; `line` counts from 1 in the file."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"{message} (line {line})")
        self.line = line


@dataclass(frozen=True, slots=True)
class Parsed:
    """`values`: the front matter's keys; `body`: the text after it."""

    values: dict[str, Any]
    body: str


def parse(text: str) -> Parsed:
    r"""Split `text` (line ends are \n) into front matter and body. Raises FrontMatterError.

    A first line `---` that no front matter follows is a thematic break: a fence is taken for one when it is never
    closed and the next line is no `key:`.
    """
    first, _, rest = text.partition("\n")
    fence = first.rstrip()
    if fence == "---":
        return _fenced(text, rest, ("---", "..."), _yaml, _YAML_KEY)
    if fence == "+++":
        return _fenced(text, rest, ("+++",), _toml, re.compile(r"\s*(?:[\w\"'.-]+\s*=|\[|#)"))
    if _JSON_START.match(text):
        return _json(text)
    return Parsed({}, text)


def _fenced(text: str, rest: str, closers: tuple[str, ...], load: Any, looks_like: re.Pattern[str]) -> Parsed:
    lines = rest.split("\n")
    for number, line in enumerate(lines):
        if line.rstrip() in closers:
            values = load("\n".join(lines[:number]))
            return Parsed(_mapping(values), "\n".join(lines[number + 1 :]))
    if lines and looks_like.match(lines[0]):
        raise FrontMatterError(f"the front matter opened by {closers[0]} is never closed", 1)
    return Parsed({}, text)


def _mapping(values: Any) -> dict[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise FrontMatterError(f"the front matter is a {type(values).__name__}, not keys and values", 1)
    for key, value in values.items():
        if any("\ud800" <= char <= "\udfff" for char in f"{key}{value if isinstance(value, str) else ''}"):
            raise FrontMatterError(
                f"{str(key)[:40]!r} has half of a surrogate pair, which is no character", 1
            )
    return {str(key): value for key, value in values.items()}


class _Loader(yaml.CSafeLoader):
    """Safe YAML that refuses duplicate keys, which the standard asks for and PyYAML lets pass."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise FrontMatterError(f"the key {key.value!r} is given twice", key.start_mark.line + 2)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml(source: str) -> Any:
    # Tabs after a value are legal; a tab for indentation is the commonest mistake, and PyYAML names its line.
    try:
        _bounded(source)
        return yaml.load(source, Loader=_Loader)  # noqa: S506  a SafeLoader
    except FrontMatterError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "it cannot be parsed"
        raise FrontMatterError(f"bad YAML: {problem}", (mark.line if mark else 0) + 2) from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        # A day that does not exist is a plain ValueError, an unhashable key a TypeError.
        raise FrontMatterError(f"bad YAML: {str(error)[:200]}", 2) from error


def _bounded(source: str) -> None:
    """Refuse YAML that is too deep or, its aliases expanded, too large; by its events, which never recurse."""
    sizes: list[int] = [0]
    anchors: list[str | None] = [None]
    known: dict[str, int] = {}
    for event in yaml.parse(source, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            sizes.append(1)
            anchors.append(event.anchor)
            if len(sizes) > MAX_DEPTH:
                raise FrontMatterError(f"bad YAML: nested more than {MAX_DEPTH} deep", _line(event))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            size = sizes.pop()
            anchor = anchors.pop()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in anchors:
                raise FrontMatterError("bad YAML: an alias contains itself", _line(event))
            size, anchor = known.get(event.anchor or "", 1), None
        elif isinstance(event, yaml.ScalarEvent):
            size, anchor = 1, event.anchor
        else:
            continue
        if anchor is not None:
            known[anchor] = size
        sizes[-1] += size
        if sizes[-1] > MAX_NODES:
            raise FrontMatterError(f"bad YAML: more than {MAX_NODES} values", _line(event))


def _line(event: yaml.Event) -> int:
    return (event.start_mark.line if event.start_mark else 0) + 2


def _toml(source: str) -> Any:
    try:
        return tomllib.loads(source)
    except (ValueError, RecursionError, OverflowError) as error:
        found = re.search(r"at line (\d+)", str(error))
        raise FrontMatterError(f"bad TOML: {str(error)[:200]}", int(found[1]) + 1 if found else 2) from error


def _json(text: str) -> Parsed:
    try:
        values, end = json.JSONDecoder(object_pairs_hook=_unique).raw_decode(text)
    except json.JSONDecodeError as error:
        raise FrontMatterError(f"bad JSON front matter: {error.msg}", error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise FrontMatterError(f"bad JSON front matter: {str(error)[:200]}", 1) from error
    return Parsed(_mapping(values), text[end:].removeprefix("\n"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return values
