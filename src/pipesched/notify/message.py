"""PURE: the words of a notification, made for somebody who is woken by it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final, Literal

from pipesched.notify.decision import Kind, News
from pipesched.views.ages import ago

Urgency = Literal["info", "success", "warning", "failure"]
URGENCY: Final[dict[Kind, Urgency]] = {
    "failure": "failure",
    "paused": "failure",
    "late": "warning",
    "missed": "warning",
    "recovery": "success",
}
_BY_WEIGHT: Final[tuple[Urgency, ...]] = ("success", "warning", "failure")
MOST_ALONE: Final = 3
"""More news than this for one target, at one time, are one message."""
LISTED: Final = 50
_LENGTH: Final = 600


@dataclass(frozen=True, slots=True)
class Message:
    """`jobs`: the ids of the jobs that it is about."""

    title: str
    body: str
    urgency: Urgency
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is told besides the news. `command`: the pipesched command line up to the command; `hint`: of the last error."""

    host: str
    command: tuple[str, ...]
    zone: tzinfo
    schedule: str = ""
    next_at: datetime | None = None
    hint: str = ""


def compose(news: News, around: Surroundings, now: datetime) -> Message:
    """One message about one thing: job, what, since when, the last error with its hint, what to run."""
    lines = [f"Job {news.job_id} on {around.host} {news.what}."]
    if around.schedule:
        lines.append(f"Schedule: {around.schedule}")
    if news.since is not None:
        label = {"late": "Last success", "recovery": "Was wrong since"}.get(news.kind, "Since")
        lines.append(f"{label}: {_time(news.since, around.zone)} ({ago(news.since, now)})")
    if news.run is not None and news.kind in {"failure", "paused", "late"} and news.run.reason:
        lines.append(f"Last error: {_short(news.run.reason)}")
        if around.hint:
            lines.append(f"Hint: {_short(around.hint)}")
    if news.kind == "recovery" and news.run is not None and news.run.status == "partial" and news.run.reason:
        lines.append(f"The run was partial: {_short(news.run.reason)}")
    if around.next_at is not None:
        lines.append(f"Next run: {_time(around.next_at, around.zone)}")
    lines += [f"Run: {command}" for command in commands(news, around.command)]
    return Message(f"{news.job_id} {_TITLE[news.kind]}", "\n".join(lines), URGENCY[news.kind], (news.job_id,))


_TITLE: Final[dict[Kind, str]] = {
    "failure": "failed",
    "recovery": "recovered",
    "late": "is late",
    "missed": "missed runs",
    "paused": "is paused after failures",
}


def commands(news: News, base: Sequence[str]) -> list[str]:
    """What to type, as a shell takes it."""
    job = news.job_id
    match news.kind:
        case "failure":
            words = [["logs", job]]
            if news.run is not None:  # the output of one by hand went to its terminal
                words = [["report" if news.run.trigger == "manual" else "logs", news.run.run_id]]
        case "paused":
            words = [["logs", job], ["resume", job]]
        case "late":
            words = [["health"], ["history", job]]
        case "missed":
            words = [["history", job], ["run", job]]
        case "recovery":
            words = [["history", job]]
    return [shlex.join([*base, *each]) for each in words]


def digest(news: Sequence[News], host: str, base: Sequence[str]) -> Message:
    """Many news at one time as one message, so that a store that is down is not a hundred of them."""
    bad = [each for each in news if each.kind != "recovery"]
    good = [each for each in news if each.kind == "recovery"]
    jobs = tuple(dict.fromkeys(each.job_id for each in news))
    bad_jobs = len({each.job_id for each in bad})
    if bad:
        title = f"{bad_jobs} jobs are not well" if bad_jobs > 1 else f"{bad[0].job_id} is not well"
    else:
        title = f"{len(jobs)} jobs recovered"
    lines = [f"On {host}:"]
    for each in [*bad, *good][:LISTED]:
        why = f": {_short(each.run.reason, 120)}" if each.run is not None and each.kind == "failure" else ""
        lines.append(f"- {each.job_id} {each.what}{why}")
    if len(news) > LISTED:
        lines.append(f"and {len(news) - LISTED} more.")
    lines.append(f"Run: {shlex.join([*base, 'health'])}")
    urgency = max((URGENCY[each.kind] for each in news), key=_BY_WEIGHT.index)
    return Message(title, "\n".join(lines), urgency, jobs)


def trial_message(host: str) -> Message:
    return Message(
        "pipesched: a test",
        f"This is a test from pipesched on {host}. Real ones say which job failed, since when, and what to run.",
        "info",
    )


def _time(time: datetime, zone: tzinfo) -> str:
    return f"{time.astimezone(zone):%a %Y-%m-%d %H:%M %Z}"


def _short(text: str, length: int = _LENGTH) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= length else one_line[: length - 3] + "..."
