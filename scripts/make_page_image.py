"""Makes docs/images/page.png: the status page over a made-up past, as a headless Chromium draws it.

    mkdir /srv/blog && .venv/bin/python scripts/make_page_image.py /srv/blog

The folder's name is in the picture; it must be empty. Run it again after the page has changed.
"""

import random
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pipesched.http.server import StatusServer  # noqa: E402  tests/ has to be on the path first
from pipesched.options import PipelineConfig  # noqa: E402
from pipesched.views.scheduler import SchedulerFacts  # noqa: E402
from support.world import World, WorldSource  # noqa: E402

NOW = datetime(2026, 11, 24, 9, 42, tzinfo=UTC)
BLOG = {"new": 1, "modified": 2, "unchanged": 751, "skipped": 6, "chunks": 4218}
DOCS = {"unchanged": 186, "chunks": 1327}
NO_SERVER = "Ollama at http://127.0.0.1:11434 cannot be reached: connection refused"
START_OLLAMA = "start it: ollama serve; or choose another embedder with --embedding-model"
BROKEN = "186 documents: 185 unchanged, 1 failed (guides/tls.md: front matter is no YAML)"


def log(world: World, run_id: str, output: str) -> None:
    world.paths.logs_dir.mkdir(exist_ok=True)
    (world.paths.logs_dir / f"{run_id}.log").write_text(output + "\n")


def past(world: World) -> None:
    """Twelve days of runs, most of them good."""
    dice = random.Random(4)  # noqa: S311  a picture
    blog, docs = PipelineConfig(collection_name="blog"), PipelineConfig(collection_name="docs")
    world.job("daily_incremental", "0 2 * * *", timezone="Europe/Berlin", config=blog)
    world.job("weekly_rebuild", "0 1 * * 0", timezone="Europe/Berlin", config=blog)
    world.job("docs_every_30_minutes", 1800.0, config=docs)
    world.job("hourly_check", 3600.0, config=PipelineConfig(dry_run=True))
    world.job(
        "staging",
        "*/15 9-17 * * mon-fri",
        timezone="Europe/Berlin",
        enabled=False,
        paused_at=NOW,
        config=blog,
    )
    for day in range(14, -1, -1):
        at = (NOW - timedelta(days=day)).replace(hour=1, minute=0)
        run = world.ran("daily_incremental", at, took=dice.uniform(3, 9), documents=BLOG)
        if day == 0:
            message = "754 documents: 1 new, 2 modified; 4218 chunks, 7 embedded"
            world.report(run, "daily_incremental", at, "succeeded", message)
    for week in range(2, -1, -1):
        sunday = datetime(2026, 11, 22, tzinfo=UTC) - timedelta(days=7 * week)
        world.ran("weekly_rebuild", sunday, took=dice.uniform(190, 240), documents=BLOG)
    half = NOW.replace(minute=30)
    for slot in range(22, -1, -1):
        at = half - timedelta(minutes=30 * slot)
        status, reason = {9: ("failed", NO_SERVER), 3: ("partial", BROKEN)}.get(slot, ("succeeded", ""))
        run = world.ran(
            "docs_every_30_minutes", at, status, reason=reason, took=dice.uniform(0.6, 3), documents=DOCS
        )
        log(world, run, f"error: {reason}\nhint: {START_OLLAMA}" if status == "failed" else "done")
        if slot < 5:
            world.report(
                run, "docs_every_30_minutes", at, status, reason or "186 documents: none changed; 1327 chunks"
            )
    for hour in range(12, -1, -1):
        at = NOW.replace(minute=0) - timedelta(hours=hour)
        world.ran("hourly_check", at, took=dice.uniform(0.4, 0.9), dry_run=True)


def main() -> None:
    home = Path(sys.argv[1])
    picture = ROOT / "docs" / "images" / "page.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    running = SchedulerFacts(
        running=True,
        pid=2291,
        started_at=NOW - timedelta(days=12, hours=4),
        last_tick=NOW - timedelta(seconds=4),
    )
    world = World(home, now=NOW, facts=running)
    past(world)
    server = StatusServer("127.0.0.1:0", token=None, source=WorldSource(world))
    server.start()
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--hide-scrollbars", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={profile}", f"--screenshot={picture}", "--window-size=1180,1340", server.url,
            ],
            check=True,
        )  # fmt: skip
    server.stop()
    print(f"{picture}: {picture.stat().st_size} bytes")


if __name__ == "__main__":
    main()
