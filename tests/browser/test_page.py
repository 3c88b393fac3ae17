"""The page in a real headless Chromium: it renders under its own policy, and is accessible, in light and dark, wide and narrow."""

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pipesched.http.server import StatusServer
from pipesched.views.scheduler import SchedulerFacts
from support.endpoint import get
from support.machine import program
from support.world import NOW, World, WorldSource

ARTIFACTS = Path(__file__).parents[2] / "test-artifacts"
HELL = "</td><script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    home = tmp_path / "blog"
    home.mkdir()
    running = SchedulerFacts(
        running=True, pid=42, started_at=NOW - timedelta(days=12), last_tick=NOW - timedelta(seconds=4)
    )
    world = World(home, facts=running)
    held = {"new": 1, "unchanged": 753, "chunks": 4218}
    world.job("daily_incremental", "0 2 * * *", timezone="Europe/Berlin")
    world.job("docs", 1800.0, name=HELL)
    world.job("staging", "*/15 9-17 * * mon-fri", enabled=False, paused_at=NOW - timedelta(days=2))
    for day in range(8, -1, -1):
        at = (NOW - timedelta(days=day)).replace(hour=1, minute=0)
        world.ran("daily_incremental", at, took=3 + day % 4, documents=held, report=day == 0)
    world.skipped(
        "docs", NOW - timedelta(hours=11), NOW - timedelta(hours=8), 7, "missed", f"it was down {HELL}"
    )
    failed = []
    for half in range(12, -1, -1):
        status = "failed" if half < 3 else "succeeded"
        reason = f"Ollama cannot be reached {HELL}" if half < 3 else ""
        run_id = world.ran(
            "docs", NOW - timedelta(minutes=30 * half + 1), status, reason=reason, documents=held
        )
        if status == "failed":
            failed.append(run_id)
    world.paths.logs_dir.mkdir()
    for run_id in failed:
        (world.paths.logs_dir / f"{run_id}.log").write_text(f"hint: ollama serve {HELL}\n")
    yield from serve(world)


@pytest.fixture
def empty_url(tmp_path: Path) -> Iterator[str]:
    yield from serve(World(tmp_path))


def serve(world: World) -> Iterator[str]:
    server = StatusServer("127.0.0.1:0", token=None, source=WorldSource(world))
    server.start()
    yield server.url
    server.stop()


def chromium(tmp_path: Path, url: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("chromium", "chromium"), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, url],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "flags"),
    [
        ("page-light", "1200,1400", ()),
        ("page-dark", "1200,1400", ("--force-dark-mode",)),
        ("page-phone", "500,2200", ()),
    ],
)
def test_a_picture_of_the_page_is_kept(
    tmp_path: Path, url: str, name: str, size: str, flags: tuple[str, ...]
) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    picture = ARTIFACTS / f"{name}.png"
    picture.unlink(missing_ok=True)
    chromium(tmp_path, url, f"--screenshot={picture}", f"--window-size={size}", *flags)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000, "an empty page is smaller"


@pytest.mark.slow
def test_the_browser_takes_the_page_as_it_is_meant(tmp_path: Path, url: str) -> None:
    done = chromium(
        tmp_path, url, "--dump-dom", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000"
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    assert title[1] == "Something is wrong · pipesched", "no script has run"
    assert "Content Security Policy" not in done.stderr, "the page obeys its own policy"
    assert "<script" not in done.stdout
    assert done.stdout.count("onerror=") == done.stdout.count("onerror=\"document.title='hacked'\"&gt;"), (
        "all of it text"
    )
    rows = re.findall(r"<tr[ >]", done.stdout)
    assert len(rows) > 15


def whole(url: str) -> str:
    host, port = url.removeprefix("http://").split(":")
    return get((host, int(port)), "/").text


CHECK = """
axe.run({resultTypes: ["violations"]}).then(found => ({
  dark: matchMedia("(prefers-color-scheme: dark)").matches, width: innerWidth, needed: document.documentElement.scrollWidth,
  wide: [...document.querySelectorAll("main *")].filter(each => each.getBoundingClientRect().right > innerWidth + 1)
    .map(each => each.outerHTML.slice(0, 200)),
  passed: found.passes.length,
  violations: found.violations.map(each => ({id: each.id, help: each.help, nodes: each.nodes.map(node => node.html + node.failureSummary)})),
}), error => ({error: String(error)})).then(found => parent.postMessage(JSON.stringify(found), "*"));
"""
HOST = """<!doctype html><html><body style="margin: 0"><pre id="found"></pre>
<iframe src="page.html" style="border: 0; width: WIDTHpx; height: 1400px"></iframe>
<script>addEventListener("message", event => { document.getElementById("found").textContent = event.data; });</script></body></html>
"""


def examined(tmp_path: Path, document: str, width: int, *flags: str) -> Any:
    """What axe-core says of `document` in a window so wide. Its own policy would let no script in, so it is put into a file."""
    axe = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
    script = f"<script>{axe}</script><script>{CHECK}</script></body>"
    (tmp_path / "page.html").write_text(document.replace("</body>", script), "utf-8")
    host = tmp_path / "host.html"
    host.write_text(HOST.replace("WIDTH", str(width)))
    done = chromium(
        tmp_path,
        host.as_uri(),
        "--dump-dom",
        "--virtual-time-budget=20000",
        "--window-size=1300,1500",
        *flags,
    )
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr
    return json.loads(unescape(found[1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "flags", "dark"),
    [
        (1200, (), False),
        (1200, ("--force-dark-mode",), True),
        (340, (), False),
        (340, ("--force-dark-mode",), True),
    ],
    ids=["light", "dark", "narrow", "narrow-dark"],
)
def test_axe_finds_nothing_to_object_to(
    tmp_path: Path, url: str, width: int, flags: tuple[str, ...], *, dark: bool
) -> None:
    found = examined(tmp_path, whole(url), width, *flags)
    assert found["violations"] == []
    assert (found["dark"], found["width"]) == (dark, width), "it has looked at what was meant"
    assert found["needed"] <= width, found["wide"]
    assert found["passed"] > 15


@pytest.mark.slow
def test_axe_has_no_objection_to_a_page_without_jobs(tmp_path: Path, empty_url: str) -> None:
    assert examined(tmp_path, whole(empty_url), 1200)["violations"] == []


@pytest.mark.slow
def test_axe_does_look(tmp_path: Path, url: str) -> None:
    broken = re.sub(r"<title>.*?</title>", "", whole(url), count=1).replace('<html lang="en">', "<html>")
    found = examined(tmp_path, broken.replace("var(--soft)", "#ddd"), 1200)
    assert {each["id"] for each in found["violations"]} >= {
        "document-title",
        "html-has-lang",
        "color-contrast",
    }
