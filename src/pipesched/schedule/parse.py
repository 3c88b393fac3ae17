"""From what people write to schedules; whatever can never fire is refused here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from pipesched.errors import InvalidValue
from pipesched.schedule.cron import CronSchedule
from pipesched.schedule.fields import LONGEST, REBOOT, split
from pipesched.schedule.interval import IntervalSchedule, OnceSchedule, StartSchedule
from pipesched.schedule.model import Schedule
from pipesched.schedule.timetext import format_duration
from pipesched.schedule.wall import wall_times
from pipesched.schedule.zones import zone_table

SHORTEST_INTERVAL: Final = 1.0
LONGEST_INTERVAL: Final = 36_525 * 86_400.0


def cron(expression: str, *, zone: str, job_id: str) -> Schedule:
    """The schedule of a cron expression or macro in the IANA zone `zone`; `job_id` decides what `H` is.

    Raises InvalidValue with the reason, also for a date that never comes.
    """
    table = zone_table(zone)
    text = " ".join(expression.split()) if len(expression) <= LONGEST else expression
    if text.lower() == REBOOT:
        return StartSchedule()
    fields = split(expression, job_id=job_id)
    walls = wall_times(fields.fields, both_days=fields.both_days)
    if not walls.days.exists():
        raise InvalidValue(
            f"the cron expression {text!r} never fires: no year has such a day",
            hint="look at the day of month and the month: February has 29 days at most, four months have 30",
        )
    return CronSchedule(text, fields, walls, table)


def interval(seconds: float, anchor: datetime) -> Schedule:
    """Every `seconds` of elapsed time on the grid that contains `anchor` (aware). Raises InvalidValue."""
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:  # NaN is neither
        raise InvalidValue(
            f"an interval of {seconds:g} seconds cannot be used",
            hint=f"it must be from {format_duration(SHORTEST_INTERVAL)} to a hundred years",
        )
    return IntervalSchedule(timedelta(seconds=seconds), anchor)


def once(at: datetime) -> Schedule:
    """Due at `at` (aware), once."""
    return OnceSchedule(at)


def cron_from_parts(hour: str | None, minute: str | None, day_of_week: str | None) -> str:
    """The expression for `--hour --minute --day-of-week`: an hour alone means minute 0, a minute alone every hour.

    A day of week alone means its midnight. Each is a cron field. Raises InvalidValue.
    """
    if hour is None and minute is None and day_of_week is None:
        raise InvalidValue(
            "no schedule is given",
            hint='give an expression, such as "0 2 * * *", or --hour, --minute, --day-of-week',
        )
    parts = {"--hour": hour, "--minute": minute, "--day-of-week": day_of_week}
    for flag, part in parts.items():
        if part is not None and (not part.strip() or len(part.split()) != 1):
            raise InvalidValue(
                f"{flag}: {part!r} is not one cron field", hint="such as 2, 9-17, */15 or mon-fri"
            )
    if minute is None:
        minute = "0"
    if hour is None:
        hour = "*" if parts["--minute"] is not None else "0"
    expression = f"{minute.strip()} {hour.strip()} * * {(day_of_week or '*').strip()}"
    cron(expression, zone="UTC", job_id="")
    return expression
