"""Every default, path and environment variable, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipesched.errors import InvalidValue

SCHEMA_VERSION: Final = 1
"""Of the JSON that commands print and of the job file."""

ENV_PREFIX: Final = "PIPESCHED_"
ENV_FILE: Final = "PIPESCHED_FILE"
ENV_STATE_DIR: Final = "PIPESCHED_STATE_DIR"
ENV_OUTPUT_DIR: Final = "PIPESCHED_OUTPUT_DIR"
ENV_HTTP_TOKEN: Final = "PIPESCHED_HTTP_TOKEN"  # noqa: S105  the variable's name, not a secret
ENV_ALLOW_LINK_LOCAL: Final = "PIPESCHED_ALLOW_LINK_LOCAL"
ENV_RUN_ID: Final = "PIPESCHED_RUN_ID"
ENV_JOB_ID: Final = "PIPESCHED_JOB_ID"
ENV_SCHEDULED_FOR: Final = "PIPESCHED_SCHEDULED_FOR"
ENV_ATTEMPT: Final = "PIPESCHED_ATTEMPT"
ENV_RUN_OPTIONS: Final = "PIPESCHED_RUN_OPTIONS"
"""What the scheduler knows of its run's options: the job file may be damaged by the time that the run reads it."""

NOT_FOR_CHILDREN: Final = frozenset(
    {
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        ENV_HTTP_TOKEN,
        ENV_RUN_OPTIONS,
    }
)
"""What speaks to the service manager, is secret, or is one run's alone."""

ENV_COMPLETE: Final = "_PIPESCHED_COMPLETE"
"""Set by a shell that asks for completions; its value says how."""

JOB_FILE: Final = "schedules.json"
STATE_DIR: Final = ".pipesched"
OUTPUT_DIR: Final = "output"
PRESETS_DIR: Final = "presets"
DAEMON_LOCK: Final = "daemon.lock"
PRUNE_LOCK: Final = "prune.lock"
LEDGER: Final = "ledger.sqlite3"
LOGS_DIR: Final = "logs"
INDEX_DIR: Final = "index"
STATE_NAMES: Final = frozenset({DAEMON_LOCK, LEDGER, LOGS_DIR, INDEX_DIR})
"""By any of these a state folder is known as one of ours."""

HTTP_ADDRESS: Final = "127.0.0.1:8765"
MAX_WORKERS: Final = 2
DRAIN_TIMEOUT_SECONDS: Final = 60.0
HISTORY_LIMIT: Final = 20
NEXT_COUNT: Final = 5
SEARCH_COUNT: Final = 5

KEEP_DAYS: Final = 90
KEEP_RUNS: Final = 10_000
"""Of each job. Its last run and its last sync stay, however old."""
KEEP_LOG_BYTES: Final = 2 * 2**30
"""All run logs together."""
KEEP_CACHE_DAYS: Final = 30
"""An embedding that no manifest names goes after so long without one."""
KEEP_MANIFEST_DAYS: Final = 30
"""The manifest of a collection that is gone, and that no job writes to, after so long."""
PRUNE_SECONDS: Final = 86_400.0

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
        return self.state_dir / LEDGER

    @property
    def logs_dir(self) -> Path:
        return self.state_dir / LOGS_DIR

    @property
    def daemon_lock(self) -> Path:
        return self.state_dir / DAEMON_LOCK

    @property
    def index_dir(self) -> Path:
        """Manifests and the embedding cache."""
        return self.state_dir / INDEX_DIR

    @property
    def notified_dir(self) -> Path:
        """What has been told of which job."""
        return self.state_dir / "notified"

    @property
    def pruned(self) -> Path:
        """Its modification time is the end of the last pruning."""
        return self.state_dir / "pruned"

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
        """From flags, else the three environment variables (both from `cwd`), else beside the job file.

        An empty variable counts as unset; an empty flag is most likely a shell variable that was meant to be set.
        Raises InvalidValue.
        """
        env = os.environ if environ is None else environ
        base = Path.cwd() if cwd is None else cwd

        def chosen(flag: str, given: str | None, variable: str, default: Path) -> Path:
            if given == "":
                raise InvalidValue(f"{flag}: an empty path", hint="leave the option out for the default")
            text = given if given is not None else env.get(variable) or ""
            try:
                return absolute(text, base) if text else default
            except InvalidValue as error:
                where = flag if given is not None else f"{variable} in the environment"
                raise InvalidValue(f"{where}: {error.message}", hint=error.hint) from error

        job_file = chosen("--file", file, ENV_FILE, absolute(JOB_FILE, base))
        home = job_file.parent
        return cls(
            job_file=job_file,
            state_dir=chosen("--state-dir", state_dir, ENV_STATE_DIR, home / STATE_DIR),
            output_dir=chosen("--output-dir", output_dir, ENV_OUTPUT_DIR, home / OUTPUT_DIR),
        )


def for_children(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that a process of ours is started with."""
    return {name: value for name, value in environ.items() if name not in NOT_FOR_CHILDREN}


def absolute(text: str, base: Path) -> Path:
    """`text` as an absolute path, relative ones taken from `base`, `~` expanded. Raises InvalidValue.

    A symbolic link stays visible, so that a planted one can be refused; only before a `..` are links followed, as the
    kernel would.
    """
    if "\0" in text:
        raise InvalidValue("a path cannot hold a NUL character")
    try:
        path = (base / Path(text).expanduser()).absolute()
    except RuntimeError as error:  # ~somebody who is not there
        raise InvalidValue(f"{text}: {error}", hint="write the path out") from error
    try:
        while ".." in path.parts:
            last = len(path.parts) - 1 - path.parts[::-1].index("..")
            path = Path(*path.parts[: last + 1]).resolve().joinpath(*path.parts[last + 1 :])
    except (OSError, RuntimeError) as error:  # a loop of links
        raise InvalidValue(f"{text}: {error}", hint="write the path without ..") from error
    return path
