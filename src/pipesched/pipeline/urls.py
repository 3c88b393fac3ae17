"""Where a post is published: its URL and its slug, from its path, and its pictures' URLs."""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import quote

MARKDOWN_SUFFIXES: Final = (".md", ".markdown", ".mdx", ".mdown", ".mkd")

_ABSOLUTE = re.compile(r"(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
# RFC 3986: what may stand in a path as it is; "%", "?" and "#" because an author may have encoded it already.
_MEDIA_SAFE: Final = "/%:@!$&'()*+,;=~-._?#"


def page_path(source: str) -> str:
    """The page's path below the blog: without its Markdown suffix, without a trailing `/index`; "" for the front page."""
    stem, suffix = posixpath.splitext(source)
    path = stem if suffix.lower() in MARKDOWN_SUFFIXES else source
    return "" if path == "index" else path.removesuffix("/index")


def post_url(source: str, blog_base_url: str) -> str | None:
    """`blog_base_url` and the page's path, percent-encoded; None without a base: a guessed address would be worse.

    What front matter says about a path or permalink is the site generator's affair and not used: the rule is one.
    A byte of a file name that is no UTF-8 (a surrogate escape here) is encoded as that byte.
    """
    if not blog_base_url:
        return None
    base = blog_base_url.rstrip("/")
    path = page_path(source)
    if not path:
        return base or "/"
    return f"{base}/{quote(path, safe='/', errors='surrogateescape')}"


def slug(source: str) -> str:
    """The last part of the page's path."""
    return posixpath.basename(page_path(source)) or "index"


def media_url(value: str, source: str, base_url: str) -> str:
    """A picture or video: as it is when absolute, else `base_url` before it; `./x.png` is beside the post."""
    text = value.strip()
    if not text or _ABSOLUTE.match(text):
        return text
    text = text.replace("\\", "/")
    if not base_url:
        return text
    if text.startswith(("./", "../")):
        # Above the folder of the posts there is nothing: as in a browser, the root is the last "..".
        text = posixpath.normpath(posixpath.join("/", posixpath.dirname(source), text))
    return f"{base_url.rstrip('/')}/{quote(text.lstrip('/'), safe=_MEDIA_SAFE)}"
