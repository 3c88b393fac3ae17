"""What an import would do to the job file: jobs that come in, in place of which, and those that are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pipesched.errors import InvalidValue, UsageError
from pipesched.jobs.dependencies import check_dependencies
from pipesched.jobs.formats.model import Found, Reading, Refused
from pipesched.jobs.model import Defaults, Job, JobFile

_NOTHING: Final = Defaults()
Check = Callable[[JobFile, Sequence[str]], None]
"""Refuses a job file that would be, given the ids that are new or changed in it, by raising a UsageError."""


@dataclass(frozen=True, slots=True)
class Change:
    """A job that comes in. `before`: the job that it replaces."""

    job: Job
    before: Job | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """`replaced`: ids that the file has already. `defaults`: to be written, None to leave the file's own."""

    changes: tuple[Change, ...]
    refused: tuple[Refused, ...]
    warnings: tuple[str, ...]
    replaced: frozenset[str]
    defaults: Defaults | None = None

    @property
    def jobs(self) -> list[Job]:
        return [change.job for change in self.changes]


def plan_import(
    reading: Reading, job_file: JobFile, *, replace: bool, check: Check, now: datetime
) -> ImportPlan:
    """Decide about every job of `reading`; `check` is asked about what the dependencies leave. `now` is in whole seconds."""
    taken = set(job_file.jobs) | {problem.job_id for problem in job_file.problems if problem.job_id}
    changes: dict[str, Change] = {}
    refused: list[Refused] = []
    for entry in reading.entries:
        if isinstance(entry, Refused):
            refused.append(entry)
        elif entry.job.id in changes:
            refused.append(
                Refused(entry.job.id, "its id is in the file twice", "give one of the two another id")
            )
        elif entry.job.id in taken and not replace:
            refused.append(
                Refused(
                    entry.job.id,
                    "there is a job of that id already",
                    "--replace puts it in its place",
                    exists=True,
                )
            )
        else:
            changes[entry.job.id] = _change(entry, job_file.jobs.get(entry.job.id), now)
    defaults, warnings = _defaults(reading, job_file)
    base = job_file if defaults is None else JobFile(defaults=defaults)
    kept, unfit = _fitting(base, {job_id: change.job for job_id, change in changes.items()}, check)
    return ImportPlan(
        changes=tuple(changes[job_id] for job_id in kept),
        refused=(*refused, *unfit),
        warnings=(*reading.warnings, *warnings),
        replaced=frozenset(taken & set(kept)),
        defaults=defaults,
    )


def _change(found: Found, before: Job | None, now: datetime) -> Change:
    """The job as it will be in the file: its slots count from now on, unless one with the same schedule was there.

    What was due before is not this scheduler's to run or to miss.
    """
    job, warnings = found.job, found.warnings
    since = now
    created_at = (job.created_at if found.own else None) or now
    if before is not None:
        if before.schedule_key == job.schedule_key:
            since = before.since
        if not found.own:
            created_at = before.created_at or now
    if job.trigger.type == "once" and job.trigger.at <= now:
        warnings = (*warnings, "its time has passed: it is kept as done, and does not run")
    counted = {"since": since, "since_schedule": job.schedule_key, "created_at": created_at}
    return Change(job.model_copy(update=counted), before, warnings)


def _defaults(reading: Reading, job_file: JobFile) -> tuple[Defaults | None, list[str]]:
    """Those of the file that is read go into one that has neither jobs nor defaults; else they are named."""
    theirs = reading.defaults
    if theirs is None or theirs in (job_file.defaults, _NOTHING):
        return None, []
    if not job_file.jobs and not job_file.problems and job_file.defaults == _NOTHING:
        return theirs, []
    mine = job_file.defaults.config.set_values()
    other: dict[str, object] = {
        name: value for name, value in theirs.config.set_values().items() if mine.get(name) != value
    }
    # The zone is each job's own; on the dates of the calendar none of them was to run.
    if dates := [each for each in theirs.calendar if each not in job_file.defaults.calendar]:
        other["calendar"] = ", ".join(dates)
    if not other:
        return None, []
    said = ", ".join(f"{name} {value!r}" for name, value in other.items())
    return None, [f"the defaults of that file do not come along, as this job file has its own: {said}"]


def _fitting(job_file: JobFile, jobs: Mapping[str, Job], check: Check) -> tuple[list[str], list[Refused]]:
    """The ids of `jobs` that can be in the file together, in their order, and why the others cannot."""
    unfit: dict[str, Refused] = {}
    agreeing = _agreeing(job_file, list(jobs.values()), check, unfit)
    while True:
        # A job that is refused takes those with it that run after it.
        left = {job.id: job for job in agreeing if job.id not in unfit}
        after = job_file.with_jobs(left.values()).jobs
        before = len(unfit)
        for job_id in left:
            try:
                check_dependencies(after, [job_id])
            except InvalidValue as error:
                unfit[job_id] = Refused.because(job_id, error)
        if len(unfit) == before:
            return list(left), list(unfit.values())


def _agreeing(job_file: JobFile, jobs: list[Job], check: Check, unfit: dict[str, Refused]) -> list[Job]:
    """The `jobs` that `check` accepts; halves are tried, so that a few bad ones among thousands cost little."""
    agreed: list[Job] = []
    waiting = [jobs] if jobs else []
    while waiting:
        group = waiting.pop()
        try:
            check(job_file.with_jobs([*agreed, *group]), [job.id for job in group])
        except UsageError as error:
            if len(group) == 1:
                unfit[group[0].id] = Refused(group[0].id, error.message, error.hint)
            else:
                half = len(group) // 2
                waiting += [group[half:], group[:half]]
        else:
            agreed += group
    return agreed
