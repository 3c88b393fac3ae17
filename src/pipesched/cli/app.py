"""What every command is given: where things are, how to print, what time it is."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipesched.cli.output import Output
from pipesched.settings import Paths

if TYPE_CHECKING:
    from pipesched.options import PipelineConfig


@dataclass
class App:
    """One invocation, made in the folder `cwd`. `log_level` and `log_format` are passed on to a daemon's children."""

    paths: Paths
    cwd: Path = field(default_factory=Path.cwd)
    color: bool = True
    log_level: str | None = None
    log_format: str = "text"
    out: Output = field(default_factory=Output)

    @property
    def json(self) -> bool:
        return self.out.json

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to be asked."""
        return sys.stdin is not None and sys.stdin.isatty()

    @staticmethod
    def now() -> datetime:
        """The wall clock, aware, UTC: read here and in the daemon only."""
        return datetime.now(UTC)

    def this_second(self) -> datetime:
        """`now` as the job file keeps times."""
        return self.now().replace(microsecond=0)

    @cached_property
    def environment(self) -> PipelineConfig:
        """The pipeline options that PIPESCHED_<OPTION> variables set."""
        from pipesched.options import from_environment

        return from_environment(os.environ)
