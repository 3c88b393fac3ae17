"""Where a post is published: its URL and its slug, from its path and front matter."""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import quote, urlsplit

MARKDOWN_SUFFIXES: Final = (".md", ".markdown", ".mdx", ".mdown", ".mkd")

_ABSOLUTE = re.compile(r"(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
# RFC 3986: what may stand in a path segment as it is, "%" because an explicit path may be encoded already.
_EXPLICIT_SAFE: Final = "/%:@!$&'()*+,;=~-._?#"


def without_suffix(source: str) -> str:
    """`source` without its Markdown suffix."""
    stem, suffix = posixpath.splitext(source)
    return stem if suffix.lower() in MARKDOWN_SUFFIXES else source


def page_path(source: str) -> str:
    """The page's path below the blog: without suffix and without a trailing `/index`; "" for the front page."""
    stem = without_suffix(source.replace("\\", "/"))
    if stem == "index":
        return ""
    return stem.removesuffix("/index")


def post_url(source: str, blog_base_url: str, explicit: str | None) -> str | None:
    """The post's URL: the explicit path or URL of its front matter, else `blog_base_url` and the page's path.

    None without a base: a guessed address would be worse than none.
    """
    base = blog_base_url.rstrip("/")
    if explicit:
        if _ABSOLUTE.match(explicit):
            return (
                explicit if not base or explicit.startswith(base) else post_url(source, blog_base_url, None)
            )
        if base:
            return f"{base}/{quote(explicit.lstrip('/'), safe=_EXPLICIT_SAFE)}"
    if not blog_base_url:
        return None
    path = page_path(source)
    if not path:
        return base or "/"
    return base + "/" + "/".join(quote(part, safe="~") for part in path.split("/"))


def explicit_path(values: dict[str, object]) -> str | None:
    """`permalink`, `url` or `path` of the front matter; a pattern with placeholders (Jekyll's :title) is none."""
    for key in ("permalink", "url", "path"):
        value = values.get(key)
        if isinstance(value, str) and (text := value.strip()) and not re.search(r"(?:^|/):\w|\{\{", text):
            if key == "permalink" and "/" not in text:
                continue  # Jekyll's styles: pretty, date, none
            return text
    return None


def slug(source: str, explicit: str | None, given: object) -> str:
    """The front matter's slug, else the last part of the explicit path, else of the page's path."""
    if isinstance(given, str | int) and not isinstance(given, bool) and str(given).strip():
        return str(given).strip()
    path = urlsplit(explicit).path if explicit else page_path(source)
    return path.rstrip("/").rpartition("/")[2] or "index"


def media_url(value: str, source: str, base_url: str) -> str:
    """A picture or video: as it is when absolute, else `base_url` before it; `./x.png` is beside the post."""
    text = value.strip()
    if not text or _ABSOLUTE.match(text) or not base_url:
        return text
    if text.startswith(("./", "../")):
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(source), text))
        text = beside if not beside.startswith("..") else text.lstrip("./")
    return f"{base_url.rstrip('/')}/{quote(text.lstrip('/'), safe=_EXPLICIT_SAFE)}"
