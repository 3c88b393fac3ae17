"""What of a job another engine cannot say, in words; and where it treats a change of the clocks differently."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pipesched.jobs.formats.model import Remarks
from pipesched.jobs.model import Job, JobFile
from pipesched.options import PipelineOptions
from pipesched.schedule.model import EPOCH
from pipesched.schedule.zones import load_zone, zone_table

_YEARS_AHEAD: Final = timedelta(days=3 * 366)
_AROUND: Final = timedelta(hours=4)


def without_done(job_file: JobFile, now: datetime, remarks: Remarks) -> tuple[JobFile, tuple[str, ...]]:
    """The file without jobs of one time that has passed, and their ids: an engine without single times loses nothing."""
    done = tuple(
        job.id for job in job_file.jobs.values() if job.trigger.type == "once" and job.trigger.at <= now
    )
    for job_id in done:
        remarks.add(job_id, "its time has passed: it is left out")
    rest = {job_id: job for job_id, job in job_file.jobs.items() if job_id not in done}
    return replace(job_file, jobs=rest), done


def policy_remarks(job: Job, remarks: Remarks, *, said: Collection[str]) -> None:
    """A remark for each setting of the job's policy that is not among those `said` in the other engine's words."""
    policy = job.policy
    texts = {
        "catch_up": {
            "latest": "a fire that was missed is not made up for (catch-up latest)",
            "all": "fires that were missed are not all made up for (catch-up all)",
        }.get(policy.catch_up),
        "grace": policy.grace is not None and "how late a fire may run (grace) is not limited",
        "overlap": {
            "queue": "a fire during a run is not kept for its end (overlap queue)",
            "replace": "a run is not ended by the next one (overlap replace)",
        }.get(policy.overlap),
        "timeout": policy.timeout is not None and "a run is not ended after its timeout",
        "retries": policy.retries > 0 and "a failed run is not tried again (retries)",
        "jitter": policy.jitter > 0 and "it runs at its very time (no jitter)",
        "after": bool(policy.after) and f"it does not wait for {', '.join(policy.after)} (after)",
        "trigger_on": policy.trigger_on != "success"
        and f"it runs however those that it waits for ended (trigger_on {policy.trigger_on})",
        "not_during": bool(policy.not_during)
        and f"it runs during {', '.join(policy.not_during)} too (not_during)",
        "calendar": bool(job.calendar) and "it runs on the dates of the job file's calendar too",
        "start": policy.start is not None and "it runs before its start time too",
        "end": policy.end is not None and "it goes on after its end time",
        "max_runs": policy.max_runs is not None and "it does not end after so many runs (max_runs)",
        "pause_after_failures": policy.pause_after_failures is not None
        and "it is not paused after failures in a row (pause_after_failures)",
        # A run tells itself how it ended; one that does not happen cannot.
        "notify": bool(policy.notify) and "nobody is told of runs that are late or missed (notify)",
    }
    for setting, text in texts.items():
        if isinstance(text, str) and setting not in said:
            remarks.add(job.id, text)
    for url in (*policy.notify, policy.ping):
        if url is not None and url.startswith("env:"):
            remarks.add(job.id, f"the variable {url.removeprefix('env:')} has to be in its environment")


def store_remarks(job_file: JobFile, options: Mapping[str, PipelineOptions], remarks: Remarks) -> None:
    """The daemon lets a run wait for its store; elsewhere two runs of different jobs may meet there."""
    sharing: dict[str, list[str]] = {}
    for job_id, job in job_file.jobs.items():
        if job.enabled and job_id in options and not options[job_id].dry_run:
            sharing.setdefault(options[job_id].storage_path, []).append(job_id)
    for job_ids in sharing.values():
        for job_id in job_ids if len(job_ids) > 1 else ():
            remarks.add(
                job_id,
                "they write to one store: a run that finds it in use ends with exit 75, where the daemon would let it wait",
            )


def clock_remark(job: Job, now: datetime) -> str:
    """What the next change of the clocks that touches the job does to it here, or "" where none does in three years."""
    if job.trigger.type != "cron":
        return ""
    schedule = job.schedule()
    table = zone_table(job.timezone)
    at = (now - EPOCH) // timedelta(seconds=1)
    until = at + int(_YEARS_AHEAD.total_seconds())
    while at < until:
        segment = table.segment(at)
        if table.segment(segment.end).offset != segment.offset:
            change = datetime.fromtimestamp(segment.end, UTC)
            for occurrence in schedule.between(change - _AROUND, change + _AROUND):
                if occurrence.note:
                    local = occurrence.at.astimezone(load_zone(job.timezone))
                    return f"{local:%Y-%m-%d}: {occurrence.note}"
        at = segment.end
    return ""
