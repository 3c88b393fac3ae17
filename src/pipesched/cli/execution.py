"""One pipeline run from resolved options to its report, ledger row and exit status."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipesched.errors import Busy, InputOutputError, NotPermitted, PipeschedError, exit_status
from pipesched.report import ItemError, Outcome, RunMode, RunReport
from pipesched.runs.model import COUNTED

if TYPE_CHECKING:
    from pipesched.cli.app import App
    from pipesched.cli.progress import Silent
    from pipesched.options import PipelineOptions
    from pipesched.runs.ledger import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """Who asked for the run. `claimed`: a scheduler gave the run id, and may keep the ledger row. `rebuild`: see pipeline.run."""

    run_id: str
    job_id: str | None
    scheduled_for: str | None
    claimed: bool
    rebuild: bool = False
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Executed:
    """What happened; `error` is what ended a failed run, `report_file` None where a dry run writes nothing."""

    report: RunReport
    error: PipeschedError | None
    report_file: str | None


def execute(
    app: App, request: Request, options: PipelineOptions, *, wait_seconds: float, progress: Silent
) -> Executed:
    """Run the pipeline, and record how it ended wherever this run is recorded.

    A dry run that no job started records nothing. Raises InputOutputError or NotPermitted when the run ended well but
    its report cannot be written.
    """
    started = app.now()
    clock = time.monotonic()
    recorded = request.job_id is not None or not options.dry_run
    with _ledger(app, request, options, started, recorded=recorded) as ledger:
        outcome, error, code = _outcome(app, request, options, wait_seconds=wait_seconds, progress=progress)
        report = RunReport(
            run_id=request.run_id,
            job_id=request.job_id,
            timestamp=started.isoformat(timespec="milliseconds"),
            scheduled_for=request.scheduled_for,
            finished_at=app.now().isoformat(timespec="milliseconds"),
            duration_seconds=round(time.monotonic() - clock, 3),
            outcome=outcome,
            dry_run=options.dry_run,
            exit_code=code,
        )
        try:
            report, report_file = _write(app, report, options, recorded=recorded)
        finally:
            if ledger is not None:
                ledger.finish(
                    request.run_id,
                    # Somebody else was writing: the job itself has not failed.
                    status="skipped" if isinstance(error, Busy) else outcome.status,
                    exit_code=code,
                    reason="" if outcome.status == "succeeded" else outcome.message,
                    now=app.now(),
                    documents={name: getattr(outcome.stats, key) for name, key in COUNTED.items()},
                )
    return Executed(report=report, error=error, report_file=report_file)


def _outcome(
    app: App, request: Request, options: PipelineOptions, *, wait_seconds: float, progress: Silent
) -> tuple[Outcome, PipeschedError | None, int]:
    from pipesched.pipeline.run import run

    with _stop_on_signals() as stop, progress:
        try:
            outcome = run(
                options,
                index_dir=app.paths.index_dir,
                now=app.now,
                run_id=request.run_id,
                progress=progress,
                stop=stop.event,
                wait_seconds=wait_seconds,
                rebuild=request.rebuild,
            )
        except PipeschedError as error:
            log.debug("the run failed", exc_info=True)
            return _failed(request, options, error), error, exit_status(error)
        except OSError as error:
            # The disk under the state folder or the data folder; whatever else is a bug, and loud.
            translated = InputOutputError(
                f"the run failed: {error}", hint="check the disk: df -h; dmesg | tail"
            )
            return _failed(request, options, translated), translated, translated.exit_code
    if outcome.status == "interrupted":
        return outcome, None, 128 + (stop.signal_number or signal.SIGTERM)
    return outcome, None, outcome.exit_code


def _failed(request: Request, options: PipelineOptions, error: PipeschedError) -> Outcome:
    mode: RunMode = "full" if options.incremental_mode == "full" else "incremental"
    reason = "the run failed before it decided"
    if options.force_recreate:
        mode, reason = "rebuild", "--force-recreate"
    elif request.rebuild:
        mode, reason = "rebuild", "asked for"
    return Outcome(
        status="failed",
        message=error.message,
        mode=mode,
        mode_reason=reason,
        errors=(ItemError(source="", code=error.code, message=error.message),),
        exit_code=exit_status(error),
    )


def _write(
    app: App, report: RunReport, options: PipelineOptions, *, recorded: bool
) -> tuple[RunReport, str | None]:
    """Statistics, report and CI summary, as far as this run writes them."""
    from dataclasses import replace

    from pipesched.runs import reports

    folder = app.paths.output_dir
    written: str | None = None
    try:
        if recorded:
            if options.should_save_stats and not options.dry_run:
                report = replace(report, stats_file=str(reports.write_statistics(report, folder)))
            written = str(reports.write_report(report, folder))
        if options.ci_mode:
            reports.write_ci_summary(report, folder)
    except (InputOutputError, NotPermitted):
        if report.outcome.status == "failed":
            log.exception("the report of the failed run could not be written")  # its own error matters more
            return report, None
        raise
    return report, written


@contextmanager
def _ledger(
    app: App, request: Request, options: PipelineOptions, started: datetime, *, recorded: bool
) -> Iterator[Ledger | None]:
    """The ledger with a row for this run; None where a scheduler keeps the row, or nothing is recorded."""
    if not recorded or kept_by_scheduler(app, request):
        yield None
        return
    from pipesched.runs import process
    from pipesched.runs.ledger import Ledger

    scheduled_for = request.scheduled_for
    with Ledger.open(app.paths.ledger, create=True) as ledger:
        for gone in ledger.find_lost():
            if gone.trigger == "manual":  # nobody waits for it; a claimed one is its scheduler's to judge
                ledger.finish(gone.run_id, status="lost", reason=process.GONE, now=started)
        ledger.begin_manual(
            request.run_id,
            request.job_id,
            now=started,
            pid=os.getpid(),
            dry_run=options.dry_run,
            scheduled_for=datetime.fromisoformat(scheduled_for) if scheduled_for else None,
            attempt=request.attempt,
        )
        yield ledger


def kept_by_scheduler(app: App, request: Request) -> bool:
    """Whether the ledger has the row already, as our daemon's does; another scheduler only chose the id."""
    if not request.claimed:
        return False
    from pipesched.runs.ledger import Ledger

    with Ledger.open(app.paths.ledger, create=False) as ledger:
        run = ledger.run(request.run_id)
    return run is not None and run.finished_at is None


@dataclass
class _Stop:
    event: threading.Event
    signal_number: int | None = None


@contextmanager
def _stop_on_signals() -> Iterator[_Stop]:
    """The first SIGTERM or SIGINT asks the run to end at a batch boundary; the second ends it at once."""
    stop = _Stop(threading.Event())

    def ask(number: int, _frame: Any) -> None:
        if stop.event.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.signal_number = number
        stop.event.set()

    previous = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def parse_scheduled_for(text: str | None, now: datetime) -> str | None:
    """A scheduler's --scheduled-for, checked. Raises InvalidValue."""
    if text is None:
        return None
    from pipesched.schedule.timetext import parse_time

    return parse_time(text, zone=UTC, now=now).isoformat()
