"""docs/schemas says what commands really print: nothing that they print is against it, nothing is left unsaid."""

import json
import runpy
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from support.command import pipesched

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "json_schemas.py"))
Json = dict[str, Any]

pytestmark = pytest.mark.slow


def test_the_schemas_and_their_page_are_current() -> None:
    written: dict[Path, str] = SCRIPT["written"]()
    stale = [path.name for path, text in written.items() if not path.exists() or path.read_text() != text]
    assert stale == [], "make docs"
    assert {path for path in written if path.suffix == ".json"} == set(SCRIPT["FOLDER"].glob("*.json"))


FORMATS = FormatChecker([])


@FORMATS.checks("date-time", raises=ValueError)
def has_an_offset(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def closed(schema: Any) -> Any:
    """`schema` with every object that names keys closed to others, so that a key that it does not name is found."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object":
        found["additionalProperties"] = False
    return found


def check(name: str, document: Json) -> None:
    schema = json.loads((SCRIPT["FOLDER"] / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(closed(schema), format_checker=FORMATS)
    wrong = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    assert wrong == [], f"{name}: describe it in scripts/json_schemas.py, then make docs"


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Json]:
    """Asks a project in which a job has run, one has failed, and one post is broken."""
    home = tmp_path_factory.mktemp("project")
    posts = home / "data"
    posts.mkdir()
    shutil.copy(ROOT / "examples" / "blog" / "sourdough-starter.md", posts)
    (posts / "draft.md").write_text("---\ntitle: Later\ndraft: true\n---\nNot yet.\n")
    (posts / "broken.md").write_text("---\ntitle: [\n---\nNever closed.\n")

    def run(*arguments: str) -> Json:
        done = pipesched(*arguments, "--json", cwd=home)
        assert done.out, done.err
        document: Json = done.json
        return document

    check("jobs", {key: value for key, value in run("init").items() if key in {"schema_version", "jobs"}})
    check("job", run("add-interval", "often", "--every", "30m", "--retries", "2", "--tag", "x"))
    check(
        "job",
        run("add-once", "later", "--at", "2035-01-01", "--data-dir", "nowhere", "--collection-name", "other"),
    )
    check("report", run("run", "daily_incremental", "--ci-mode"))
    check("report", run("run", "later"))
    for file in (home / "output").glob("*.json"):
        check(file.name.partition("-")[0].removesuffix(".json"), json.loads(file.read_text()))
    return run


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("jobs", "list"),
        ("jobs", "pause often"),
        ("job", "show daily_incremental"),
        ("job", "edit later --description x"),
        ("report", "run --dry-run"),
        ("reports", "reports"),
        ("history", "history"),
        ("history", "history daily_incremental"),
        ("status", "status"),
        ("health", "health"),
        ("health", "doctor"),
        ("next", "next"),
        ("explain", "explain @daily"),
        ("search", "search bread"),
        ("verify", "verify"),
        ("preset", "presets twice_daily"),
        ("presets", "presets"),
        ("error", "show nothing"),
        ("error", "shwo"),
    ],
)
def test_what_a_command_prints_is_what_its_schema_says(
    ask: Callable[..., Json], name: str, command: str
) -> None:
    document = ask(*command.split())
    check(name, document)
    lists = [value for value in document.values() if isinstance(value, list)]
    assert not lists or any(lists) or name == "verify", "an empty list shows nothing"


def test_every_schema_is_held_against_something(ask: Callable[..., Json]) -> None:
    """The files are checked where the project is made: each kind of them must be there."""
    checked = {"report", "ci_summary", "statistics", "job", "jobs"}
    marks = test_what_a_command_prints_is_what_its_schema_says.pytestmark  # type: ignore[attr-defined]
    checked |= {name for mark in marks if mark.name == "parametrize" for name, _ in mark.args[1]}
    assert checked == set(SCRIPT["DOCUMENTS"])


def test_a_wrong_document_is_refused() -> None:
    good = {"schema_version": 1, "error": {"code": "x", "message": "y", "hint": ""}}
    check("error", good)
    for bad in ({**good, "more": 1}, {"schema_version": 1}, {**good, "error": {"code": "x"}}):
        with pytest.raises(AssertionError):
            check("error", bad)
