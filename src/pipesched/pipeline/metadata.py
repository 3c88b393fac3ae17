"""From front matter to the metadata that every chunk of a document bears."""

from __future__ import annotations

import hashlib
import posixpath
import re
from datetime import UTC, date, datetime, time
from typing import Any, Final

from pipesched.pipeline import urls
from pipesched.pipeline.model import MetadataValue

_FALSE: Final = frozenset({"false", "no", "off", "0", "n"})
_TRUE: Final = frozenset({"true", "yes", "on", "1", "y"})
_NAME_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})[-_]")
_PATH_DATE = re.compile(r"(?:.*/)?(\d{4})/(\d{2})/(\d{2})/")
_HEADING = re.compile(r"^ {0,3}#[ \t]+(.+?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def is_draft(values: dict[str, Any]) -> bool:
    return _flag(values.get("draft"), default=False)


def is_published(values: dict[str, Any]) -> bool:
    """`published: false` leaves a post out; a date, as some blogs keep there, does not."""
    return _flag(values.get("published"), default=True)


def document_metadata(
    source: str, text: str, values: dict[str, Any], *, url: str | None, mtime_ns: int, base_url: str
) -> dict[str, MetadataValue]:
    """Every document-level key that has a value; strings, numbers, booleans and lists of strings only."""
    found: dict[str, MetadataValue | None] = {
        "source": source,
        "url": url,
        "post_slug": _text(values.get("slug")) or urls.slug(source),
        "post_title": _text(values.get("title")) or _heading(text) or _title_of(source),
        "date": _date(values.get("date")) or _date_of(source, values.get("path")),
        "description": _text(values.get("description")),
        "categories": _categories(values),
        "cover_image": _media(values, ("coverImage", "cover_image"), source, base_url),
        "cover_video": _media(values, ("coverVideo", "cover_video"), source, base_url),
        "reading_time": _number_or_text(_first(values, ("readingTime", "reading_time"))),
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
    # Zola wants keys that it does not know under `extra`, Hugo under `params`.
    tables = [
        table for table in (values, values.get("extra"), values.get("params")) if isinstance(table, dict)
    ]
    return next((table[name] for table in tables for name in names if table.get(name) is not None), None)


def _text(value: Any) -> str | None:
    """A scalar as one line of text, without control characters; None for what is no scalar, and for booleans."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return " ".join(_CONTROL.sub(" ", str(value)).split()) or None


def _number_or_text(value: Any) -> str | int | float | None:
    """A number as it is where the store keeps it exactly (Chroma may lose the 16th digit), else text."""
    if isinstance(value, dict):  # as the npm package reading-time gives it
        value = _first(value, ("text", "minutes"))
    if isinstance(value, bool):
        return None
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and (value == 0 or 1e-6 < abs(value) < 1e15):
        return float(f"{value:.15g}")
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
    name = urls.slug(source)
    return _NAME_DATE.sub("", name).replace("-", " ").replace("_", " ").strip() or name


def _date(value: Any) -> str | None:
    """A date as it was written, no more precise: a day stays a day."""
    return _text(value) if isinstance(value, str | int | date) else None


def _date_of(source: str, path: Any) -> str | None:
    """A date in the file's name (Jekyll) or in the page's `path` (Zola), if it exists in the calendar."""
    if found := _NAME_DATE.match(posixpath.basename(source)):
        text = found[1]
    elif isinstance(path, str) and (in_path := _PATH_DATE.match(path)):
        text = "-".join(in_path.groups())
    else:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None


def _rfc3339(nanoseconds: int) -> str | None:
    """None where a file system keeps a time that no calendar has (beyond the year 9999)."""
    try:
        return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
