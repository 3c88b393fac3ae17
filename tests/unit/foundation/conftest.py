"""What the tests of this folder share."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def plain_logging() -> Iterator[None]:
    """Put pipesched's logger back as it was, handlers, level and all."""
    logger = logging.getLogger("pipesched")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
