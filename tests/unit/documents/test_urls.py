"""A post's URL is blog_base_url and its path; a picture's is base_url and its path."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipesched.pipeline.urls import media_url, page_path, post_url, slug

BASE = "https://blog.example"


@pytest.mark.parametrize(
    ("source", "path", "last"),
    [
        ("post.md", "post", "post"),
        ("a/b/post.md", "a/b/post", "post"),
        ("a/index.md", "a", "a"),
        ("a/b/index.md", "a/b", "b"),
        ("index.md", "", "index"),
        ("index/index.md", "index", "index"),
        ("my-index.md", "my-index", "my-index"),
        ("a/index.html.md", "a/index.html", "index.html"),
        ("_index.md", "_index", "_index"),
        ("v1.2.3.md", "v1.2.3", "v1.2.3"),
        ("post.MD", "post", "post"),
        ("post.markdown", "post", "post"),
        ("post.mdx", "post", "post"),
        ("notes.txt", "notes.txt", "notes.txt"),
        ("no-suffix", "no-suffix", "no-suffix"),
        ("a.md/b.md", "a.md/b", "b"),
        ("Index.md", "Index", "Index"),
    ],
)
def test_a_page_is_its_file_without_suffix_and_without_a_trailing_index(
    source: str, path: str, last: str
) -> None:
    assert page_path(source) == path
    assert slug(source) == last
    assert post_url(source, BASE) == (f"{BASE}/{path}" if path else BASE)


@pytest.mark.parametrize(
    ("source", "encoded"),
    [
        ("two words.md", "two%20words"),
        ("über/größe.md", "%C3%BCber/gr%C3%B6%C3%9Fe"),
        ("ja/金継ぎ.md", "ja/%E9%87%91%E7%B6%99%E3%81%8E"),
        ("100%.md", "100%25"),
        ("a%20b.md", "a%2520b"),
        ("what?.md", "what%3F"),
        ("c#.md", "c%23"),
        ("wg@0.md", "wg%400"),
        ("a~b_c-d.e.md", "a~b_c-d.e"),
        ("new\nline.md", "new%0Aline"),
        ("back\\slash.md", "back%5Cslash"),
        ("caf\udce9.md", "caf%E9"),
        ("e\u0301.md", "e%CC%81"),
        ("\u00e9.md", "%C3%A9"),
    ],
)
def test_what_a_url_cannot_have_is_percent_encoded(source: str, encoded: str) -> None:
    assert post_url(source, BASE) == f"{BASE}/{encoded}"


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://blog.example", "https://blog.example/a/post"),
        ("https://blog.example/", "https://blog.example/a/post"),
        ("https://blog.example///", "https://blog.example/a/post"),
        ("https://blog.example/en/", "https://blog.example/en/a/post"),
        ("/blog/", "/blog/a/post"),
        ("/", "/a/post"),
        ("", None),
    ],
)
def test_the_base_may_end_in_slashes_and_without_one_there_is_no_url(base: str, url: str | None) -> None:
    assert post_url("a/post.md", base) == url


def test_the_front_page_is_the_base_itself() -> None:
    assert post_url("index.md", "https://blog.example/") == "https://blog.example"
    assert post_url("index.md", "/") == "/"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("/img/a.png", "https://cdn.example/img/a.png"),
        ("img/a.png", "https://cdn.example/img/a.png"),
        ("./a.png", "https://cdn.example/posts/one/a.png"),
        ("../a.png", "https://cdn.example/posts/a.png"),
        ("../../../../a.png", "https://cdn.example/a.png"),
        ("img\\win\\a.png", "https://cdn.example/img/win/a.png"),
        (".\\a.png", "https://cdn.example/posts/one/a.png"),
        ("my cat ü.png", "https://cdn.example/my%20cat%20%C3%BC.png"),
        ("already%20encoded.png", "https://cdn.example/already%20encoded.png"),
        ("a.png?w=800&h=600#top", "https://cdn.example/a.png?w=800&h=600#top"),
        ("https://other.example/a.png", "https://other.example/a.png"),
        ("HTTPS://other.example/a.png", "HTTPS://other.example/a.png"),
        ("//other.example/a.png", "//other.example/a.png"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
        (" /img/a.png ", "https://cdn.example/img/a.png"),
    ],
)
def test_relative_media_get_the_base_url_and_absolute_ones_stay(value: str, url: str) -> None:
    assert media_url(value, "posts/one/index.md", "https://cdn.example/") == url


def test_without_a_base_url_media_stay_as_they_are_written() -> None:
    assert media_url("/img/a.png", "post.md", "") == "/img/a.png"
    assert media_url("./a.png", "post.md", "") == "./a.png"


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
sources = st.lists(names, min_size=1, max_size=4).map("/".join)


@given(sources, st.sampled_from(["https://blog.example", "http://x.example:8080/a%20b/", "/blog"]))
def test_a_url_is_always_valid_and_leads_back_to_the_path(source: str, base: str) -> None:
    url = post_url(source, base)
    assert url is not None
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    parts = urlsplit(url)
    assert (parts.query, parts.fragment) == ("", "")
    assert unquote(url.removeprefix(base.rstrip("/")).removeprefix("/")) == page_path(source)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), sources)
def test_a_media_url_never_has_white_space_and_keeps_its_base(value: str, source: str) -> None:
    url = media_url(value, source, BASE)
    if url and not url.startswith(BASE):
        assert url == value.strip()
    else:
        assert url.isascii()
        assert " " not in url
