"""What the tests of this folder share."""

import logging
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture
def plain_logging() -> Iterator[None]:
    """Put pipesched's logger back as it was, handlers, level and all, and what else lines are made of."""
    logger = logging.getLogger("pipesched")
    before = (logger.handlers[:], logger.level, logger.propagate)
    last_resort, excepthook = logging.lastResort, threading.excepthook
    yield
    logging.captureWarnings(False)
    logging.getLogger("py.warnings").handlers.clear()
    logging.lastResort, threading.excepthook = last_resort, excepthook
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
