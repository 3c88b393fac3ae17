"""A run that can start at once does so in the turn that claims it."""

from datetime import datetime, timedelta
from pathlib import Path

from support.scheduling import Daemon, job


def test_a_claim_that_may_start_is_started_in_the_same_turn_though_the_clock_goes_on_meanwhile(
    tmp_path: Path,
) -> None:
    """Claimed and marked as started together: one sync of the disk before the process, and not two."""
    daemon = Daemon(tmp_path)
    read = daemon.clock.now

    def now() -> datetime:
        daemon.clock.wall += timedelta(microseconds=7)
        return read()

    daemon.clock.now = now  # type: ignore[method-assign]
    daemon.jobs(job("a", every=60))
    daemon.clock.pass_time(60)
    daemon.scheduler.step()
    (launch,) = daemon.launched
    assert daemon.run(launch).status == "running"
