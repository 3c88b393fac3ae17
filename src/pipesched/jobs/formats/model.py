"""What reading a file of jobs and writing one give: jobs, and by name what could not be had or said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipesched.errors import InvalidValue
from pipesched.jobs.model import Defaults, Job


@dataclass(frozen=True, slots=True)
class Context:
    """What a job gets that does not say it: a zone. `now` is aware, in whole seconds."""

    zone: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A job that was read. `warnings`: what of it is not as it was there. `own`: it was written by pipesched."""

    job: Job
    warnings: tuple[str, ...] = ()
    own: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A job that could not be read, or not be said in another system's words, and why. `exists`: its id is taken."""

    id: str
    reason: str
    hint: str = ""
    exists: bool = False

    @classmethod
    def because(cls, job_id: str, error: InvalidValue) -> Refused:
        command = "pipesched " in error.hint  # which is to be typed as it stands
        return cls(job_id, as_keys(error.message), error.hint if command else as_keys(error.hint))


@dataclass(frozen=True, slots=True)
class Reading:
    """A file's content. `format`: what it turned out to be, in words; `defaults`: those of a file of ours."""

    format: str
    entries: tuple[Found | Refused, ...]
    warnings: tuple[str, ...] = ()
    defaults: Defaults | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """Text for another system, by file name; one file where the format is one text.

    `refused`: jobs that are not in it; `done`: jobs that need not be, which the warnings name.
    """

    files: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    done: tuple[str, ...] = ()


@dataclass
class Remarks:
    """Remarks about jobs as they come up; one remark names all the jobs that it holds for."""

    _jobs: dict[str, list[str]] = field(default_factory=dict)

    def add(self, job_id: str, text: str) -> None:
        self._jobs.setdefault(text, []).append(job_id)

    def lines(self) -> tuple[str, ...]:
        return tuple(f"{', '.join(ids)}: {text}" for text, ids in self._jobs.items())


_FLAG = re.compile(r"--(?!help\b)([a-z][a-z-]*)")


def as_keys(text: str) -> str:
    """A message about a command's flags as one about a file's keys: `--chunk-size` -> `chunk_size`; `--help` is a command's."""
    return _FLAG.sub(lambda match: match[1].replace("-", "_"), text)
