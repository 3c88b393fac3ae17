"""`verify`: whether the collection is what the folder says."""

from __future__ import annotations

from typing import Annotated

import typer

from pipesched.cli.app import App
from pipesched.cli.options import JobOption, PipelineFlags


def verify(
    app: App,
    deep: Annotated[bool, typer.Option("--deep", help="Read every vector too.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what differs.")] = False,
    job: JobOption = None,
    *,
    pipeline: PipelineFlags,
) -> None:
    """Compare sources, manifest and collection; exit 1 with the differences.

    Example: pipesched verify --deep
    """
    from pipesched.cli.resolution import run_options
    from pipesched.pipeline.verify import verify

    found = verify(
        run_options(app, job, pipeline),
        index_dir=app.paths.index_dir,
        now=app.now,
        deep=deep,
        repair=repair,
    )
    if app.json:
        app.out.document(found.as_json())
    else:
        rows = [(kind, item) for kind, items in found.differences() for item in items]
        app.out.table(("difference", "what"), rows)
        app.out.line(found.message)
        if found.hint:
            app.out.line(found.hint)
    if not found.ok:
        raise typer.Exit(1)
