"""The facts that health is judged by, gathered from a snapshot, the ledger and the disks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipesched.errors import PipeschedError, ServiceUnavailable
from pipesched.jobs.masking import masked
from pipesched.runs.model import ACTIVE, EXECUTED, FAILED, Run, RunState
from pipesched.runs.refusals import Refusals
from pipesched.runs.rows import RECENT
from pipesched.schedule.outlook import open_schedule
from pipesched.settings import Paths
from pipesched.views.health import OVERDUE_SLOTS, DiskFacts, HealthFacts, JobFacts
from pipesched.views.index_rules import CollectionFacts, EmbedderFacts

if TYPE_CHECKING:
    from pipesched.options import PipelineConfig
    from pipesched.runs.ledger import Ledger
    from pipesched.views.snapshot import JobView, Snapshot

IN_PROCESS: Final = "onnx:"
"""Models that need no server: what their jobs' runs find unavailable is a store."""
Reach = Callable[[Collection[str]], Mapping[str, PipeschedError | None]]
"""Asks the servers of these models, quickly and without embedding; answers for those that have one, None where all is well."""

FINISHED: Final[frozenset[RunState]] = EXECUTED | FAILED | {"interrupted"}
OVER: Final[frozenset[RunState]] = FINISHED | {"missed", "skipped"}


def health_facts(
    snapshot: Snapshot,
    *,
    ledger: Ledger,
    environment: PipelineConfig,
    no_scheduler: bool = False,
    reach: Reach | None = None,
) -> HealthFacts:
    """`reach` None: no server is asked. Raises DataError (a damaged ledger)."""
    error = snapshot.job_file_error
    defaults = snapshot.job_file.defaults.config
    enabled = [view for view in snapshot.jobs.values() if view.job.enabled and view.state != "done"]
    jobs = tuple(
        job_facts(view, ledger, snapshot.now, dry=only_dry(view, environment, defaults)) for view in enabled
    )
    over = [
        view
        for view in snapshot.jobs.values()
        if view.job.enabled and view.state == "done" and view.job.kind == "once"
    ]
    return HealthFacts(
        now=snapshot.now,
        scheduler=snapshot.facts,
        job_file=str(snapshot.paths.job_file),
        job_file_exists=snapshot.job_file.exists,
        job_file_gone=snapshot.gone,
        job_file_error=None if error is None else (error.message, error.hint),
        problems=tuple(problem.message for problem in snapshot.job_file.problems),
        enabled=jobs,
        over=tuple(
            job_facts(view, ledger, snapshot.now, dry=only_dry(view, environment, defaults)) for view in over
        ),
        paused=sum(not view.job.enabled for view in snapshot.jobs.values()),
        disks=tuple(disk_facts(snapshot.paths, stores_of(snapshot))),
        no_scheduler=no_scheduler,
        collections=tuple(
            CollectionFacts(
                each.place.name, each.job_id, each.synced_at, each.withheld_deletes, each.drifted_chunks
            )
            for each in snapshot.collections
        ),
        embedders=tuple(embedder_facts(snapshot, jobs, reach)),
        notifying=sum(bool(view.job.policy.notify) for view in enabled),
        can_notify=find_spec("apprise") is not None,
        refused=tuple(refused(snapshot.paths, enabled)),
    )


def refused(paths: Paths, views: Iterable[JobView]) -> Iterator[tuple[str, str, str]]:
    """(job id, target without its secret, why) of each target that took nothing when it was asked last."""
    asked = [(view.job.id, target) for view in views for target in view.job.policy.notify]
    if asked:
        for job_id, target, refusal in Refusals(paths.notified_dir).among(asked):
            yield job_id, masked(target), refusal.reason


def only_dry(view: JobView, environment: PipelineConfig, defaults: PipelineConfig) -> bool:
    """Whether each run of the job is a dry one, which never counts as a sync."""
    for level in (view.job.config, environment, defaults):
        if level.dry_run is not None:
            return level.dry_run
    return False


def job_facts(view: JobView, ledger: Ledger, now: datetime, *, dry: bool) -> JobFacts:
    summary = view.summary
    last = last_finished(view, ledger)
    success = summary.last_sync
    if dry:
        success = last if last is not None and last.status in EXECUTED else None
        if success is None and last is not None:
            success = next(iter(ledger.history(view.job.id, EXECUTED, None, 1)), None)
    synced_at = None if success is None else success.finished_at
    running = [run.started_at for run in summary.active if run.started_at is not None]
    behind = unmet(view, synced_at, now)
    once = view.job.kind == "once"
    slot = None
    if (synced_at is None or (once and behind)) and summary.totals:
        slot = next(iter(ledger.history(view.job.id, OVER, None, 1)), None)
    return JobFacts(
        job_id=view.job.id,
        synced_at=synced_at,
        unmet=behind,
        once=once,
        last=last,
        success_rate=summary.success_rate,
        rated=min(RECENT, sum(summary.totals.get(state, 0) for state in EXECUTED | FAILED)),
        failures_in_row=summary.failures_in_row,
        running_since=min(running, default=None),
        auto_paused_at=summary.auto_paused_at,
        slot=slot,
        next_at=None if view.next is None else view.next.at,
    )


def last_finished(view: JobView, ledger: Ledger) -> Run | None:
    last = view.summary.last_run
    if last is None or last.status not in ACTIVE:
        return last
    return next(iter(ledger.history(view.job.id, FINISHED, None, 1)), None)


def unmet(view: JobView, synced_at: datetime | None, now: datetime) -> tuple[datetime, ...]:
    """The first occurrences that should have ended in a success by now; each at its latest start, jitter included."""
    timed = view.timed
    after = max(time for time in (timed.since, synced_at, timed.policy.start) if time is not None)
    until = now if timed.policy.end is None else min(now, timed.policy.end)
    jitter = timedelta(seconds=timed.policy.jitter)
    if until <= after or (timed.policy.after and timed.policy.trigger_on == "failure"):
        return ()  # what runs when another job fails is not late while that one does well
    slots = open_schedule(timed).between(after, until)
    return tuple(slot.at + jitter for slot in islice(slots, OVERDUE_SLOTS))


def embedder_facts(
    snapshot: Snapshot, jobs: Iterable[JobFacts], reach: Reach | None
) -> Iterator[EmbedderFacts]:
    """One for each model that an enabled job embeds with, in the job file's order."""
    facts = {job.job_id: job for job in jobs}
    users: dict[str, list[JobFacts]] = {}
    for each in snapshot.collections:
        mine = [facts[job_id] for job_id in each.place.job_ids if job_id in facts]
        if mine:
            users.setdefault(each.place.model, []).extend(mine)
    asked = reach(list(users)) if reach is not None and users else {}
    for model, mine in users.items():
        down = asked.get(model)
        yield EmbedderFacts(
            model=model,
            asked=model in asked,
            down=None if down is None else (down.message, down.hint),
            failed=next(
                (
                    (job.job_id, job.last.reason)
                    for job in mine
                    if job.last is not None
                    and job.last.status in FAILED
                    and job.last.exit_code == ServiceUnavailable.exit_code
                    and not model.startswith(IN_PROCESS)
                ),
                None,
            ),
        )


def stores_of(snapshot: Snapshot) -> list[Path]:
    """The folders that the jobs' stores are in, each once."""
    return list(
        dict.fromkeys(Path(each.place.storage) for each in snapshot.collections if not each.place.server)
    )


def disk_facts(paths: Paths, stores: Iterable[Path] = ()) -> Iterator[DiskFacts]:
    """One for each file system that we write to; one that cannot be asked is left out."""
    folders = [
        ("state", paths.state_dir),
        ("reports", paths.output_dir),
        *(("the store", each) for each in stores),
    ]
    seen: dict[int, tuple[list[str], Path]] = {}
    for what, folder in folders:
        for existing in (folder, *folder.parents):
            with suppress(OSError):  # it is not there yet, or may not be looked at: then what it lies in
                names, _ = seen.setdefault(existing.stat().st_dev, ([], existing))
                if what not in names:
                    names.append(what)
                break
    for names, folder in seen.values():
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        what = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
        yield DiskFacts(what=what, path=str(folder), free=usage.free, total=usage.total)
