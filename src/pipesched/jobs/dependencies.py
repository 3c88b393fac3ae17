"""PURE: which job waits for which (`--after`): unknown names, cycles."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from pipesched.errors import InvalidValue, UsageError
from pipesched.jobs.model import Job


def check_dependencies(jobs: Mapping[str, Job], changed: Iterable[str]) -> None:
    """Refuse a `changed` job that waits for an unknown job, or for itself through others. Raises InvalidValue."""
    for job_id in changed:
        for other in jobs[job_id].policy.after:
            if other not in jobs:
                near = difflib.get_close_matches(other, jobs, n=1)
                raise InvalidValue(
                    f"--after: there is no job {other!r}",
                    hint=f"did you mean {near[0]}?" if near else "add that job first",
                )
        cycle = find_cycle(jobs, job_id)
        if cycle:
            raise InvalidValue(
                f"--after: {' waits for '.join(cycle)}, so that none of them would ever run",
                hint=f"take one away: pipesched edit {cycle[-2]} --unset after",
            )


def find_cycle(jobs: Mapping[str, Job], start: str) -> list[str]:
    """The ids from `start` back to `start` along `after`, or nothing. Iterative: a chain may be long."""
    came_from: dict[str, str] = {}
    stack = [start]
    while stack:
        current = stack.pop()
        job = jobs.get(current)
        for other in job.policy.after if job else ():
            if other == start:
                path = [start, current]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            if other not in came_from:
                came_from[other] = current
                stack.append(other)
    return []


def check_removal(jobs: Mapping[str, Job], removed: Iterable[str]) -> None:
    """Refuse to remove what others wait for: they would never run again, without a word. Raises UsageError."""
    gone = set(removed)
    for job in jobs.values():
        needed = [other for other in job.policy.after if other in gone]
        if needed and job.id not in gone:
            raise UsageError(
                f"{job.id} runs after {needed[0]}, and would wait for it for ever",
                hint=f"remove both, or first: pipesched edit {job.id} --unset after",
            )
