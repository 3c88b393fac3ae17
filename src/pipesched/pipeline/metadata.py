"""From front matter to the metadata that every chunk of a document bears."""

from __future__ import annotations

import hashlib
import math
import posixpath
import re
from datetime import UTC, date, datetime
from typing import Any, Final

from pipesched.pipeline import urls
from pipesched.pipeline.model import MetadataValue

_FALSE: Final = frozenset({"false", "no", "off", "0", "n"})
_TRUE: Final = frozenset({"true", "yes", "on", "1", "y"})
_NAME_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})[-_]")
_PATH_DATE = re.compile(r"/?(\d{4})/(\d{2})/(\d{2})/")
_HEADING = re.compile(r"^ {0,3}#[ \t]+(.+?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")


def is_draft(values: dict[str, Any]) -> bool:
    return _flag(values.get("draft"), default=False)


def is_published(values: dict[str, Any]) -> bool:
    """`published: false` leaves a post out; a date, as some blogs keep there, does not."""
    return _flag(values.get("published"), default=True)


def document_metadata(
    source: str, text: str, values: dict[str, Any], *, mtime_ns: int, blog_base_url: str, base_url: str
) -> dict[str, MetadataValue]:
    """Every document-level key that has a value; strings, numbers, booleans and lists of strings only."""
    explicit = urls.explicit_path(values)
    found: dict[str, MetadataValue | None] = {
        "source": source,
        "url": urls.post_url(source, blog_base_url, explicit),
        "post_slug": urls.slug(source, explicit, values.get("slug")),
        "post_title": _text(values.get("title")) or _heading(text) or _title_of(source),
        "date": _date(values.get("date")) or _date_of(source, explicit),
        "description": _text(values.get("description")),
        "categories": _categories(values),
        "cover_image": _media(values, ("coverImage", "cover_image"), source, base_url),
        "cover_video": _media(values, ("coverVideo", "cover_video"), source, base_url),
        "reading_time": _scalar(_first(values, ("readingTime", "reading_time"))),
        "published": is_published(values) and not is_draft(values),
        "content_length": len(text),
        "content_checksum": hashlib.sha256(text.encode("utf-8")).hexdigest(),
        "file_modified_time": _rfc3339(mtime_ns),
    }
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def _flag(value: Any, *, default: bool) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value)
    word = str(value).strip().lower() if isinstance(value, str) else ""
    return word in _TRUE or (default and word not in _FALSE)


def _first(values: dict[str, Any], names: tuple[str, ...]) -> Any:
    extra = values.get("extra")  # where Zola keeps what it does not know
    for source in (values, extra if isinstance(extra, dict) else {}):
        for name in names:
            if source.get(name) is not None:
                return source[name]
    return None


def _text(value: Any) -> str | None:
    """A scalar as text; None for lists and tables, which are no title."""
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return " ".join(str(value).split()) or None


def _scalar(value: Any) -> str | int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _text(value)


def _categories(values: dict[str, Any]) -> list[str]:
    """`categories`, `category`, `tags`, also under Zola's `taxonomies`, as one list without doubles."""
    taxonomies = values.get("taxonomies")
    found: list[str] = []
    for source in (values, taxonomies if isinstance(taxonomies, dict) else {}):
        for name in ("categories", "category", "tags"):
            value = source.get(name)
            items = (
                value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
            )
            found += [text for item in items if (text := _text(item))]
    return list(dict.fromkeys(found))


def _media(values: dict[str, Any], names: tuple[str, ...], source: str, base_url: str) -> str | None:
    value = _first(values, names)
    if isinstance(value, dict):
        value = _first(value, ("url", "src", "image", "path"))
    text = value.strip() if isinstance(value, str) else None
    return urls.media_url(text, source, base_url) if text else None


def _heading(text: str) -> str | None:
    """The first `# heading` outside a code fence."""
    fence = ""
    for line in text.split("\n"):
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        elif not fence and (found := _HEADING.match(line)):
            return found[1]
    return None


def _title_of(source: str) -> str:
    path = urls.page_path(source) or "index"
    name = posixpath.basename(path)
    return _NAME_DATE.sub("", name).replace("-", " ").replace("_", " ").strip() or name


def _date(value: Any) -> str | None:
    """A date as it was written, no more precise: a day stays a day."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return _text(value) if isinstance(value, str | int) else None


def _date_of(source: str, explicit: str | None) -> str | None:
    """A date in the file's name (Jekyll) or at the start of the explicit path, if it exists in the calendar."""
    name = posixpath.basename(source)
    found = _NAME_DATE.match(name)
    text = found[1] if found else None
    if text is None and explicit and (in_path := _PATH_DATE.match(explicit)):
        text = "-".join(in_path.groups())
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None


def _rfc3339(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).isoformat()
