"""`prune`: retention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipesched.cli.app import App
from pipesched.errors import PipeschedError
from pipesched.settings import KEEP_CACHE_DAYS, KEEP_DAYS, KEEP_MANIFEST_DAYS, KEEP_RUNS, PRUNE_LOCK

if TYPE_CHECKING:
    from pathlib import Path

    from pipesched.pipeline.retention import CachePruned, OldManifest
    from pipesched.runs.retention import Keep, RetentionPlan


def prune(
    app: App,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    keep_days: Annotated[
        int, typer.Option("--keep-days", min=0, metavar="N", help="Keep what is not older.")
    ] = KEEP_DAYS,
    keep_runs: Annotated[
        int, typer.Option("--keep-runs", min=1, metavar="N", help="Keep so many runs a job.")
    ] = KEEP_RUNS,
) -> None:
    """Delete old runs with their logs, reports and statistics, embeddings that no index needs, manifests of lost collections.

    Only files of runs that the ledger knows; every job keeps its last run and its last sync, and all counts stay. The daemon
    does this daily.

    Example: pipesched prune --dry-run --keep-days 30
    """
    from pipesched.errors import Busy
    from pipesched.files import KernelLock, check_owner
    from pipesched.runs.retention import Keep

    keep = Keep(days=keep_days, runs=keep_runs)
    if not app.paths.state_dir.is_dir():
        _print(app, dry_run, keep, _nothing())
        return
    check_owner(app.paths.state_dir)
    if dry_run:
        _print(app, dry_run, keep, _look(app, keep))
        return
    lock = KernelLock(app.paths.state_dir / PRUNE_LOCK, what="pipesched prune")
    if not lock.try_acquire():
        raise Busy(f"{lock.holder()} prunes already", hint="it takes seconds; try again")
    with lock:
        _print(app, dry_run, keep, _do(app, keep))
        app.paths.pruned.touch(mode=0o600)


@dataclass(frozen=True, slots=True)
class _Found:
    """What goes, or would. `free`: bytes that deleted rows have left in databases; `kept`: what could not be done, and why."""

    plan: RetentionPlan
    cache: CachePruned
    manifests: Sequence[OldManifest] = ()
    free: int = 0
    kept: Sequence[str] = ()


def _nothing() -> _Found:
    from pipesched.pipeline.retention import CachePruned
    from pipesched.runs.retention import RetentionPlan

    return _Found(RetentionPlan(), CachePruned())


def _look(app: App, keep: Keep) -> _Found:
    from pipesched.pipeline.retention import give_back, old_manifests, prune_cache
    from pipesched.runs.ledger import Ledger
    from pipesched.runs.retention import plan

    now, used = app.now(), _used(app)
    with Ledger.open(app.paths.ledger, create=False) as ledger:
        found = plan(ledger, app.paths, keep, now)
        running = bool(ledger.active())
        free = ledger.reclaimable()
    index_dir = app.paths.index_dir
    return _Found(
        plan=found,
        cache=prune_cache(index_dir, now=now, dry_run=True, running=running),
        manifests=old_manifests(index_dir, used=used, now=now),
        free=free if running else free + give_back(index_dir, dry_run=True),
    )


def _do(app: App, keep: Keep) -> _Found:
    from pipesched.pipeline.retention import give_back, old_manifests, prune_cache, remove_manifest
    from pipesched.runs.ledger import Ledger
    from pipesched.runs.retention import forget, plan, remove_files

    now, used = app.now(), _used(app)
    running, free = False, 0
    kept: list[str] = []
    # What needs no database goes before any is written to: on a full disk it makes the room for that.
    with Ledger.open(app.paths.ledger, create=False) as ledger:
        found = remove_files(plan(ledger, app.paths, keep, now))
    index_dir = app.paths.index_dir
    old = old_manifests(index_dir, used=used, now=now)
    for each in old:
        remove_manifest(each)
    if app.paths.ledger.exists():
        with Ledger.open(app.paths.ledger, create=True) as ledger:
            forget(found, ledger)
            running = bool(ledger.active())
            try:
                free = ledger.give_back()
            except PipeschedError as error:  # the rows have gone all the same
                kept.append(f"the ledger stays as large as it was: {error.message}")
    cache = prune_cache(index_dir, now=now, dry_run=False, running=running)
    if not running:  # it may be writing to them
        free += give_back(index_dir, dry_run=False)
    return _Found(found.gone, cache, old, free, [*found.kept, *kept])


def _used(app: App) -> set[Path]:
    """The manifests of the jobs' collections, and of the collection of no job. Raises DataError (a damaged job file)."""
    from pipesched.cli.resolution import options_of_all
    from pipesched.pipeline.manifest import manifest_path

    return {
        manifest_path(app.paths.index_dir, options.storage_path, options.collection_name)
        for options in options_of_all(app)
    }


def _print(app: App, dry_run: bool, keep: Keep, found: _Found) -> None:
    plan, cache, manifests, kept = found.plan, found.cache, found.manifests, found.kept
    counts = [
        ("runs", plan.rows, 0, f"older than {keep.days} days, or beyond {keep.runs} of their job"),
        ("logs", plan.files("log"), _bytes(plan, "log"), f"of these runs, or over {_size(keep.log_bytes)} together"),
        ("reports", plan.files("report"), _bytes(plan, "report"), "of these runs"),
        ("statistics", plan.files("statistics"), _bytes(plan, "statistics"), "of these runs"),
        ("embeddings", cache.deleted, cache.bytes, f"not needed for {KEEP_CACHE_DAYS} days"),
        ("manifests", len(manifests), sum(each.size for each in manifests), f"collection gone, untouched for {KEEP_MANIFEST_DAYS} days"),
    ]  # fmt: skip
    if app.json:
        document: dict[str, Any] = {
            "dry_run": dry_run,
            "keep": {"days": keep.days, "runs": keep.runs},
            "pruned": {name: count for name, count, _, _ in counts},
            "bytes": sum(size for _, _, size, _ in counts),
            "given_back_bytes": found.free,
            "kept": [*kept, *([cache.kept] if cache.kept else [])],
        }
        if dry_run:
            document["runs"] = [
                {
                    "run_id": run.run_id,
                    "job_id": run.job_id or None,
                    "reason": run.reason,
                    "files": [str(file.path) for file in run.files],
                }
                for run in plan.runs
            ]
            document["manifests"] = [str(each.path) for each in manifests]
        app.out.document(document)
    else:
        app.out.table(
            ("what", "would go" if dry_run else "gone", "size", "because"),
            [
                *((name, str(count), _size(size) if size else "-", why) for name, count, size, why in counts),
                (
                    "disk",
                    "-",
                    _size(found.free) if found.free else "-",
                    "what rows that went before have left free",
                ),
            ],
        )
    for each in [*kept, *([f"no embedding was looked at: {cache.kept}"] if cache.kept else [])]:
        app.out.note(f"warning: {each}")


def _bytes(plan: RetentionPlan, kind: str) -> int:
    return sum(file.size for run in plan.runs for file in run.files if file.kind == kind)


def _size(count: int) -> str:
    from pipesched.views.health import size

    return size(count)
