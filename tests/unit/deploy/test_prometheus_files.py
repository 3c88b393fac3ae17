"""The shipped alert rules, scrape configuration and dashboard: sound, and about metrics that the endpoint really serves."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipesched.cli.registry import COMMANDS
from pipesched.http.documents import Documents
from pipesched.runs.ledger import Ledger
from pipesched.views.scheduler import SchedulerFacts
from support.machine import program
from support.world import NOW, World, WorldSource

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "pipesched.json"
VARIABLES = {"$instance": ".*", "$job_id": ".*", "$__rate_interval": "5m"}


def promtool(*arguments: str, cwd: Path = PROMETHEUS) -> str:
    done = subprocess.run(
        [program("promtool", "prometheus"), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    """Of the dashboard, its variables filled in."""

    def walk(node: Any) -> Iterator[str]:
        match node:
            case dict():
                for key, value in node.items():
                    if key == "expr":
                        yield value
                    elif key == "definition":
                        yield re.sub(r"label_values\((.*), \w+\)", r"\1", value)
                    else:
                        yield from walk(value)
            case list():
                for value in node:
                    yield from walk(value)

    found = list(walk(json.loads(DASHBOARD.read_text())))
    for name, value in VARIABLES.items():
        found = [each.replace(name, value) for each in found]
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each metric that the endpoint of a daemon with a past serves, by the metric's name."""
    facts = SchedulerFacts(
        running=True, pid=42, started_at=NOW - timedelta(days=1), last_tick=NOW, certificate_until=NOW
    )
    world = World(tmp_path_factory.mktemp("world"), facts=facts)
    world.job("nightly")
    with Ledger.open(world.paths.ledger, create=True) as ledger:
        due = NOW - timedelta(hours=7, minutes=30)
        ledger.claim("r1", "nightly", scheduled_for=due, attempt=1, trigger="schedule", now=due)
        ledger.started("r1", pid=1, pid_started=1, now=due)
        ledger.finish("r1", status="succeeded", exit_code=0, now=due, documents={"unchanged": 1, "chunks": 1})
    text = Documents(WorldSource(world)).metrics().body.decode()
    found: dict[str, set[str]] = {"up": {"instance", "job"}}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        found[name] = {"instance", "job", *re.findall(r'(\w+)="', labels)}
    return found


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\bpipesched_\w+|\bup\b", re.sub(r'"[^"]*"', "", expression)))


def test_the_alert_rules_are_sound_and_fire_when_they_should() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts.test.yml")


def test_each_alert_is_tested_on_both_sides_and_told_of_in_the_handbook() -> None:
    tested = (PROMETHEUS / "alerts.test.yml").read_text()
    handbook = (ROOT / "docs" / "operations.md").read_text()
    for rule in alerts():
        name = rule["alert"]
        assert tested.count(f'ALERTS{{alertname="{name}",alertstate="firing"}}') == 2, name
        assert f"`{name}`" in handbook, name
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_each_alert_names_a_command_that_there_is() -> None:
    for rule in alerts():
        notes = rule["annotations"]
        assert {"summary", "description", "command"} == notes.keys(), rule["alert"]
        for words in re.findall(r"\bpipesched (\S+)", notes["command"].replace("-u pipesched", "")):
            assert words in COMMANDS or words.rstrip(";") in COMMANDS, (rule["alert"], words)
        assert re.search(r"pipesched|promtool", notes["command"]), rule["alert"]


def test_alerts_and_dashboard_ask_only_for_what_is_served(served: dict[str, set[str]]) -> None:
    asked = [rule["expr"] for rule in alerts()] + expressions()
    assert len(asked) > 40
    for expression in asked:
        names = names_in(expression)
        assert names, expression
        assert names <= served.keys(), expression
        labels = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression))
        labels |= {
            label.strip()
            for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
            for label in group.split(",")
        }
        assert labels <= set().union(*(served[name] for name in names)), expression


def test_every_metric_of_the_endpoint_is_looked_at_by_somebody(served: dict[str, set[str]]) -> None:
    asked = set().union(*map(names_in, [rule["expr"] for rule in alerts()] + expressions()))
    assert served.keys() - asked == set()


def test_every_expression_of_the_dashboard_parses(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())]
    document = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump(document))
    assert f"{len(rules)} rules found" in promtool(
        "check", "rules", "--lint=none", "dashboard.yml", cwd=tmp_path
    )


def test_the_dashboard_is_one_that_grafana_can_lay_out() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_the_scrape_configuration_is_sound(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(PROMETHEUS / name, tmp_path)
    (tmp_path / "pipesched.token").write_text("secret")
    said = promtool("check", "config", "prometheus.yml", cwd=tmp_path)
    assert "SUCCESS: prometheus.yml is valid prometheus config file syntax" in said
    assert f"{len(alerts())} rules found" in said
