"""The page for people: one HTML document without outside parts, scripts or trust in what it shows."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from pipesched import __version__
from pipesched.http.markup import Markup, foreign, join, tag, text
from pipesched.http.messages import Response
from pipesched.http.panels import WELL, PageFacts, checks, collections, day, errors, jobs, reports, runs
from pipesched.views.ages import ago
from pipesched.views.checks import JOB_CHECK
from pipesched.views.health import RATE
from pipesched.views.snapshot import JobView
from pipesched.views.status import is_active, next_fires

REFRESH_SECONDS: Final = 15
STILL: Final = "/?refresh=off"
NONE: Final = "\u2013"
_DOT: Final = {"pass": "1a7f4b", "warn": "d99a1c", "fail": "c5352c"}
_SIGN: Final = {
    "pass": Markup('<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M4 10.5l4 4 8-9"/></svg>'),
    "warn": Markup('<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M10 4v7M10 15.6v.1"/></svg>'),
    "fail": Markup('<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M5 5l10 10M15 5L5 15"/></svg>'),
}
_TITLE: Final = {"pass": "All is well", "warn": "Works, but needs a look", "fail": "Something is wrong"}


def page(facts: PageFacts, *, refreshing: bool = True) -> Response:
    """The document, with a policy that lets nothing but its own style in.

    `refreshing`: it is loaded again every REFRESH_SECONDS, which whoever reads slowly, or hears it, can turn off.
    """
    style, digest = stylesheet()
    body = join(
        (
            top(facts, refreshing=refreshing),
            tag(
                "main",
                verdict(facts),
                tiles(facts),
                day(facts),
                jobs(facts),
                collections(facts),
                tag("div", checks(facts), tag("div", errors(facts), reports(facts)), class_="two"),
                runs(facts),
            ),
            bottom(),
        )
    )
    status = facts.health.status
    icon = (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
        f"%3Ccircle cx='8' cy='8' r='7' fill='%23{_DOT[status]}'/%3E%3C/svg%3E"
    )
    document = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{text(_TITLE[status])} · pipesched</title>\n<link rel="icon" href="{text(icon)}">\n'
        f"<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy}
    if refreshing:
        headers["Refresh"] = str(REFRESH_SECONDS)
    return Response(
        HTTPStatus.OK, document.encode("utf-8"), content_type="text/html; charset=utf-8", headers=headers
    )


@cache
def stylesheet() -> tuple[str, str]:
    """The style, and its hash for the policy."""
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    return style, b64encode(hashlib.sha256(style.encode()).digest()).decode()


def top(facts: PageFacts, *, refreshing: bool) -> Markup:
    shot = facts.snapshot
    how = f"refreshed every {REFRESH_SECONDS} s" if refreshing else "not refreshed"
    other = tag("a", "stop", href=STILL) if refreshing else tag("a", "refresh", href="/")
    return tag(
        "header",
        tag("h1", "pipesched"),
        tag("span", foreign(shot.paths.job_file), class_="where"),
        tag("span", "as of ", facts.clock(shot.now), f", {how} \u00b7 ", other, class_="asof"),
        class_="top",
    )


def verdict(facts: PageFacts) -> Markup:
    """The one sentence that a glance should give, and what to do."""
    status = facts.health.status
    # The sum over the jobs says less than the job that made it.
    bad = [
        (name, check)
        for name, check in facts.health.checks.items()
        if check.status == status != "pass" and name != "jobs"
    ]
    if bad:
        name, check = bad[0]
        more = f" (and {len(bad) - 1} more, below)" if len(bad) > 1 else ""
        who = f"{name.removeprefix(JOB_CHECK)}: " if name.startswith(JOB_CHECK) else ""
        hint = tag("p", foreign(check.hint), class_="hint") if check.hint else ""
        message = join((foreign(who + check.message), more))
    else:
        hint = ""
        message = foreign(f"Scheduler {facts.health.checks.get('scheduler', WELL).message}.")
    return tag(
        "div",
        tag("span", _SIGN[status], class_="sign"),
        tag("div", tag("strong", _TITLE[status]), tag("p", message), hint),
        class_=f"verdict {status}",
        role="status",
    )


def tiles(facts: PageFacts) -> Markup:
    counters, shot = facts.snapshot.counters, facts.snapshot
    due = next(iter(next_fires(shot, 1)), None)
    share = counters.success_rate
    rate = NONE if share is None else f"{share:.0%}"
    active = sum(is_active(view) for view in shot.jobs.values())
    last = "" if counters.last_execution is None else ago(counters.last_execution, shot.now)

    def tile(label: str, value: object, note: str = "", *, bad: bool = False) -> Markup:
        small = note if isinstance(note, Markup) else tag("small", f" {note}") if note else ""
        return tag("div", tag("dt", label), tag("dd", value, small, class_="bad" if bad else None))

    return tag(
        "dl",
        tile("Next run", *countdown(due, shot.now)),
        tile("Active jobs", f"{active:,}", f"of {len(shot.jobs):,}"),
        tile("Runs done", f"{counters.executed:,}", last),
        tile("Failed", f"{counters.failed:,}"),
        tile("Missed", f"{counters.missed:,}", f"{counters.skipped:,} skipped"),
        tile("Success, last 20", rate, bad=share is not None and share < RATE),
        class_="tiles",
    )


def countdown(due: JobView | None, now: datetime) -> tuple[str, Markup]:
    """How long until the next run, and whose it is."""
    if due is None or due.next is None:
        return NONE, Markup("")
    return ago(due.next.at, now), tag("small", foreign(due.job.name or due.job.id), class_="of")


def bottom() -> Markup:
    paths = ("/health", "/scheduler/status", "/scheduler/jobs", "/pipeline/reports", "/metrics")
    links = join((tag("a", path, href=path) for path in paths), " ")
    return tag("footer", links, tag("span", f"pipesched {__version__}", class_="version"))
