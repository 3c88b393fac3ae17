"""Print docs/commands.md, the command reference, from the commands themselves; a test checks that the file is current.

.venv/bin/python scripts/command_reference.py > docs/commands.md
"""

import typer

from pipesched.cli.main import application
from pipesched.cli.registry import COMMANDS

WIDTH = 100

INTRODUCTION = """# Command reference

Made by `scripts/command_reference.py` from the commands' own help; a test fails when it is out of date.

Global options come before the command: `pipesched --file jobs.json list`. `--json`, after the command's name, prints one
JSON document on stdout, also on errors. Exit codes are in [exit-codes.md](exit-codes.md).
"""


def reference() -> str:
    group = typer.main.get_command(application)
    parent = group.context_class(group, info_name="pipesched", terminal_width=WIDTH, max_content_width=WIDTH)
    parts = [INTRODUCTION, "## pipesched", "", "```", group.get_help(parent), "```", ""]
    for name in COMMANDS:
        command = group.get_command(parent, name)
        context = command.context_class(
            command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
        )
        parts += [f"## {name}", "", "```", command.get_help(context), "```", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    print(reference(), end="")
