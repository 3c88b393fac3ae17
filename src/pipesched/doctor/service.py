"""The scheduler: does it run, does something start it at boot, can it serve its page."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path
from typing import Final

from pipesched.doctor.patient import Checks, Patient, asked
from pipesched.http.address import Address
from pipesched.settings import HTTP_ADDRESS
from pipesched.views.ages import ago, count
from pipesched.views.health import Check
from pipesched.views.scheduler import SchedulerFacts, read_facts

UNIT: Final = "pipesched.service"


def check(patient: Patient) -> Checks:
    facts = read_facts(patient.paths, patient.now)
    return {
        "scheduler": check_scheduler(patient, facts),
        "systemd": check_systemd(),
        "port": check_port(facts, HTTP_ADDRESS),
    }


def check_scheduler(patient: Patient, facts: SchedulerFacts) -> Check:
    if facts.running:
        where = f", {facts.http}" if facts.http else ""
        return Check("pass", f"running, pid {facts.pid}{where}")
    enabled = sum(job.enabled for job in patient.job_file.jobs.values())
    if not enabled:
        return Check("pass", "not running, and no job needs it")
    seen = f" (last seen {ago(facts.last_tick, patient.now)})" if facts.last_tick else ""
    return Check(
        "warn",
        f"not running{seen}, and needed by {count(enabled, 'job')}",
        "pipesched daemon, or: systemctl start pipesched",
    )


def check_systemd() -> Check:
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        return Check("pass", "no systemd here: something else has to start the daemon")
    return check_unit()


def check_unit() -> Check:
    """The system's unit, else the user's."""
    for scope in ([], ["--user"]):
        installed = asked("systemctl", *scope, "is-enabled", UNIT)
        if installed in {"", "not-found"}:
            continue
        state = asked("systemctl", *scope, "is-active", UNIT)
        command = " ".join(["systemctl", *scope])
        if state != "active":
            return Check(
                "warn", f"{UNIT} is {state or 'not active'}", f"{command} start {UNIT}; journalctl -u {UNIT}"
            )
        if installed not in {"enabled", "static", "linked", "enabled-runtime"}:
            return Check("warn", f"{UNIT} runs, and does not start at boot", f"{command} enable {UNIT}")
        if scope and asked("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value") == "no":
            return Check("warn", f"{UNIT} is active, and ends when you log out", "loginctl enable-linger")
        return Check("pass", f"{UNIT} is active")
    return Check("pass", f"no {UNIT} is installed; pipesched export --format systemd makes one")


def check_port(facts: SchedulerFacts, address: str) -> Check:
    """Whether a daemon can listen where it does by default; one of ours that listens there is fine."""
    if facts.running:
        return Check("pass", f"ours is at {facts.http}" if facts.http else "the daemon serves no page")
    wanted = Address.parse(address)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((wanted.host, wanted.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return Check(
                "warn",
                f"{address} is taken by another program",
                f"see which: ss -ltnp 'sport = :{wanted.port}'; or pipesched daemon --http 127.0.0.1:0",
            )
        return Check("warn", f"{address}: {error.strerror}", "pipesched daemon --http HOST:PORT")
    return Check("pass", f"{address} is free")
