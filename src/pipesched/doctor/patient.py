"""What the checks are given: the files, the options, and the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pipesched.errors import PipeschedError
from pipesched.jobs.model import JobFile
from pipesched.options import PipelineOptions
from pipesched.settings import Paths
from pipesched.views.health import Check


@dataclass(frozen=True, slots=True)
class Patient:
    """`job_file_error`: why the job file cannot be used at all. `options`: those of the job asked for, or of none."""

    paths: Paths
    now: datetime
    environ: Mapping[str, str]
    job_file: JobFile
    job_file_error: PipeschedError | None
    options: PipelineOptions


Checks = dict[str, Check]


def failed(error: PipeschedError) -> Check:
    return Check("fail", error.message, error.hint)
