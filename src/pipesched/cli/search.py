"""`search`: ask the collection."""

from __future__ import annotations

from typing import Annotated

import typer

from pipesched.cli.app import App
from pipesched.cli.options import JobOption, PipelineFlags
from pipesched.settings import SEARCH_COUNT


def search(
    app: App,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question or some words.")],
    n: Annotated[
        int, typer.Option("-n", "--limit", min=1, max=1000, metavar="N", help="How many results.")
    ] = SEARCH_COUNT,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="Only chunks with this metadata; several: all."),
    ] = None,
    job: JobOption = None,
    *,
    pipeline: PipelineFlags,
) -> None:
    """Find the nearest chunks to a question, with the model that the collection was built with.

    Example: pipesched search "how do I deploy with systemd" -n 3 --where categories=linux
    """
    from pipesched.cli.resolution import run_options
    from pipesched.errors import InvalidValue
    from pipesched.pipeline.search import parse_where, search

    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            "QUERY is not text in this terminal's encoding", hint="use a UTF-8 locale, such as LANG=C.UTF-8"
        ) from error
    results = search(run_options(app, job, pipeline), query, limit=n, where=parse_where(where or []))
    if app.json:
        app.out.document({"results": [result.as_json() for result in results]})
        return
    if not results:
        app.out.note("nothing found: the collection is empty, or --where leaves nothing")
    for rank, result in enumerate(results, 1):
        app.out.line(f"{rank}. {result.score:.3f}  {_line(result.title or result.source)}")
        app.out.line(f"   {_line(result.url or result.source)}  (chunk {result.chunk_index})")
        text = _line(result.text)
        app.out.line(f"   {text[:200]}{'...' if len(text) > 200 else ''}")


def _line(text: str) -> str:
    """On one line: a title may come from a file's name, which may hold a newline."""
    return " ".join(text.split())
