"""The daemon from its start to its exit: one a state folder, ready, turning, draining, gone."""

from __future__ import annotations

import gc
import logging
import os
import selectors
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipesched import __version__
from pipesched.daemon.cancellation import Cancellations
from pipesched.daemon.children import KILL_GRACE_SECONDS, PIPE_GRACE_SECONDS, Children
from pipesched.daemon.clock import Clock, SystemClock
from pipesched.daemon.housekeeping import Housekeeper
from pipesched.daemon.jobwatch import JobWatch
from pipesched.daemon.launch import Command, pipesched_command
from pipesched.daemon.loop import Loop
from pipesched.daemon.observer import Observer
from pipesched.daemon.planning import STAGGER_SECONDS, Planner, RunSettings
from pipesched.daemon.promptness import PromptSelector
from pipesched.daemon.records import Recorder
from pipesched.daemon.recovery import forget_dead_manual_runs, recover
from pipesched.daemon.scheduler import LEAD, Scheduler
from pipesched.daemon.signals import STOPPING, Signals
from pipesched.daemon.source import DaemonSource
from pipesched.daemon.systemd import Notifier
from pipesched.errors import Busy, NotFound, PipeschedError
from pipesched.files import KernelLock, private_dir
from pipesched.options import PipelineConfig, from_environment, hand_over, resolve
from pipesched.runs import logs, reports
from pipesched.runs.ledger import Ledger
from pipesched.settings import DRAIN_TIMEOUT_SECONDS, MAX_WORKERS, Paths
from pipesched.views.scheduler import DaemonFile, beat, remove_daemon_file

if TYPE_CHECKING:
    from pipesched.jobs.model import Job

log = logging.getLogger(__name__)

STANDBY_POLL_SECONDS: Final = 0.5


class Endpoint(Protocol):
    """What answers questions about the daemon while it runs. `start` raises where it cannot listen."""

    def start(self) -> object: ...

    @property
    def url(self) -> str: ...

    @property
    def certificate_until(self) -> datetime | None:
        """When the certificate ends that it shows now (aware); None without one."""

    def reload(self) -> None:
        """On SIGHUP: read again what it was given as files."""

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    """`drain_seconds`: how long runs may go on after SIGTERM."""

    max_workers: int = MAX_WORKERS
    drain_seconds: float = DRAIN_TIMEOUT_SECONDS
    once: bool = False
    standby: bool = False


def serve(
    paths: Paths,
    options: Options,
    *,
    environ: Mapping[str, str],
    command: Command | None = None,
    endpoint: Callable[[DaemonSource], Endpoint] | None = None,
    observer: Callable[[DaemonSource], Observer] | None = None,
    prune: Sequence[str] | None = None,
    clock: Clock | None = None,
    selector: selectors.BaseSelector | None = None,
    kill_grace: float = KILL_GRACE_SECONDS,
    pipe_grace: float = PIPE_GRACE_SECONDS,
) -> int:
    """Run the daemon in the foreground of the main thread; its exit status is returned.

    `command`: what a run is started as; the pipesched command line by default. `endpoint` makes what serves the daemon's
    status; left out where it runs once. `observer` makes what is told of runs. `prune`: the command line
    that is started daily. `selector`: what the loop waits with, for a `clock` that is not the machine's. Raises
    ConfigurationError (no job file), Busy (another daemon, or the port is taken), DataError, InputOutputError, NotPermitted, InvalidValue.
    """
    from pipesched.jobs.store import JobStore

    clock = clock or SystemClock()
    notifier = Notifier.from_environment(environ, pid=os.getpid())
    store = JobStore(paths.job_file)
    watch = JobWatch(store)  # first of all: without a job file nothing is made
    environment = from_environment(environ)
    private_dir(paths.state_dir)
    with ExitStack() as stack:
        signals = stack.enter_context(Signals())
        selector = stack.enter_context(selector or PromptSelector())
        lock = KernelLock(paths.daemon_lock, what="pipesched daemon")
        if not _acquire(lock, signals, notifier, standby=options.standby):
            return 0
        stack.enter_context(lock)
        watch.catch_up()  # a standby may have waited for days
        ledger = stack.enter_context(Ledger.open(paths.ledger, create=True))
        children = Children(
            command or pipesched_command(paths),
            environ=environ,
            open_log=lambda run_id: logs.LogFile(logs.log_path(paths.logs_dir, run_id)),
            selector=selector,
            monotonic=clock.monotonic,
            kill_grace=kill_grace,
            pipe_grace=pipe_grace,
            options=_handed_over(watch),
        )
        stack.callback(children.close)
        planner = Planner(
            ledger,
            settings=_settings(watch, environment, paths),
            stagger=0.0 if options.once else STAGGER_SECONDS,
        )
        source = DaemonSource(paths, environment, watch, clock, pid=os.getpid())
        told = observer(source) if observer is not None else None
        scheduler = Scheduler(
            planner,
            Recorder(ledger, told),
            children,
            clock=clock,
            report=_report_reader(paths),
            cancellations=Cancellations(paths.state_dir),
            max_workers=options.max_workers,
            horizon=clock.now() if options.once else None,
            lead=timedelta(0) if options.once else LEAD,
        )
        server = endpoint(source) if endpoint is not None and not options.once else None
        if server is not None:
            server.start()
            stack.callback(server.stop)
            source.http, source.certificate_until = server.url, server.certificate_until
        if told is not None:
            told.start()
            stack.callback(told.stop)
        scheduler.set_jobs(watch.file.jobs)
        recover(ledger, scheduler, now=clock.now())
        if not options.once:
            scheduler.take(planner.fire_at_start(clock.now()))
        _announce(paths, source)
        stack.callback(_withdraw, paths, lock)
        where = f", {source.http}" if source.http else ""
        log.info("%d jobs, pid %d, job file %s%s", len(watch.file.jobs), os.getpid(), paths.job_file, where)
        notifier.ready(f"{len(watch.file.jobs)} jobs")
        gc.collect()
        gc.freeze()  # the jobs stay: no collection has to walk them while a fire is due
        loop = Loop(
            scheduler=scheduler,
            children=children,
            watch=watch,
            source=source,
            signals=signals,
            selector=selector,
            notifier=notifier,
            clock=clock,
            drain_seconds=options.drain_seconds,
            once=options.once,
            beat=lambda: beat(paths),
            check_manual_runs=lambda: _check_manual_runs(ledger, clock),
            is_ours=lock.guards,
            reload_endpoint=None if server is None else lambda: _reload(server, paths, source),
            housekeeper=Housekeeper(prune, paths.pruned, clock=clock, environ=environ)
            if prune is not None and not options.once
            else None,
        )
        status = loop.run()
        log.info("stopped")
        return status


def _acquire(lock: KernelLock, signals: Signals, notifier: Notifier, *, standby: bool) -> bool:
    """Take the daemon's lock. False: a signal ended the wait. Raises Busy where nobody is to wait."""
    if lock.try_acquire():
        return True
    if not standby:
        holder = lock.holder()
        raise Busy(
            f"another daemon runs on this state folder: {holder}",
            hint="stop it, wait for it with --standby, or give this one its own --state-dir",
        )
    log.info("standing by: %s runs", lock.holder())
    notifier.ready(f"standing by for {lock.holder()}")
    while not lock.try_acquire():
        if any(number in STOPPING for number in signals.take()):
            return False
        notifier.alive()
        signals.wait(STANDBY_POLL_SECONDS)
    log.info("taking over")
    return True


def _settings(watch: JobWatch, environment: PipelineConfig, paths: Paths) -> Callable[[Job], RunSettings]:
    """What a job's run writes to, resolved as the run itself will resolve it."""

    def settings(job: Job) -> RunSettings:
        options = resolve(
            flags=PipelineConfig(),
            job=job.config,
            environment=environment,
            defaults=watch.file.defaults.config,
            home=paths.home,
            cwd=paths.home,
        )
        if options.dry_run:
            return RunSettings("", dry_run=True)  # it takes no lock, and need not wait for one
        store = options.storage_path
        return RunSettings(store if options.store_is_server else os.path.realpath(store))

    return settings


def _handed_over(watch: JobWatch) -> Callable[[str], str | None]:
    """The options of a job as the daemon knows them, by the job's id."""

    def options(job_id: str) -> str | None:
        job = watch.file.jobs.get(job_id)
        return None if job is None else hand_over(job.config, watch.file.defaults.config)

    return options


def _report_reader(paths: Paths) -> Callable[[str], Mapping[str, Any] | None]:
    def read(run_id: str) -> Mapping[str, Any] | None:
        try:
            return reports.read_report(paths.output_dir, run_id)
        except NotFound:
            return None

    return read


def _announce(paths: Paths, source: DaemonSource) -> None:
    """Say on the disk who runs; a disk that does not take it is no reason not to schedule."""
    said = DaemonFile(
        pid=os.getpid(),
        started_at=source.started_at,
        http=source.http,
        version=__version__,
        certificate_until=source.certificate_until,
    )
    try:
        said.write(paths)
    except PipeschedError as error:
        log.warning("%s; status and health know less now", error.message)


def _withdraw(paths: Paths, lock: KernelLock) -> None:
    if lock.guards():  # else the file is another daemon's
        remove_daemon_file(paths)


def _reload(server: Endpoint, paths: Paths, source: DaemonSource) -> None:
    server.reload()
    if server.certificate_until != source.certificate_until:
        source.certificate_until = server.certificate_until
        _announce(paths, source)


def _check_manual_runs(ledger: Ledger, clock: Clock) -> None:
    try:
        forget_dead_manual_runs(ledger, clock.now())
    except PipeschedError as error:
        log.warning("runs by hand cannot be looked after: %s", error.message)
