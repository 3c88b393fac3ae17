"""Notifications and pings: what sends them is installed, and what they need is set."""

from __future__ import annotations

from pipesched.doctor.patient import Checks, Patient
from pipesched.jobs.masking import masked
from pipesched.jobs.targets import HINT, host_of, is_allowed, is_refused
from pipesched.notify.delivery import INSTALL, NOT_INSTALLED, is_installed, resolve
from pipesched.views.ages import count
from pipesched.views.health import Check


def check(patient: Patient) -> Checks:
    """One check."""
    jobs = patient.job_file.jobs.values()
    notifying = [job for job in jobs if job.policy.notify]
    targets = {
        target
        for job in jobs
        for target in (*job.policy.notify, *([job.policy.ping] if job.policy.ping else []))
    }
    if not targets:
        return {"notifications": Check("pass", "no job notifies or pings anybody")}
    if notifying and not is_installed():
        return {
            "notifications": Check(
                "warn", f"{NOT_INSTALLED}, and {count(len(notifying), 'job')} to notify", INSTALL
            )
        }
    unset = sorted(target for target in targets if not resolve(target, patient.environ))
    if unset:
        return {
            "notifications": Check(
                "warn",
                f"not set here: {', '.join(target.removeprefix('env:') for target in unset)}",
                "export it, and give it to the daemon too (systemd: EnvironmentFile=)",
            )
        }
    refused = [
        target
        for target in targets
        if not is_allowed(patient.environ) and is_refused(host_of(resolve(target, patient.environ)))
    ]
    if refused:
        return {"notifications": Check("warn", f"{masked(refused[0])} is never told: link-local", HINT)}
    return {
        "notifications": Check("pass", f"{count(len(targets), 'target')}; try: pipesched notify-test JOB_ID")
    }
