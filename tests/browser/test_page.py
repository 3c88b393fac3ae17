"""The page in a real headless Chromium: it renders under its own policy, in light and dark, wide and narrow."""

import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipesched.http.server import StatusServer
from pipesched.views.scheduler import SchedulerFacts
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
    for half in range(12, -1, -1):
        status = "failed" if half < 3 else "succeeded"
        reason = f"Ollama cannot be reached {HELL}" if half < 3 else ""
        world.ran("docs", NOW - timedelta(minutes=30 * half), status, reason=reason, documents=held)
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
