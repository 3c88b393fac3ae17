"""Notifications and pings: what sends them is installed, and what they need is set."""

from __future__ import annotations

from pipesched.doctor.patient import Checks, Patient
from pipesched.jobs.masking import masked
from pipesched.jobs.targets import HINT, host_of, is_allowed, is_refused
from pipesched.notify.delivery import INSTALL, NOT_INSTALLED, is_installed, resolve
from pipesched.views.ages import count
from pipesched.views.health import Check


def check(patient: Patient) -> Checks:
    return {"notifications": check_targets(patient)}


def check_targets(patient: Patient) -> Check:
    jobs = patient.job_file.jobs.values()
    notifying = [job for job in jobs if job.policy.notify]
    targets = {target for job in notifying for target in job.policy.notify}
    targets |= {job.policy.ping for job in jobs if job.policy.ping}
    if not targets:
        return Check("pass", "no job notifies or pings anybody")
    if notifying and not is_installed():
        return Check("warn", f"{NOT_INSTALLED}, and {count(len(notifying), 'job')} to notify", INSTALL)
    reached = {target: resolve(target, patient.environ) for target in sorted(targets)}
    unset = [target.removeprefix("env:") for target, url in reached.items() if not url]
    if unset:
        return Check(
            "warn",
            f"not set here: {', '.join(unset)}",
            "export it, and give it to the daemon too (systemd: EnvironmentFile=)",
        )
    if not is_allowed(patient.environ):
        for target, url in reached.items():
            if is_refused(host_of(url)):
                return Check("warn", f"{masked(target)} is never told: link-local", HINT)
    return Check("pass", f"{count(len(targets), 'target')}; try: pipesched notify-test JOB_ID")
