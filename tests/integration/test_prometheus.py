"""A real Prometheus with the shipped configuration and rules, over a real daemon with a token."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.command import pipesched, start
from support.machine import program

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
TOKEN = "a-token-for-the-scraper"
SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # it is not up yet
            if found := true():
                return found
        time.sleep(0.1)
    raise AssertionError(what)


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Callable[..., Any]]:
    """The shipped configuration at another pace and target; yields what asks its API."""
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "pipesched.token").write_text(TOKEN)
    shutil.copy(DEPLOY / "alerts.yml", folder)
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus", "prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def ask(path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            document = json.load(answer)
        assert document["status"] == "success", document
        return document["data"]

    try:
        yield ask
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_real_prometheus_scrapes_a_daemon_and_its_rules_fire(tmp_path: Path) -> None:
    program("prometheus", "prometheus")
    home, monitor = tmp_path / "home", tmp_path / "monitor"
    monitor.mkdir()
    (home / "data").mkdir(parents=True)
    (home / "data" / "post.md").write_text("# A post\n\nSome text.")
    added = pipesched("add-interval", "hourly", "--every", "1h", "--data-dir", "data", cwd=home)
    assert added.code == 0, added.err
    assert pipesched("run", "hourly", cwd=home).code == 0
    (home / "data" / "post.md").unlink()  # an emptied folder: its delete is withheld
    assert pipesched("run", "hourly", cwd=home).code == 3
    target = f"127.0.0.1:{free_port()}"
    with start(
        "daemon", "--http", target, cwd=home, env={"PIPESCHED_HTTP_TOKEN": TOKEN}, stderr=subprocess.DEVNULL
    ) as daemon:
        try:
            with prometheus(monitor, target) as ask:

                def value(query: str) -> float | None:
                    found = ask("query", query=query)["result"]
                    return float(found[0]["value"][1]) if found else None

                until(lambda: value('up{job="pipesched"}') == 1, "the daemon is not scraped")
                assert value('pipesched_job_runs_total{job_id="hourly",status="succeeded"}') == 1
                assert value('pipesched_job_runs_total{job_id="hourly",status="partial"}') == 1
                assert value('pipesched_collection_withheld_deletes{collection="blog_documents"}') == 1
                age = value("time() - pipesched_collection_last_success_timestamp_seconds")
                assert age is not None
                assert 0 <= age < SECONDS
                assert value("time() - pipesched_scheduler_last_tick_timestamp_seconds") < 60  # type: ignore[operator]
                (scraped,) = ask("targets")["activeTargets"]
                assert (scraped["health"], scraped["lastError"]) == ("up", "")
                rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
                until(
                    lambda: value('ALERTS{alertname="PipeschedDeletesWithheld",alertstate="pending"}') == 1,
                    "the alert for withheld deletes is not pending",
                )
                evaluated = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
                assert {rule["health"] for rule in evaluated} == {"ok"}
                assert len(rules) == 21
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(30)
                until(
                    lambda: value('ALERTS{alertname="PipeschedDown",alertstate="pending"}') == 1,
                    "the alert for a daemon that is gone is not pending",
                )
        finally:
            daemon.kill()
            daemon.wait()
