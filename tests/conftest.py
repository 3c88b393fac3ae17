"""Settings for every test: hypothesis profiles, a fixed zone."""

import os

import hypothesis
import pytest

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile(
    "ci",
    deadline=None,
    max_examples=100,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer has set in the shell must not steer a test."""
    for name in list(os.environ):
        if name.startswith("PIPESCHED_") and name != "PIPESCHED_TESTS_REQUIRE_PACKAGES":
            monkeypatch.delenv(name)
    for name in ("LOG_LEVEL", "OLLAMA_HOST", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
