"""What the checks are given: the files, the options, and the machine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pipesched.errors import PipeschedError
from pipesched.jobs.model import JobFile
from pipesched.options import PipelineOptions
from pipesched.settings import Paths
from pipesched.views.health import Check


@dataclass(frozen=True, slots=True)
class Patient:
    """`job_file_error`: why the job file cannot be used at all. `options`: those of the job asked for, or of none.

    `jobs`: the options of each enabled job by its id, where what they use is to be checked instead of `options`; `unresolved`:
    those whose options do not fit together. `alike`: all options that the family at hand is to look at together.
    """

    paths: Paths
    now: datetime
    environ: Mapping[str, str]
    job_file: JobFile
    job_file_error: PipeschedError | None
    options: PipelineOptions
    jobs: Mapping[str, PipelineOptions] = field(default_factory=dict)
    unresolved: Mapping[str, PipeschedError] = field(default_factory=dict)
    alike: Sequence[PipelineOptions] = ()

    @property
    def all_options(self) -> Sequence[PipelineOptions]:
        return self.alike or (self.options,)


Checks = dict[str, Check]
_ASK_SECONDS: Final = 5.0


def failed(error: PipeschedError) -> Check:
    return Check("fail", error.message, error.hint)


def asked(*command: str) -> str:
    """What a program of the machine prints; "" where it cannot be asked."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
