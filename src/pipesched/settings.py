"""Every default, path and environment variable, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCHEMA_VERSION: Final = 1
"""Of the JSON that commands print and of the job file."""

ENV_PREFIX: Final = "PIPESCHED_"
ENV_FILE: Final = "PIPESCHED_FILE"
ENV_STATE_DIR: Final = "PIPESCHED_STATE_DIR"
ENV_OUTPUT_DIR: Final = "PIPESCHED_OUTPUT_DIR"
ENV_HTTP_TOKEN: Final = "PIPESCHED_HTTP_TOKEN"  # noqa: S105  the variable's name, not a secret
ENV_RUN_ID: Final = "PIPESCHED_RUN_ID"
ENV_JOB_ID: Final = "PIPESCHED_JOB_ID"
ENV_SCHEDULED_FOR: Final = "PIPESCHED_SCHEDULED_FOR"
ENV_ATTEMPT: Final = "PIPESCHED_ATTEMPT"

JOB_FILE: Final = "schedules.json"
STATE_DIR: Final = ".pipesched"
OUTPUT_DIR: Final = "output"
PRESETS_DIR: Final = "presets"

HTTP_ADDRESS: Final = "127.0.0.1:8765"
MAX_WORKERS: Final = 2
DRAIN_TIMEOUT_SECONDS: Final = 60.0
HISTORY_LIMIT: Final = 20
NEXT_COUNT: Final = 5
SEARCH_COUNT: Final = 5

JOB_ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where this invocation keeps things; all absolute."""

    job_file: Path
    state_dir: Path
    output_dir: Path

    @property
    def home(self) -> Path:
        """The job file's folder, from which relative paths in it are taken."""
        return self.job_file.parent

    @property
    def ledger(self) -> Path:
        return self.state_dir / "ledger.sqlite3"

    @property
    def logs_dir(self) -> Path:
        return self.state_dir / "logs"

    @property
    def daemon_lock(self) -> Path:
        return self.state_dir / "daemon.lock"

    @property
    def index_dir(self) -> Path:
        """Manifests and the embedding cache."""
        return self.state_dir / "index"

    @property
    def project_presets(self) -> Path:
        return self.home / PRESETS_DIR

    @classmethod
    def resolve(
        cls,
        *,
        file: str | None = None,
        state_dir: str | None = None,
        output_dir: str | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Paths:
        """From flags, else the three environment variables (both from `cwd`), else beside the job file."""
        env = os.environ if environ is None else environ
        base = Path.cwd() if cwd is None else cwd
        job_file = base / Path(file or env.get(ENV_FILE) or JOB_FILE).expanduser()
        state = state_dir or env.get(ENV_STATE_DIR)
        output = output_dir or env.get(ENV_OUTPUT_DIR)
        home = job_file.parent
        return cls(
            job_file=_absolute(job_file),
            state_dir=_absolute(base / Path(state).expanduser() if state else home / STATE_DIR),
            output_dir=_absolute(base / Path(output).expanduser() if output else home / OUTPUT_DIR),
        )


def _absolute(path: Path) -> Path:
    # Not resolve(): a symbolic link stays visible, so that a planted one can be refused.
    return Path(os.path.normpath(path.absolute()))
