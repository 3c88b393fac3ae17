"""The trigger options of `add-cron`, `add-interval` and `add-once`, each written once; `edit` takes them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipesched.jobs.triggers import TriggerOptions


def _option(*flags: str, help: str, metavar: str) -> Any:
    return typer.Option(*flags, help=help, metavar=metavar, rich_help_panel="Schedule", show_default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronFlags:
    hour: Annotated[
        str | None, _option("--hour", help="The hour field; alone: at minute 0.", metavar="FIELD")
    ] = None
    minute: Annotated[
        str | None, _option("--minute", help="The minute field; alone: every hour.", metavar="FIELD")
    ] = None
    day_of_week: Annotated[
        str | None,
        _option("--day-of-week", help="The weekday field: 0 and 7 are Sunday, or mon-fri.", metavar="FIELD"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalFlags:
    days: Annotated[float | None, _option("--days", help="Added up with the others.", metavar="N")] = None
    hours: Annotated[float | None, _option("--hours", help="Added up with the others.", metavar="N")] = None
    minutes: Annotated[float | None, _option("--minutes", help="Added up with the others.", metavar="N")] = (
        None
    )
    seconds: Annotated[float | None, _option("--seconds", help="Added up with the others.", metavar="N")] = (
        None
    )
    every: Annotated[
        str | None, _option("--every", help="The interval as one text, such as 90m.", metavar="DURATION")
    ] = None
    anchor: Annotated[
        str | None,
        _option("--anchor", help="A time that the grid of fires goes through [now].", metavar="TIME"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceFlags:
    at: Annotated[str | None, _option("--at", help="When, such as 2027-01-31 09:00.", metavar="TIME")] = None
    if_past: Annotated[
        str | None,
        _option("--if-past", help="What to do when that time has passed [refuse].", metavar="refuse|run"),
    ] = None


def trigger_options(
    *flags: CronFlags | IntervalFlags | OnceFlags, expression: str | None = None
) -> TriggerOptions:
    """All of them as one value."""
    from dataclasses import asdict

    from pipesched.jobs.triggers import TriggerOptions

    given: dict[str, Any] = {"expression": expression}
    for group in flags:
        given |= asdict(group)
    return TriggerOptions(**given)
