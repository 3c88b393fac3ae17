"""Documents that cannot rot: generated ones are current, links lead somewhere, versions agree, nothing private is in them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipesched import __version__

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def files() -> list[Path]:
    """What is in the repository; outside one, what is in the folder."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0 and done.stdout:
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    folders = ("src", "tests", "docs", "scripts", "benchmarks", "presets", "examples", "deploy", ".ci")
    return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]


def test_the_command_reference_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/command_reference.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    current = (ROOT / "docs" / "commands.md").read_text()
    assert current == done.stdout, "make docs"


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


def test_the_version_is_the_changelogs_newest() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1] == __version__


def test_the_changelog_keeps_to_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert re.search(rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)


HOSTS = re.compile(
    rb"(pypi|pythonhosted|npmjs|deb\.debian|registry\.npm)[a-z.]*\.(org|com|net)", re.IGNORECASE
)
MACHINE = re.compile(rb"/(w[o]rk|f[a]rm)/|/tmp/br[i]ef|/r[o]ot/\.|/h[o]me/(?!me\b)[a-z]+/")


def test_no_file_names_a_package_index_or_a_path_of_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in files()
        for pattern in (HOSTS, MACHINE)
        if (match := pattern.search(path.read_bytes()))
    ]
    assert found == []


def test_every_document_is_reachable_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", readme))
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= linked
