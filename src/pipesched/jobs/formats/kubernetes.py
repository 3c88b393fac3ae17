"""Jobs to Kubernetes CronJob manifests."""

from __future__ import annotations

import hashlib
import math
import re
from datetime import datetime
from typing import Any, Final

from pipesched import __version__
from pipesched.errors import InvalidValue
from pipesched.jobs.formats import grids
from pipesched.jobs.formats.crontab import cron_text
from pipesched.jobs.formats.limits import clock_remark, policy_remarks, store_remarks, without_done
from pipesched.jobs.formats.model import Export, Refused, Remarks
from pipesched.jobs.formats.place import Place
from pipesched.jobs.formats.systemd import LOOPBACK
from pipesched.jobs.model import Job, JobFile
from pipesched.options import PipelineOptions, is_server
from pipesched.schedule.fields import DAY, REBOOT, WEEKDAY, split
from pipesched.schedule.outlook import PUNCTUAL, grace_of

FILE: Final = "pipesched.yaml"
MOUNT: Final = "/srv/pipesched"
CLAIM: Final = "pipesched"
_LONGEST_NAME: Final = 52
_SHORTEST_DEADLINE: Final = 10
_LONGEST_DEADLINE: Final = 2**31 - 1
"""Seconds of a pod's activeDeadlineSeconds."""
_FINAL_EXITS: Final = (2, 3, 65, 77, 78)
_HEADER: Final = f"""\
# Made by pipesched export --format kubernetes. Needed beside it: an image of pipesched, and a PersistentVolumeClaim named
# {CLAIM!r} with the job file's folder in it, which is mounted on {MOUNT}. A run that exits 3 (partial) shows as failed.
"""


def write(job_file: JobFile, *, place: Place, now: datetime) -> Export:
    """One stream of manifests, a CronJob for each job that one can say."""
    import yaml

    remarks = Remarks()
    job_file, done = without_done(job_file, now, remarks)
    refused = []
    manifests = []
    names: dict[str, str] = {}
    for job in job_file.jobs.values():
        try:
            manifests.append(_manifest(job, place, now, remarks, names))
        except InvalidValue as error:
            refused.append(Refused(job.id, error.message, error.hint))
    text = yaml.safe_dump_all(manifests, sort_keys=False, width=120) if manifests else ""
    store_remarks(job_file, place.options, remarks)
    return Export(
        {FILE: _HEADER + ("---\n" if manifests else "") + text}, remarks.lines(), tuple(refused), done
    )


def _manifest(
    job: Job, place: Place, now: datetime, remarks: Remarks, names: dict[str, str]
) -> dict[str, Any]:
    policy = job.policy
    schedule, zone = _schedule(job, remarks)
    name = _name(job.id, names)
    if name != job.id:
        remarks.add(job.id, f"its CronJob is named {name}")
    policy_remarks(job, remarks, said=("catch_up", "grace", "timeout", "retries", "overlap"))
    if policy.catch_up == "all":
        remarks.add(job.id, "only the latest of the fires that were missed is made up for (catch-up all)")
    if policy.overlap == "queue":
        remarks.add(job.id, "a fire during a run is dropped, not kept for its end (overlap queue)")
    if policy.retries:
        remarks.add(
            job.id, "failed runs are tried again after 10 s, 20 s, 40 s, ..., not after its retry_delay"
        )
    if said := clock_remark(job, now):
        remarks.add(
            job.id,
            "Kubernetes skips a time that a change of the clocks skips, and runs one that comes twice twice; here,"
            f" {said}",
        )
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/name": "pipesched", "app.kubernetes.io/version": __version__},
            "annotations": {"pipesched/job-id": job.id, **_described(job)},
        },
        "spec": {
            "schedule": schedule,
            "timeZone": zone,
            "concurrencyPolicy": "Replace" if policy.overlap == "replace" else "Forbid",
            "startingDeadlineSeconds": _deadline(job, now, remarks),
            "suspend": not job.enabled,
            "jobTemplate": {"spec": _job_spec(job, place, remarks)},
        },
    }


def _described(job: Job) -> dict[str, str]:
    return {"pipesched/description": job.description} if job.description else {}


def _job_spec(job: Job, place: Place, remarks: Remarks) -> dict[str, Any]:
    policy = job.policy
    limits: dict[str, int] = {}
    per_attempt: dict[str, int] = {}
    if policy.timeout is not None:
        seconds = max(1, math.ceil(policy.timeout))
        if seconds > _LONGEST_DEADLINE:
            raise InvalidValue(
                "Kubernetes takes no timeout above 68 years", hint="give it a shorter one, or none"
            )
        if policy.retries:
            # An attempt's time is its pod's, the Job's is that of all attempts and the waits between them.
            per_attempt["activeDeadlineSeconds"] = seconds
            waits = sum(min(10 * 2**attempt, 360) for attempt in range(policy.retries))
            limits["activeDeadlineSeconds"] = seconds * (policy.retries + 1) + waits
        else:
            limits["activeDeadlineSeconds"] = seconds
    return {
        "backoffLimit": policy.retries,
        **limits,
        # What a second try cannot mend.
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": "pipesched",
                        "operator": "In",
                        "values": list(_FINAL_EXITS),
                    },
                }
            ]
        },
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": "pipesched"}},
            "spec": {"restartPolicy": "Never", **per_attempt, **_pod(job, place, remarks)},
        },
    }


def _pod(job: Job, place: Place, remarks: Remarks) -> dict[str, Any]:
    words = ["--file", f"{MOUNT}/{place.paths.job_file.name}", "run", job.id]
    options = place.options.get(job.id)
    if options is not None:
        words += _storage(job, options, place, remarks)
    return {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "pipesched",
                "image": f"pipesched:{__version__}",
                "command": ["pipesched"],
                # $(NAME) would be a variable of the container.
                "args": [word.replace("$(", "$$(") for word in words],
                "workingDir": MOUNT,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "pipesched", "mountPath": MOUNT},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  of the container
                ],
            }
        ],
        "volumes": [
            {"name": "pipesched", "persistentVolumeClaim": {"claimName": CLAIM}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _storage(job: Job, options: PipelineOptions, place: Place, remarks: Remarks) -> list[str]:
    """The store's address, and a remark about what lies outside the volume."""
    home = str(place.paths.home).rstrip("/") + "/"
    if is_server(options.storage_path):
        if LOOPBACK.match(options.storage_path):
            remarks.add(job.id, f"{options.storage_path} is the pod itself there: give the server's name")
    elif not options.storage_path.startswith(home):
        remarks.add(job.id, f"its store {options.storage_path} is not in the volume: mount it there too")
    if not (options.data_dir.rstrip("/") + "/").startswith(home):
        remarks.add(job.id, f"its documents {options.data_dir} are not in the volume: mount them there too")
    if options.embedding_model.startswith("ollama:"):
        remarks.add(job.id, "Ollama is not in the pod: set OLLAMA_HOST")
    return ["--storage-path", options.storage_path] if is_server(options.storage_path) else []


def _schedule(job: Job, remarks: Remarks) -> tuple[str, str]:
    """Five fields and the zone. Raises InvalidValue with the reason where Kubernetes cannot say it."""
    trigger = job.trigger
    if trigger.type == "once":
        raise InvalidValue(
            "a CronJob cannot say a single time", hint="make a Job of it by hand, or leave it out"
        )
    if trigger.type == "interval":
        expression = grids.cron_expression(trigger)
        if expression is None:
            raise InvalidValue(
                f"a CronJob cannot say {job.schedule().text}: it does not divide an hour or a day evenly",
                hint="give it a cron expression",
            )
        if trigger.anchor.second or trigger.anchor.microsecond:
            remarks.add(job.id, "it runs at the whole minute, not at its grid's seconds")
        return expression, "Etc/UTC"
    if trigger.expression.strip().lower() == REBOOT:
        raise InvalidValue("a CronJob cannot say @reboot: a cluster has no start", hint="leave it out")
    cron_text(trigger.expression, job_id=job.id)
    fields = split(trigger.expression, job_id=job.id).fields
    stars = [place for place in (DAY, WEEKDAY) if fields[place].startswith("*")]
    if stars and "*" not in (fields[DAY], fields[WEEKDAY]):
        raise InvalidValue(
            f"Kubernetes fires {trigger.expression!r} when either the day of month or the weekday matches, here both have to",
            hint="write the days out, or leave it to pipesched daemon",
        )
    return " ".join(fields), "Etc/UTC" if job.timezone == "UTC" else job.timezone


def _deadline(job: Job, now: datetime, remarks: Remarks) -> int:
    """How late a fire may start: its grace; where nothing is to be made up for, what still counts as on time."""
    seconds = PUNCTUAL if job.policy.catch_up == "none" else grace_of(job.timed(), now)
    if seconds < _SHORTEST_DEADLINE:
        remarks.add(job.id, f"its grace is {_SHORTEST_DEADLINE} s there: Kubernetes looks every ten seconds")
    return max(_SHORTEST_DEADLINE, math.ceil(seconds))


def _name(job_id: str, names: dict[str, str]) -> str:
    """A name that Kubernetes takes: lower case, dashes, at most 52 characters, and no two alike.

    An id that is one already keeps it, any other gets a digest, so that no job takes a name over when another one comes or goes.
    """
    name = re.sub(r"[^a-z0-9-]+", "-", job_id.lower())[:_LONGEST_NAME].strip("-")
    if name != job_id:
        digest = hashlib.sha256(job_id.encode()).hexdigest()[:8]
        name = f"{name[: _LONGEST_NAME - 9].strip('-')}-{digest}"
    if names.setdefault(name, job_id) != job_id:
        raise InvalidValue(
            f"its CronJob would have the name of another one, {name}", hint="give it another id"
        )
    return name
