"""The documentation as a site: it builds strictly, has every page in its navigation, and fetches nothing from elsewhere."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.command import PIPESCHED

ROOT = Path(__file__).parents[3]
ZENSICAL = Path(PIPESCHED).with_name("zensical")


def pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in pages(entry)]


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    """A strict build of the documents in `folder`, which is made to look like the repository."""
    for name in ("docs", "mkdocs.yml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return subprocess.run(
        [ZENSICAL, "build", "--clean", "--strict"], cwd=folder, capture_output=True, text=True, check=False
    )


class Fetched(HTMLParser):
    """What a browser would load for a page, links that a reader has to follow left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in {"script", "img", "iframe", "source", "object"}:
            self.found.add(values.get("src") or values.get("data") or "")
        if tag == "link" and values.get("rel") not in {"canonical", "next", "prev"}:
            self.found.add(values.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = built(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_every_page_is_in_the_navigation_once() -> None:
    nav = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_every_page_is_built(site: Path) -> None:
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= {path.stem for path in site.glob("*.html")}
    for image in (ROOT / "docs" / "images").iterdir():
        assert (site / "images" / image.name).is_file()


def test_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        parser = Fetched()
        parser.feed(page.read_text())
        assert [url for url in parser.found if re.match(r"(\w+:)?//", url)] == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", sheet.read_text()), sheet.name


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    assert built(tmp_path).returncode == 0
    page = tmp_path / "docs" / "index.md"
    page.write_text(page.read_text() + "\n[nothing](nowhere.md)\n")
    done = subprocess.run(
        [ZENSICAL, "build", "--clean", "--strict"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode != 0
