"""Makes docs/images/terminal.svg: real commands on the example posts, as a terminal shows them.

    .venv/bin/python scripts/make_terminal_image.py

Each command runs in a terminal of its own (a pty), in a folder that is made for it; what it prints is drawn by rich. Run it again
when the output of a command has changed.
"""

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "terminal.svg"
WIDTH = 118
SHOWN = (
    'add-cron nightly "0 2 * * *" --timezone Europe/Berlin --data-dir posts --blog-base-url https://blog.example',
    "run nightly",
    'search "How do I keep a sourdough starter alive?" -n 1 --job nightly',
    "next --count 2",
    "history",
)


def printed(command: str, folder: Path) -> str:
    """What the command writes to a terminal, colours and all; a run's progress bar is drawn on stderr, and not kept."""
    ours, theirs = pty.openpty()
    env = os.environ | {"COLUMNS": str(WIDTH), "LINES": "40", "TERM": "xterm-256color", "TZ": "UTC"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    done = subprocess.Popen(
        ["bash", "-c", f"pipesched {command}"], cwd=folder, env=env, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    if done.wait() != 0:
        raise SystemExit(f"pipesched {command} failed")
    return b"".join(parts).decode().replace("\r\n", "\n")


def main() -> None:
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: PTH123, SIM115
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "blog"
        shutil.copytree(ROOT / "examples" / "blog", folder / "posts")
        for command in SHOWN:
            console.print(Text.assemble(("$ ", "bold green"), ("pipesched ", "bold"), command))
            lines = printed(command, folder).rstrip("\n").split("\n")
            kept = [line for line in lines if not re.search(r"^report |^next run .*\(|^ *\.\.\.$", line)]
            console.print(Text.from_ansi("\n".join(line.replace(name, "/srv") for line in kept)))
            console.print()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    svg = console.export_svg(title="pipesched", unique_id="pipesched")
    # rich names a font on another host: the picture must need nothing from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    PICTURE.write_text(svg.replace("Fira Code", "ui-monospace, 'DejaVu Sans Mono'"))
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
