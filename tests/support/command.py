"""The installed command, run as users run it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Users have none of these; without bytecode each start compiles pipesched anew, in half as much time again.
PYTHON_VARIABLES = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH")

PIPESCHED = str(Path(sys.executable).with_name("pipesched"))


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what would steer pipesched, in a fixed locale and zone."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PIPESCHED_")}
    for key in ("LOG_LEVEL", "NO_COLOR", "OLLAMA_HOST", "NOTIFY_SOCKET", *PYTHON_VARIABLES):
        env.pop(key, None)
    return env | {"TZ": "UTC", "COLUMNS": "100", "PYTHONWARNINGS": "error"} | dict(extra or {})


def pipesched(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 120,
) -> Result:
    """`pipesched ARGUMENTS` in `cwd`; stdin is no terminal."""
    done = subprocess.run(
        [PIPESCHED, *arguments],
        cwd=cwd,
        env=clean_environment(env),
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def shell(
    script: str, cwd: Path, *, options: Sequence[str] = (), timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """`script` in bash, as a reader of the documents types it: it stops at the first command that fails."""
    env = clean_environment()
    env["PATH"] = f"{Path(PIPESCHED).parent}{os.pathsep}{env['PATH']}"
    return subprocess.run(
        ["bash", *options, "-euo", "pipefail", "-c", script],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, **popen: Any
) -> subprocess.Popen[str]:
    """`pipesched ARGUMENTS` started and left running."""
    return subprocess.Popen(
        [PIPESCHED, *arguments],
        cwd=cwd,
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=popen.pop("stdout", subprocess.PIPE),
        stderr=popen.pop("stderr", subprocess.PIPE),
        text=True,
        **popen,
    )
