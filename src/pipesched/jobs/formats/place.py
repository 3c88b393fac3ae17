"""Where an exported job would run: which command starts it, in which folders, as whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipesched.errors import InvalidValue
from pipesched.options import PipelineOptions
from pipesched.settings import Paths


@dataclass(frozen=True, slots=True)
class Place:
    """`program`: the words that start pipesched. `user`: who owns the job file, "" for root.

    `options`: what each job runs with, paths absolute. `runtime`: the folders of the interpreter and of its packages.
    """

    program: tuple[str, ...]
    paths: Paths
    machine_zone: str
    user: str
    options: Mapping[str, PipelineOptions]
    runtime: tuple[str, ...] = ()

    def command(self, *words: str) -> tuple[str, ...]:
        """`pipesched` with its folders named, so that it finds the same ones from anywhere. Raises InvalidValue."""
        paths = self.paths
        found = (
            *self.program,
            *("--file", str(paths.job_file)),
            *("--state-dir", str(paths.state_dir)),
            *("--output-dir", str(paths.output_dir)),
            *words,
        )
        for word in found:
            if any(sign in word for sign in "\n\r\0"):
                raise InvalidValue(
                    f"the path {word!r} has a line break", hint="move it to a folder without one"
                )
        return found
