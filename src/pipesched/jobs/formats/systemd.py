"""Jobs to systemd units: a hardened service for the daemon; and, to do without it, a timer with a service for each job."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pipesched.errors import InvalidValue
from pipesched.jobs.formats import calendar, grids
from pipesched.jobs.formats.limits import clock_remark, policy_remarks, store_remarks
from pipesched.jobs.formats.model import Export, Refused, Remarks
from pipesched.jobs.formats.place import Place
from pipesched.jobs.model import Job, JobFile
from pipesched.options import is_server
from pipesched.schedule.fields import REBOOT
from pipesched.schedule.timetext import format_duration
from pipesched.settings import DRAIN_TIMEOUT_SECONDS

DAEMON: Final = "pipesched.service"
_KILL_MARGIN_SECONDS: Final = 30
_MOST_EVENTS: Final = 48
_HIDDEN: Final = ("/home", "/root", "/run/user")
_TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108  where PrivateTmp would put other folders
LOOPBACK: Final = re.compile(r"https?://(localhost|127\.[0-9.]+|\[::1\])(:|/|$)", re.IGNORECASE)
_BARE: Final = re.compile(r"[A-Za-z0-9_@.,:/=+-]+")
# What systemd-analyze security asks for, as far as a pipeline can do without it. Not there: ProcSubset (onnxruntime reads
# /proc/cpuinfo), PrivateNetwork and IPAddressDeny for who talks to Ollama or Chroma on another machine.
_SANDBOX: Final = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RemoveIPC=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged",
    "SystemCallErrorNumber=EPERM",
    "UMask=0027",
)


def write(job_file: JobFile, *, place: Place, now: datetime) -> Export:
    """The units by file name. Raises InvalidValue where a path cannot be written in one."""
    remarks = Remarks()
    refused = []
    sandbox = _sandbox(job_file, place)
    files = {DAEMON: _daemon(place, sandbox)}
    for job in job_file.jobs.values():
        try:
            timer = _timer(job, now, remarks)
        except InvalidValue as error:
            refused.append(Refused(job.id, error.message, error.hint))
            continue
        files[f"pipesched-{job.id}.service"] = _service(job, place, sandbox)
        files[f"pipesched-{job.id}.timer"] = timer
        policy_remarks(
            job,
            remarks,
            said=("catch_up", "timeout", "jitter") if job.policy.catch_up != "all" else ("timeout", "jitter"),
        )
    store_remarks(job_file, place.options, remarks)
    return Export(files, remarks.lines(), tuple(refused))


def _daemon(place: Place, sandbox: Sequence[str]) -> str:
    stop = int(DRAIN_TIMEOUT_SECONDS) + _KILL_MARGIN_SECONDS
    return _unit(
        "Made by pipesched export --format systemd. It runs every job; the timers beside it are the other way, not both.",
        Unit=[
            "Description=pipesched, which keeps vector indexes in step with Markdown",
            "Documentation=man:systemd.service(5)",
            "After=network-online.target",
            "Wants=network-online.target",
            "StartLimitIntervalSec=10min",
            "StartLimitBurst=10",
        ],
        Service=[
            "Type=notify",
            "NotifyAccess=main",
            f"ExecStart={_exec(place.command('daemon', '--drain-timeout', format_duration(DRAIN_TIMEOUT_SECONDS)))}",
            "ExecReload=/bin/kill -HUP $MAINPID",
            "WatchdogSec=2min",
            "# SIGTERM goes to the daemon alone, which lets runs end; what is left when the time is over gets SIGKILL.",
            "KillMode=mixed",
            f"TimeoutStopSec={stop}s",
            "Restart=on-failure",
            "RestartSec=5s",
            "RestartPreventExitStatus=2 65 77 78",
            "# A run that takes all the memory is one failed run, not the end of the scheduler.",
            "OOMPolicy=continue",
            *sandbox,
        ],
        Install=["WantedBy=multi-user.target"],
    )


def _service(job: Job, place: Place, sandbox: Sequence[str]) -> str:
    timeout = job.policy.timeout
    return _unit(
        f"Made by pipesched export --format systemd, for the job {job.id}.",
        Unit=[
            f"Description={_plain(job.description or f'pipesched job {job.id}')}",
            "After=network-online.target",
            "Wants=network-online.target",
        ],
        Service=[
            "Type=oneshot",
            f"ExecStart={_exec(place.command('run', job.id))}",
            "# 3: some documents failed, the rest is in.",
            "SuccessExitStatus=3",
            f"TimeoutStartSec={'infinity' if timeout is None else _span(timeout)}",
            "TimeoutStopSec=10s",
            *sandbox,
        ],
    )


def _timer(job: Job, now: datetime, remarks: Remarks) -> str:
    """The timer of a job. Raises InvalidValue with the reason where systemd cannot say its schedule."""
    policy = job.policy
    lines = _events(job, now, remarks)
    if policy.catch_up != "none" and lines[0].startswith("OnCalendar="):
        lines.append("Persistent=true")
        if policy.grace is None:
            remarks.add(
                job.id, "the latest fire that was missed runs however late, not only within one period"
            )
    lines.append("AccuracySec=1s")
    if policy.jitter:
        lines += [f"RandomizedDelaySec={_span(policy.jitter)}", "FixedRandomDelay=true"]
    if said := clock_remark(job, now):
        remarks.add(
            job.id,
            "systemd skips a time that a change of the clocks skips, and runs one that comes twice once; here,"
            f" {said}",
        )
    install = ["WantedBy=timers.target"]
    if not job.enabled:
        install = ["# paused: WantedBy=timers.target"]
        remarks.add(job.id, "it is paused: its timer cannot be enabled")
    return _unit(
        f"Made by pipesched export --format systemd, for the job {job.id}: {job.schedule().text}, {job.timezone}.",
        Unit=[
            f"Description={_plain(job.description or f'pipesched job {job.id}')}",
            "# The daemon runs this job too: starting the one stops the other.",
            f"Conflicts={DAEMON}",
        ],
        Timer=lines,
        Install=install,
    )


def _events(job: Job, now: datetime, remarks: Remarks) -> list[str]:
    trigger = job.trigger
    if trigger.type == "once":
        if trigger.at <= now:
            remarks.add(job.id, "its time has passed: its timer never elapses")
        return [f"OnCalendar={trigger.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"]
    if trigger.type == "interval":
        times = grids.daily_times(trigger)
        if times and len(times) <= _MOST_EVENTS:
            return [f"OnCalendar={event}" for event in calendar.of_grid(times)]
        remarks.add(job.id, "its interval counts from its last start, and from the boot, not on a fixed grid")
        span = _span(trigger.seconds)
        return [f"OnActiveSec={span}", f"OnUnitActiveSec={span}"]
    if trigger.expression.strip().lower() == REBOOT:
        remarks.add(job.id, "it runs when the machine starts (@reboot), there being no scheduler to start")
        return ["OnBootSec=0"]
    return [
        f"OnCalendar={event}"
        for event in calendar.of_cron(trigger.expression, zone=job.timezone, job_id=job.id)
    ]


def _span(seconds: float) -> str:
    return (
        f"{timedelta(seconds=seconds) // timedelta(milliseconds=1)}ms" if seconds % 1 else f"{int(seconds)}s"
    )


# ---- what the services may touch


def _sandbox(job_file: JobFile, place: Place) -> list[str]:
    paths = place.paths
    options = [place.options[job_id] for job_id in job_file.jobs if job_id in place.options]
    stores = [each.storage_path for each in options if not is_server(each.storage_path)]
    writable = [
        str(paths.home), str(paths.state_dir.parent), str(paths.output_dir.parent),
        # The lock lies beside the store.
        *(posixpath.dirname(store) for store in stores),
    ]  # fmt: skip
    readable = [each.data_dir for each in options]
    program = [posixpath.dirname(posixpath.dirname(place.program[0]))]
    lines = [
        f"User={place.user}" if place.user else "# The job file is root's: give it to a user of its own."
    ]
    lines += _folders(writable, [*readable, *program, *place.runtime], state_dir=str(paths.state_dir))
    servers = [each.storage_path for each in options if is_server(each.storage_path)]
    policies = [job.policy for job in job_file.jobs.values()]
    alone = all(LOOPBACK.match(server) for server in servers) and not any(
        policy.notify or policy.ping for policy in policies
    )
    network = ["IPAddressDeny=any", "IPAddressAllow=localhost"] if alone else []
    # Root keeps a file's owner when it writes it.
    owner = [] if place.user else ["SystemCallFilter=@chown"]
    return [*lines, *_SANDBOX, *owner, *network]


def _folders(writable: Iterable[str], readable: Iterable[str], *, state_dir: str) -> list[str]:
    """What is opened again of a file system that is read-only, and in which homes are not there at all."""
    write = _outermost(writable)
    read = [path for path in _outermost(readable) if not _below(path, write)]
    lines = []
    parent, _, name = state_dir.rpartition("/")
    if parent == "/var/lib" and re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        lines += [f"StateDirectory={name}", "StateDirectoryMode=0700"]
        write = [path for path in write if path != parent]
    hidden = [path for path in (*write, *read) if _below(path, _HIDDEN)]
    lines += [] if any(_below(path, _TEMPORARY) for path in (*write, *read)) else ["PrivateTmp=yes"]
    lines.append("ProtectHome=tmpfs" if hidden else "ProtectHome=yes")
    lines += [f"ReadWritePaths={_path(path)}" for path in write if path not in hidden]
    lines += [f"BindPaths={_bound(path)}" for path in write if path in hidden]
    # A folder of documents that is not there is a run's error, not the daemon's.
    lines += [f"BindReadOnlyPaths=-{_bound(path)}" for path in read if path in hidden]
    return lines


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _outermost(paths: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not _below(path, kept):
            kept.append(path)
    return kept


# ---- how it is written


def _unit(comment: str, **sections: Sequence[str]) -> str:
    parts = [f"# {_plain(comment)}"]
    for name, lines in sections.items():
        parts += ["", f"[{name}]", *lines]
    return "\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """One line in which nothing is a specifier."""
    return " ".join(text.split()).rstrip("\\").replace("%", "%%")


def _exec(words: Iterable[str]) -> str:
    return " ".join(_word(word.replace("$", "$$")) for word in words)


def _word(text: str) -> str:
    escaped = text.replace("%", "%%")
    if _BARE.fullmatch(escaped.replace("%", "").replace("$", "")):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _path(text: str) -> str:
    """Raises InvalidValue for a line break, behind which another setting could stand."""
    if any(sign in text for sign in "\n\r\0"):
        raise InvalidValue(f"the path {text!r} has a line break", hint="move it to a folder without one")
    return _word(text)


def _bound(text: str) -> str:
    """A path of `BindPaths=`, where a colon parts two. Raises InvalidValue."""
    if ":" in text:
        raise InvalidValue(f"the path {text!r} has a colon", hint="move it to a folder without one")
    return _path(text)
