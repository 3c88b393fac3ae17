"""Front matter: YAML between `---`, TOML between `+++`, JSON from a leading `{`; parsed without trust."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import yaml

MAX_NODES: Final = 10_000
"""Values in one front matter once aliases are expanded; an alias bomb of 304 bytes has millions."""

MAX_DEPTH: Final = 50

MAX_BITS: Final = 1024
"""Of an integer: a longer one, written in hexadecimal, parses and then cannot be shown (4,300 digits)."""

_YAML_KEY = re.compile(r"\s*(?:[\"']?[^\s#\-][^:\n]*[\"']?\s*:(?:\s|$)|#)")
_TOML_KEY = re.compile(r"\s*(?:[\w\"'.-]+\s*=|\[|#)")
_JSON_START = re.compile(r'\{\s*(?:"|\}|\n)')
_BLANK_LINES = re.compile(r"(?:[ \t]*\n)*")


class FrontMatterError(ValueError):
    """Front matter that cannot be used; `line` counts from 1 in the file."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"{message} (line {line})")
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Parsed:
    """`values`: the front matter's keys; `body`: the text after it."""

    values: dict[str, Any]
    body: str


def parse(text: str) -> Parsed:
    r"""Split `text` (line ends are \n) into front matter and body. Raises FrontMatterError.

    A fence is taken for a thematic break, and the text for a body, when it is never closed and no `key:` follows it;
    after blank lines also when it is closed.
    """
    blank = _BLANK_LINES.match(text)
    start = blank.end() if blank else 0
    try:
        return _parse(text, start)
    except FrontMatterError as error:
        above = text.count("\n", 0, start)
        raise FrontMatterError(error.message, error.line + above) if above else error from error.__cause__


def _parse(text: str, start: int) -> Parsed:
    first, _, rest = text[start:].partition("\n")
    fence = first.rstrip()
    if fence == "---":
        return _fenced(text, rest, ("---", "..."), _yaml, _YAML_KEY, only_keys=start > 0)
    if fence == "+++":
        return _fenced(text, rest, ("+++",), _toml, _TOML_KEY, only_keys=start > 0)
    if _JSON_START.match(text, start):
        return _json(text[start:])
    return Parsed({}, text)


def _fenced(
    text: str,
    rest: str,
    closers: tuple[str, ...],
    load: Callable[[str], Any],
    looks_like: re.Pattern[str],
    *,
    only_keys: bool,
) -> Parsed:
    has_keys = looks_like.match(rest.lstrip()) is not None
    if only_keys and not has_keys:
        return Parsed({}, text)
    lines = rest.split("\n")
    for number, line in enumerate(lines):
        if line.rstrip() in closers:
            values = load("".join(f"{kept}\n" for kept in lines[:number]))
            return Parsed(_mapping(values), "\n".join(lines[number + 1 :]))
    if has_keys:
        raise FrontMatterError(f"the front matter opened by {closers[0]} is never closed", 1)
    return Parsed({}, text)


def _mapping(values: Any) -> dict[str, Any]:
    """`values` with keys of text, when it is a mapping and every value in it can be kept."""
    if values is None:
        return {}
    if not isinstance(values, dict):
        # Of YAML alone: TOML and JSON begin with keys.
        what = (
            "text" if isinstance(values, str) else "a list" if isinstance(values, list) else "a single value"
        )
        raise FrontMatterError(
            f"what stands between the first two --- is {what}, not keys and values;"
            " a rule at the start of a post can be written ***",
            1,
        )
    for key, value in values.items():
        if problem := _problem(key) or _problem(value):
            raise FrontMatterError(f"{str(key)[:40]!r} {problem}", 1)
    return {str(key): value for key, value in values.items()}


def _problem(value: Any) -> str | None:
    """What in `value`, however deep, could be neither shown nor stored; never by recursion."""
    pending = [(value, 1)]
    count = 0
    while pending:
        item, depth = pending.pop()
        count += 1
        if depth > MAX_DEPTH:
            return f"is nested more than {MAX_DEPTH} deep"
        if count > MAX_NODES:
            return f"has more than {MAX_NODES} values"
        if isinstance(item, dict):
            pending += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list | tuple | set):
            pending += [(part, depth + 1) for part in item]
        elif isinstance(item, float) and not math.isfinite(item):
            return f"is {item}, which is no number"
        elif isinstance(item, int) and item.bit_length() > MAX_BITS:
            return "is an integer of more than 300 digits"
        elif isinstance(item, str) and not item.isascii() and any("\ud800" <= c <= "\udfff" for c in item):
            return "has half of a surrogate pair, which is no character"
    return None


class _Loader(yaml.CSafeLoader):
    """Safe YAML whose plain scalars mean what people write.

    YAML 1.1 reads the words yes, no, on and off as booleans, 12:30 as 750 and 007 as an octal number; here they are
    text, as in YAML 1.2.
    """


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
    ]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)\Z"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
    list("-+0123456789."),
)


def _yaml(source: str) -> Any:
    try:
        _bounded(source)
        return yaml.load(source, Loader=_Loader)  # noqa: S506  a SafeLoader
    except FrontMatterError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "it cannot be parsed"
        raise FrontMatterError(f"bad YAML: {problem}", (mark.line if mark else 0) + 2) from error
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # A day that does not exist is a plain ValueError, "!!bool x" a KeyError, "!!timestamp x" an AttributeError.
        reason = (
            str(error) if isinstance(error, yaml.YAMLError | ValueError) else "a value does not fit its tag"
        )
        raise FrontMatterError(f"bad YAML: {' '.join(reason.split())[:200]}", 2) from error


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come: its size with aliases expanded, and its keys when it is a mapping."""

    anchor: str | None
    keys: set[str] | None
    size: int = 1
    is_key: bool = True


def _bounded(source: str) -> None:
    """Refuse YAML that is too deep, gives a key twice or, its aliases expanded, is too large; by its events, which never recurse."""
    stack = [_Open(None, None, 0)]
    known: dict[str, int] = {}
    for event in yaml.parse(source, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append(_Open(event.anchor, set() if isinstance(event, yaml.MappingStartEvent) else None))
            if len(stack) > MAX_DEPTH:
                raise FrontMatterError(f"bad YAML: nested more than {MAX_DEPTH} deep", _line(event))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            closed = stack.pop()
            size, anchor = closed.size, closed.anchor
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == collection.anchor for collection in stack):
                raise FrontMatterError("bad YAML: an alias contains itself", _line(event))
            size, anchor = known.get(event.anchor or "", 1), None
        elif isinstance(event, yaml.ScalarEvent):
            size, anchor = 1, event.anchor
            _unique_key(stack[-1], event)
        else:
            continue
        if anchor is not None:
            known[anchor] = size
        stack[-1].size += size
        stack[-1].is_key = not stack[-1].is_key
        if stack[-1].size > MAX_NODES:
            raise FrontMatterError(f"bad YAML: more than {MAX_NODES} values", _line(event))


def _unique_key(collection: _Open, event: yaml.ScalarEvent) -> None:
    """The standard asks for unique keys; PyYAML lets the last one win."""
    if collection.keys is None or not collection.is_key:
        return
    if event.value in collection.keys:
        raise FrontMatterError(f"the key {event.value[:40]!r} is given twice", _line(event))
    collection.keys.add(event.value)


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
