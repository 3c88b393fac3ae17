"""Log lines behind a thread."""

import logging
import threading

from pipesched.daemon.loglines import PatientLogging


class Slow(logging.Handler):
    """A reader that takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.go.wait(10)
        self.lines.append(record.getMessage())


def logger_with(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("test")  # noqa: LOG001  its own, known to nobody else
    logger.addHandler(handler)
    return logger


def test_all_lines_are_written_in_order_before_it_ends():
    slow = Slow()
    slow.go.set()
    logger = logger_with(slow)
    with PatientLogging(logger) as lines:
        for number in range(100):
            logger.info("line %d", number)

    assert slow.lines == [f"line {number}" for number in range(100)]
    assert (lines.dropped, lines.stuck) == (0, False)
    assert logger.handlers == [slow]


def test_who_logs_never_waits_and_what_is_too_much_is_dropped_and_said():
    slow = Slow()
    logger = logger_with(slow)
    with PatientLogging(logger, length=10) as lines:
        for _ in range(100):
            logger.info("x")
        slow.go.set()

    assert lines.dropped in {89, 90}  # the thread may have taken one already
    *written, last = slow.lines
    assert len(written) == 100 - lines.dropped
    assert last.startswith(f"{lines.dropped} log lines were dropped")


def test_a_level_of_a_handler_holds():
    slow = Slow()
    slow.go.set()
    slow.setLevel(logging.WARNING)
    logger = logger_with(slow)
    with PatientLogging(logger):
        logger.info("no")
        logger.warning("yes")

    assert slow.lines == ["yes"]
