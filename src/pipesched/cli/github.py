"""What GitHub Actions shows of a run in --ci-mode: annotations of documents, and the job's summary."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipesched.cli.printable import printable

if TYPE_CHECKING:
    from pipesched.cli.app import App
    from pipesched.cli.execution import Executed
    from pipesched.errors import PipeschedError
    from pipesched.report import RunReport

ANNOTATIONS: Final = 10
"""Of each level, a step: what is beyond them GitHub drops without a word."""
ROWS: Final = 100
"""Of each table in the summary, of which GitHub takes 1 MiB a step."""

_LINE: Final = re.compile(r"\(line (\d+)\)$")
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>#|~&@])")


def tell(app: App, done: Executed, data_dir: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Annotate the run and append to the job's summary, where GitHub Actions runs this; nothing elsewhere.

    Annotations go to stderr, which GitHub reads as it reads stdout, so that stdout stays what it is without them. With
    `--log-format json`, where each line is JSON, there are none.
    """
    if environ.get("GITHUB_ACTIONS") != "true":
        return
    if app.log_format != "json":
        root = Path(environ.get("GITHUB_WORKSPACE") or Path.cwd())
        for line in annotation_lines(done.report, done.error, _below(data_dir, root)):
            sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()
    if summary := environ.get("GITHUB_STEP_SUMMARY"):
        text = printable(job_summary(done.report, done.error))
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:  # the run is what it is, told or not
            app.out.note(f"warning: the job summary cannot be written: {error}")


def annotation_lines(report: RunReport, error: PipeschedError | None, folder: str) -> list[str]:
    """A line for each failed document and for the run's own errors; `folder`: the data folder, seen from the repository.

    What failed is an error, withheld deletes are a warning. Ten of each level at most, the last one says how many more.
    """
    errors, warnings = [], []
    for item in report.outcome.errors:
        hint = f"\n{error.hint}" if error is not None and error.hint and not item.source else ""
        properties = {"title": f"pipesched {item.code}"}
        if item.source:
            properties["file"] = f"{folder}/{item.source}" if folder else item.source
            if found := _LINE.search(item.message):
                properties["line"] = found[1]
        if item.code == "deletes_withheld":
            warnings.append(_command("warning", properties, item.message))
        else:
            errors.append(_command("error", properties, item.message + hint))
    return [*_capped("error", errors), *_capped("warning", warnings)]


def _capped(level: str, lines: list[str]) -> list[str]:
    if len(lines) <= ANNOTATIONS:
        return lines
    more = len(lines) - ANNOTATIONS + 1
    said = _command(level, {"title": "pipesched"}, f"and {more} more: see the job summary or ci_summary.json")
    return [*lines[: ANNOTATIONS - 1], said]


def _command(level: str, properties: Mapping[str, str], message: str) -> str:
    """A workflow command: the message ends at the line's end, a property also at a colon or comma."""
    said = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in properties.items())
    return f"::{level} {said}::{_escaped(message, '')}"


def _escaped(text: str, also: str) -> str:
    for character in "%\r\n" + also:  # the percent sign first
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def job_summary(report: RunReport, error: PipeschedError | None) -> str:
    """The run in GitHub's Markdown: how it ended and why, its counts, its errors, its changes."""
    outcome, stats = report.outcome, report.outcome.stats
    verb = "to embed" if report.dry_run else "embedded"
    counts = {
        "new": stats.new_documents,
        "modified": stats.modified_documents,
        "renamed": stats.renamed_documents,
        "unchanged": stats.unchanged_documents,
        "failed": stats.failed_documents,
        "deleted": stats.deleted_sources,
        "skipped": stats.skipped_documents,
        f"chunks {verb}": stats.chunks_embedded,
        "chunks from the cache": stats.chunks_from_cache,
    }
    what = f"{'dry run' if report.dry_run else 'run'} {report.job_id or ''}".strip()
    parts = [
        f"### pipesched {_plain(what)}: {outcome.status}\n",
        f"{_plain(outcome.message)} ({outcome.mode}: {_plain(outcome.mode_reason)})\n",
    ]
    if error is not None and error.hint:
        parts.append(f"**Hint:** {_plain(error.hint)}\n")
    parts.append(_table(list(counts), [[str(number) for number in counts.values()]], aligned="-:"))
    if outcome.errors:
        rows = [(item.source or "the run", item.code, item.message) for item in outcome.errors]
        parts.append(_limited("Errors", ("document", "code", "message"), rows))
    if outcome.documents:
        changes = [(item.change, item.source, str(item.chunks), item.reason) for item in outcome.documents]
        table = _limited("Changes", ("change", "document", "chunks", "reason"), changes)
        parts.append(f"<details><summary>{len(changes)} documents</summary>\n\n{table}\n</details>\n")
    return "\n".join(parts) + "\n"


def _limited(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    more = f"\n... and {len(rows) - ROWS} more\n" if len(rows) > ROWS else ""
    return f"#### {title}\n\n{_table(columns, rows[:ROWS])}{more}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], aligned: str = "-") -> str:
    lines = [columns, [aligned] * len(columns), *([_plain(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _plain(text: str) -> str:
    """`text` shown as it is: a document's name is no markup, no mention and no HTML."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _below(folder: Path, root: Path) -> str:
    """`folder` as seen from `root`, "" for `root` itself; as it is where it is not below."""
    try:
        below = Path(os.path.realpath(folder)).relative_to(os.path.realpath(root))
    except ValueError:
        return str(folder)
    return "" if below == Path() else below.as_posix()
