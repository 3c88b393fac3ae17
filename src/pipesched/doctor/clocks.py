"""The clock and the zone data: what every schedule stands on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Final

from pipesched.doctor.patient import Checks, Patient, asked
from pipesched.errors import InvalidValue
from pipesched.machine import machine_zone
from pipesched.schedule.zones import load_zone
from pipesched.settings import Paths
from pipesched.views.ages import span
from pipesched.views.health import Check
from pipesched.views.scheduler import daemon_file

NOT_BEFORE: Final = datetime(2026, 1, 1, tzinfo=UTC)
NOT_AFTER: Final = datetime(2100, 1, 1, tzinfo=UTC)
SLACK: Final = timedelta(minutes=2)
_SET_IT: Final = "timedatectl set-ntp true; then see: timedatectl"


def check(patient: Patient) -> Checks:
    return {"clock": check_clock(patient), "zones": check_zones(patient)}


def check_clock(patient: Patient) -> Check:
    now = patient.now
    if not NOT_BEFORE <= now <= NOT_AFTER:
        return Check("fail", f"the clock says {now:%Y-%m-%d %H:%M} UTC, which cannot be", _SET_IT)
    newest = max(_written(patient.paths), default=now)
    if newest > now + SLACK:
        return Check(
            "warn",
            f"the clock went back: our own files are from {span(newest - now)} in the future",
            _SET_IT,
        )
    if synchronised() == "no":
        return Check("warn", f"{now:%Y-%m-%d %H:%M:%S} UTC, and nothing sets the clock", _SET_IT)
    asleep = suspended()
    slept = f"; the machine has slept {span(asleep)} since it was started" if asleep > 60 else ""
    return Check("pass", f"{now:%Y-%m-%d %H:%M:%S} UTC{slept}")


def _written(paths: Paths) -> Iterator[datetime]:
    for path in (paths.ledger, daemon_file(paths), paths.pruned):
        try:
            yield datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except OSError:
            continue


def synchronised() -> str:
    """`yes` or `no`, as systemd's timedatectl says; "" where it cannot be asked."""
    return asked("timedatectl", "show", "--property=NTPSynchronized", "--value")


def suspended() -> float:
    """Seconds that the machine slept since it was started: the monotonic clock stands still then, the boot clock does not."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    if boot is None:
        return 0.0
    return time.clock_gettime(boot) - time.clock_gettime(time.CLOCK_MONOTONIC)


def check_zones(patient: Patient) -> Check:
    jobs = patient.job_file.jobs.values()
    names = {"Europe/Berlin", machine_zone(), *(job.timezone for job in jobs)}
    for name in sorted(names):
        try:
            load_zone(name)
        except InvalidValue as error:
            return Check("fail", f"no zone data for {name}: {error.message}", "pip install --upgrade tzdata")
    try:
        data = f"tzdata {metadata.version('tzdata')}"
    except metadata.PackageNotFoundError:
        data = "the system's data"
    where = "/usr/share/zoneinfo" if Path("/usr/share/zoneinfo/Europe").is_dir() else data
    return Check("pass", f"{len(names)} zones can be read ({where}); this machine's is {machine_zone()}")
