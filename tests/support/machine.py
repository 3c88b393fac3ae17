"""What a test needs of the machine: a Debian package's program, or a skip that says which."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of `name`; without it the test is skipped, or fails where all packages are promised (.ci/run)."""
    path = shutil.which(name)
    if path is None:
        reason = f"needs {name}, from the Debian package {package}"
        if os.environ.get("PIPESCHED_TESTS_REQUIRE_PACKAGES"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def bound_by_permissions() -> list[str]:
    """What to put before a command so that permission bits hold for it, for root too."""
    if os.geteuid():
        return []
    return [program("setpriv", "util-linux"), "--bounding-set=-dac_override,-dac_read_search"]
