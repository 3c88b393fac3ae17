"""docs/tutorial.md works as it stands there: every shell block in its order, in one shell, with the output that it shows."""

import re
from pathlib import Path

import pytest

from support.command import shell

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
MARK = "=== end of a block ==="

pytestmark = pytest.mark.slow


def pattern(shown: str) -> re.Pattern[str]:
    """What a shown output stands for: `...` is anything (alone: any lines), durations and scores are any number."""
    parts = []
    for line in shown.splitlines():
        if line == "...":
            parts.append(r"(?:.*\n)*?")
            continue
        masked = re.sub(r"(?<=\bin )\d+\.\d(?= s\b)|\b0\.\d{3}\b", "NUMBER", line)
        text = re.escape(masked).replace(r"\.\.\.", ".*").replace("NUMBER", r"[\d.]+")
        parts.append(text + "[ ]*\n")
    return re.compile("".join(parts))


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    scripts = [text for kind, text in BLOCKS if kind == "sh"]
    assert len(scripts) == TUTORIAL.count("```sh") > 10
    # One shell for all, as a reader has it: `cd` and background jobs last. -m: `kill %1` needs job control.
    whole = "".join(f"{script}echo '{MARK}'\n" for script in scripts)
    done = shell(whole, tmp_path, options=["-m"], timeout=240)
    outputs = done.stdout.split(f"{MARK}\n")
    assert done.returncode == 0, outputs[-1] + done.stderr
    outputs.pop()
    assert len(outputs) == len(scripts)
    number = -1
    for kind, text in BLOCKS:
        number += kind == "sh"
        if kind == "text":
            assert pattern(text).fullmatch(outputs[number]), (
                f"{text}\n--- but it printed ---\n{outputs[number]}"
            )


def test_a_shown_output_is_compared() -> None:
    shown = "succeeded in 1.9 s: 2 new\n...\nlast ...\n"
    assert pattern(shown).fullmatch("succeeded in 0.2 s: 2 new\na\nb\nlast line\n")
    assert pattern(shown).fullmatch("succeeded in 0.2 s: 2 new\nlast line\n")
    assert not pattern(shown).fullmatch("succeeded in 0.2 s: 3 new\nlast line\n")
    assert not pattern(shown).fullmatch("succeeded in 0.2 s: 2 new\nlast line\nmore\n")
