"""What a check finds, and the worst of many. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

HealthStatus = Literal["pass", "warn", "fail"]
RANK: Final[dict[HealthStatus, int]] = {"pass": 0, "warn": 1, "fail": 2}
JOB_CHECK: Final = "job:"
"""How the name of a job's own check begins; its id follows."""


@dataclass(frozen=True, slots=True)
class Check:
    """`hint` says what to do; "" where there is nothing to do."""

    status: HealthStatus
    message: str
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        return {"status": self.status, "message": self.message, "hint": self.hint}


@dataclass(frozen=True, slots=True)
class Health:
    """The checks by name, and the worst status among them."""

    checks: dict[str, Check]

    @property
    def status(self) -> HealthStatus:
        return worst(check.status for check in self.checks.values())

    def as_json(self) -> dict[str, Any]:
        """The document of `health --json` and GET /health."""
        return {
            "status": self.status,
            "checks": {name: check.as_json() for name, check in self.checks.items()},
        }


def put_back(job_file: str) -> str:
    """What to do where the job file is gone."""
    return f"put it back (an older one may be beside it as {job_file}.bak), or name it with --file PATH"


def worst(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """`pass` for none."""
    return max(statuses, key=RANK.__getitem__, default="pass")
