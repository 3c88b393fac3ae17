"""Print constraints.txt: the exact versions of what pipesched needs, as installed here; no URLs, no hosts.

Run it in a virtual environment in which all tests pass: .venv/bin/python scripts/constraints.py > constraints.txt
"""

import re
from importlib import metadata

from packaging.requirements import Requirement

HEADER = "# What pipesched is tested with; made by scripts/constraints.py in a virtual environment in which all tests passed."


def closure(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> None:
    """Add `name` and all it needs on this platform, by name, to `seen`."""
    key = (re.sub(r"[-_.]+", "-", name).lower(), extras)
    if key in seen:
        return
    try:
        requires = metadata.distribution(name).requires or []
    except metadata.PackageNotFoundError:
        return  # an optional part that is not installed
    seen.add(key)
    for requirement in map(Requirement, requires):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            closure(requirement.name, frozenset(requirement.extras), seen)


if __name__ == "__main__":
    found: set[tuple[str, frozenset[str]]] = set()
    closure("pipesched", frozenset({"dev", "docs", "notify"}), found)
    print(HEADER)
    for name in sorted({name for name, _ in found} - {"pipesched"}):
        print(f"{name}=={metadata.version(name)}")
