"""HTML from text that nobody vouches for: everything is escaped unless it was made here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Markup(str):
    """HTML that is safe as it stands. Only this module's functions and literals of ours make it."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Any value as text; control characters and lone surrogates become visible."""
    if isinstance(value, Markup):
        return value
    return Markup(escape(visible("" if value is None else str(value)), quote=True))


def visible(value: str) -> str:
    """Control characters but tab and newline, and lone surrogates, as escapes."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", value)


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """`<name attributes>children</name>`; `class_` is class, `data_label` data-label; None leaves an attribute out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[object], separator: str = "") -> Markup:
    return Markup(separator.join(text(child) for child in children))


def foreign(value: object) -> Markup:
    """Text that others wrote: kept from turning the direction of what follows it."""
    return tag("bdi", value)
