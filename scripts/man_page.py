"""Print man/pipesched.1, the manual page, from the commands themselves; a test checks that the file is current.

.venv/bin/python scripts/man_page.py > man/pipesched.1
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from pipesched import __version__
from pipesched.cli.main import HELP, application
from pipesched.cli.registry import COMMANDS
from pipesched.settings import ENV_FILE, ENV_HTTP_TOKEN, ENV_OUTPUT_DIR, ENV_STATE_DIR

ROOT = Path(__file__).parents[1]
SHARED = {"Pipeline": "PIPELINE OPTIONS", "Job": "JOB OPTIONS"}
"""Options that many commands have, by their panel, and the section that describes them once."""
ENVIRONMENT = {
    ENV_FILE: "The job file, where --file is not given.",
    ENV_STATE_DIR: "The folder of the ledger, the manifests and the logs, where --state-dir is not given.",
    ENV_OUTPUT_DIR: "The folder of the reports, where --output-dir is not given.",
    "PIPESCHED_<OPTION>": "A pipeline option, such as PIPESCHED_DATA_DIR: below flags and the job, above the job file's defaults.",
    ENV_HTTP_TOKEN: "What readers of the HTTP endpoint have to give, where it is not on a loopback address.",
    "LOG_LEVEL": "As --log-level.",
    "NO_COLOR": "As --no-color, where it is not empty.",
    "OLLAMA_HOST": "The Ollama server.",
}
FILES = {
    "schedules.json": "The jobs, and what holds for all of them.",
    ".pipesched/": "The ledger of runs, manifests, the embedding cache, logs.",
    "output/": "Reports and statistics.",
    "presets/": "Presets of this project, over those that come along.",
}


def text(words: str) -> str:
    """`words` in roff: backslashes and hyphens as they are, no line that begins with a control character."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti")
    return "\n".join("\\&" + line if line.startswith(".") else line for line in escaped.splitlines())


def item(term: str, words: str) -> Iterator[str]:
    yield from (".TP", f"\\fB{text(term)}\\fR", text(words))


def option(parameter: Any, context: Any) -> Iterator[str]:
    record = parameter.get_help_record(context)
    if record is not None:
        yield from item(*record)


def paragraphs(words: str) -> Iterator[str]:
    for paragraph in words.split("\n\n"):
        flat = " ".join(paragraph.split())
        if flat.startswith("Example: "):
            yield from (
                ".PP",
                "Example:",
                ".PP",
                ".RS 4",
                ".EX",
                text(flat.removeprefix("Example: ")),
                ".EE",
                ".RE",
            )
        else:
            yield from (".PP", text(flat))


def command(name: str, group: Any, parent: Any, shared: dict[str, dict[str, Any]]) -> Iterator[str]:
    made = group.get_command(parent, name)
    context = made.context_class(made, info_name=name, parent=parent)
    usage = " ".join(made.collect_usage_pieces(context))
    yield f".SS {text(f'pipesched {name} {usage}')}"
    yield from paragraphs(made.help)
    panels = []
    for parameter in made.params:
        panel = getattr(parameter, "rich_help_panel", None)
        if panel in SHARED:
            shared[panel].setdefault(parameter.name, (parameter, context))
            panels.append(SHARED[panel])
        elif parameter.name != "json":
            yield from option(parameter, context)
    if panels:
        yield from (".PP", f"And the {' and the '.join(dict.fromkeys(panels))} below.")


def exit_codes() -> Iterator[tuple[str, str]]:
    """From docs/exit-codes.md."""
    rows = re.findall(
        r"^\| ([0-9, ]+) \| ([^|]+) \|", (ROOT / "docs" / "exit-codes.md").read_text(), re.MULTILINE
    )
    return ((code, meaning.replace("`", "").strip()) for code, meaning in rows)


def released() -> str:
    """The day of the newest version in the changelog."""
    match = re.search(
        rf"^## \[{re.escape(__version__)}\] - (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert match is not None
    return match[1]


def definitions(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, words in pairs:
        yield from item(term, words)


def page() -> Iterator[str]:
    group: Any = typer.main.get_command(application)
    parent = group.context_class(group, info_name="pipesched")
    shared: dict[str, dict[str, Any]] = {panel: {} for panel in SHARED}
    yield '.\\" Made by scripts/man_page.py from the commands themselves.'
    yield f'.TH PIPESCHED 1 {released()} "pipesched {__version__}" "User Commands"'
    yield from (".SH NAME", f"pipesched \\- {text(HELP[0].lower() + HELP[1:].rstrip('.'))}")
    yield from (
        ".SH SYNOPSIS",
        ".B pipesched",
        "[\\fIGLOBAL OPTIONS\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]",
    )
    yield ".SH DESCRIPTION"
    yield text(
        "A job says which folder of Markdown goes into which collection of a Chroma store, and when. A run reads the folder,"
        " embeds what is new or has changed, and brings the collection in step with it. The daemon starts runs when they are due;"
        " cron, systemd or Kubernetes can do it in its place (see export)."
    )
    yield from (
        ".PP",
        text("Every command takes --json after its name, and prints one JSON document then, also on errors."),
    )
    yield ".SH GLOBAL OPTIONS"
    yield text("They come before the command.")
    for parameter in group.params:
        yield from option(parameter, parent)
    yield ".SH COMMANDS"
    for name in COMMANDS:
        yield from command(name, group, parent, shared)
    for panel, title in SHARED.items():
        yield f".SH {title}"
        for parameter, context in shared[panel].values():
            yield from option(parameter, context)
    yield ".SH ENVIRONMENT"
    yield from definitions(ENVIRONMENT.items())
    yield from (".SH FILES", text("All beside the job file, unless said otherwise."))
    yield from definitions(FILES.items())
    yield ".SH EXIT STATUS"
    yield from definitions(exit_codes())
    yield from (".SH SEE ALSO", ".BR crontab (5),", ".BR systemd.timer (5)")


if __name__ == "__main__":
    print("\n".join(page()))
