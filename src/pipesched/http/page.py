"""The page for people: one HTML document without outside parts, scripts or trust in what it shows."""

from __future__ import annotations

import hashlib
import math
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pipesched import __version__
from pipesched.http.markup import Markup, foreign, join, tag, text
from pipesched.http.messages import Response
from pipesched.runs.model import EXECUTED, FAILED, Run
from pipesched.schedule.zones import load_zone
from pipesched.views.ages import ago, span, took
from pipesched.views.health import Check, Health
from pipesched.views.snapshot import JobView, Snapshot
from pipesched.views.status import is_active, sync_counts

REFRESH_SECONDS: Final = 15
MAX_JOBS: Final = 200
MAX_CHECKS: Final = 60
MAX_ERRORS: Final = 4
NONE: Final = "\u2013"
WELL: Final = Check("pass", "")
_ORDER: Final = {"fail": 0, "warn": 1, "pass": 2}
_DOT: Final = {"pass": "1a7f4b", "warn": "d99a1c", "fail": "c5352c"}
_SIGN: Final = {
    "pass": Markup('<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M4 10.5l4 4 8-9"/></svg>'),
    "warn": Markup('<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M10 4v7M10 15.6v.1"/></svg>'),
    "fail": Markup('<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M5 5l10 10M15 5L5 15"/></svg>'),
}
_TITLE: Final = {"pass": "All is well", "warn": "Works, but needs a look", "fail": "Something is wrong"}


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What the page shows. `jobs`: those that are listed; `past`: the newest finished runs of each, newest first.

    `recent`: the newest runs; `errors`: the newest failed ones; `reports`: as listed by runs.reports. `local` puts a time into
    the zone that the page is read in.
    """

    snapshot: Snapshot
    health: Health
    jobs: Sequence[JobView]
    past: Mapping[str, Sequence[Run]]
    recent: Sequence[Run]
    errors: Sequence[Run]
    reports: Sequence[Mapping[str, Any]]
    local: Callable[[datetime], datetime] = datetime.astimezone


def page(facts: PageFacts) -> Response:
    """The document, with a policy that lets nothing but its own style in."""
    style, digest = stylesheet()
    body = join(
        (
            top(facts),
            tag(
                "main",
                verdict(facts),
                tiles(facts),
                jobs(facts),
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
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{text(_TITLE[status])} · pipesched</title>\n<link rel="icon" href="{text(icon)}">\n'
        f"<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Response(
        HTTPStatus.OK,
        document.encode("utf-8"),
        content_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": policy},
    )


@cache
def stylesheet() -> tuple[str, str]:
    """The style, and its hash for the policy."""
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    return style, b64encode(hashlib.sha256(style.encode()).digest()).decode()


def top(facts: PageFacts) -> Markup:
    shot = facts.snapshot
    return tag(
        "header",
        tag("h1", "pipesched"),
        tag("span", foreign(shot.paths.job_file), class_="where"),
        tag("span", "as of ", clock(shot.now, facts), class_="asof"),
        class_="top",
    )


def verdict(facts: PageFacts) -> Markup:
    """The one sentence that a glance should give."""
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
        who = f"{name[4:]}: " if name.startswith("job:") else ""
        message = join((foreign(who + check.message), more))
    else:
        message = foreign(f"Scheduler {facts.health.checks.get('scheduler', WELL).message}.")
    return tag(
        "div",
        tag("span", _SIGN[status], class_="sign"),
        tag("div", tag("strong", _TITLE[status]), tag("p", message)),
        class_=f"verdict {status}",
        role="status",
    )


def tiles(facts: PageFacts) -> Markup:
    counters, shot = facts.snapshot.counters, facts.snapshot
    due = min((view.next.at for view in shot.jobs.values() if view.next is not None), default=None)
    rate = NONE if counters.success_rate is None else f"{counters.success_rate:.0%}"
    active = sum(is_active(view) for view in shot.jobs.values())
    last = "" if counters.last_execution is None else f" {ago(counters.last_execution, shot.now)}"

    def tile(label: str, value: object, note: str = "", *, bad: bool = False) -> Markup:
        small = tag("small", f" {note}") if note else ""
        return tag("div", tag("dt", label), tag("dd", value, small, class_="bad" if bad else None))

    return tag(
        "dl",
        tile("Next run", NONE if due is None else ago(due, shot.now)),
        tile("Active jobs", f"{active:,}", f"of {len(shot.jobs):,}"),
        tile("Runs done", f"{counters.executed:,}", last),
        tile("Failed", f"{counters.failed:,}"),
        tile("Missed", f"{counters.missed:,}", f"{counters.skipped:,} skipped"),
        tile("Success, last 20", rate, bad=(counters.success_rate or 1) < 0.5),
        class_="tiles",
    )


def listed_jobs(snapshot: Snapshot, health: Health) -> list[JobView]:
    """The jobs that the page lists: those that are not well, then those that are due soonest."""
    far = datetime.max.replace(tzinfo=snapshot.now.tzinfo)

    def rank(view: JobView) -> tuple[int, datetime, str]:
        check = health.checks.get(f"job:{view.job.id}")
        worry = 2 if check is None else _ORDER[check.status]
        return worry, far if view.next is None else view.next.at, view.job.id

    return sorted(snapshot.jobs.values(), key=rank)[:MAX_JOBS]


def jobs(facts: PageFacts) -> Markup:
    total = len(facts.snapshot.jobs)
    if not total:
        return section("Jobs", tag("p", "There are none yet: ", tag("code", "pipesched init")))
    cut = f"{len(facts.jobs):,} of {total:,}: the worst, then the next" if len(facts.jobs) < total else ""
    return section(
        "Jobs",
        table(
            ("Job", "Next run", "Last run", "Runs", "Fresh", "Documents"),
            (job_row(view, facts) for view in facts.jobs),
            numeric={"Documents"},
            kind="jobs",
        ),
        note=cut,
    )


def job_row(view: JobView, facts: PageFacts) -> Markup:
    now = facts.snapshot.now
    last = view.summary.last_run
    subtitle = view.timed.schedule.text + (f" \u00b7 {view.job.timezone}" if view.job.kind == "cron" else "")
    check = facts.health.checks.get(f"job:{view.job.id}", WELL)
    worry = (
        "" if check.status == "pass" else tag("span", foreign(check.message), class_=f"worry {check.status}")
    )
    result: object = ""
    if last is not None:
        began = "" if last.started_at is None else ago(last.started_at, now)
        details = " \u00b7 ".join(part for part in (began, took(last.duration_seconds)) if part)
        result = join((report_link(last, status(last.status)), sub(details)))
    synced = None if view.summary.last_sync is None else view.summary.last_sync.finished_at
    documents, chunks = sync_counts(view)
    return tag(
        "tr",
        cell(
            "",
            tag("span", foreign(view.job.name or view.job.id), class_="name"),
            sub(foreign(subtitle)),
            worry,
        ),
        cell("Next run", next_run(view, now)),
        cell("Last run", result),
        cell("Runs", bars(facts.past.get(view.job.id, ()))),
        cell("Fresh", freshness(synced, last, now)),
        cell(
            "Documents",
            "" if documents is None else f"{documents:,}",
            "" if chunks is None else sub(f"{chunks:,} chunks"),
            numeric=True,
        ),
        class_="off" if view.state in {"paused", "done"} else None,
    )


def next_run(view: JobView, now: datetime) -> Markup:
    if view.next is None:
        return tag("span", "at start" if view.state == "scheduled" else view.state, class_="tag")
    due = view.next.at.astimezone(load_zone(view.job.timezone))
    return join((ago(view.next.at, now), sub(moment(due, now))))


def freshness(synced: datetime | None, last: Run | None, now: datetime) -> str:
    if synced is not None:
        return f"{span(now - synced)} old"
    return "dry runs only" if last is not None and last.dry_run else ""


def bars(past: Sequence[Run]) -> Markup:
    """The last runs, oldest first: the colour is how one ended, the height how long it took (square root, of the longest)."""
    if not past:
        return Markup("")
    longest = max(run.duration_seconds or 0 for run in past) or 1
    drawn = []
    for place, run in enumerate(reversed(past)):
        height = 4 + round(18 * math.sqrt((run.duration_seconds or 0) / longest))
        drawn.append(tag("rect", x=place * 6, y=22 - height, width=4, height=height, rx=1, class_=run.status))
    counts = Counter(run.status for run in past)
    words = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return tag(
        "svg",
        tag("title", f"the last {len(past)}: {words}"),
        *drawn,
        class_="bars",
        role="img",
        width=len(past) * 6,
        height=22,
        viewBox=f"0 0 {len(past) * 6} 22",
    )


def checks(facts: PageFacts) -> Markup:
    """Those that are not well first. Jobs that are well have said so above."""
    shown = {
        name: check
        for name, check in facts.health.checks.items()
        if check.status != "pass" or not name.startswith("job:")
    }
    ranked = sorted(shown.items(), key=lambda item: _ORDER[item[1].status])

    def item(name: str, check: Check) -> Markup:
        hint = tag("span", foreign(check.hint), class_="hint") if check.hint else ""
        title = name[4:] if name.startswith("job:") else name.replace("_", " ")
        return tag(
            "li",
            tag("span", check.status, class_=f"tag {check.status}"),
            tag("span", tag("b", foreign(title)), " ", foreign(check.message)),
            hint,
        )

    listed = ranked[:MAX_CHECKS]
    note = f"{len(listed)} of {len(ranked)}" if len(listed) < len(ranked) else ""
    return section(
        "Health", tag("ul", join(item(name, check) for name, check in listed), class_="checks"), note=note
    )


def runs(facts: PageFacts) -> Markup:
    now = facts.snapshot.now
    if not facts.recent:
        return section("Recent runs", tag("p", "Nothing has run yet."))

    def row(run: Run) -> Markup:
        began = run.started_at or run.until or run.scheduled_for or run.queued_at
        count = sub(f"{run.count:,} times") if run.count > 1 else ""
        return tag(
            "tr",
            cell("When", "" if began is None else join((ago(began, now), sub(clock(began, facts))))),
            cell("Job", foreign(run.job_id or "by hand"), sub(cause(run))),
            cell("Result", report_link(run, status(run.status)), count),
            cell("Took", took(run.duration_seconds), numeric=True),
            tag("td", foreign(run.reason), class_="message"),
        )

    return section(
        "Recent runs",
        table(("When", "Job", "Result", "Took", "Why"), map(row, facts.recent), numeric={"Took"}),
    )


def cause(run: Run) -> str:
    words = run.trigger.replace("_", " ")
    attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
    return words + attempt + (", dry run" if run.dry_run else "")


def errors(facts: PageFacts) -> Markup:
    """The newest failures; those of one job for one reason are told once."""
    if not facts.errors:
        return section("Last errors", tag("p", "None."))
    now = facts.snapshot.now
    grouped: dict[tuple[str | None, str], list[Run]] = {}
    for run in facts.errors:
        grouped.setdefault((run.job_id, run.reason), []).append(run)

    def item(group: Sequence[Run]) -> Markup:
        run = group[0]
        ended = "" if run.finished_at is None else f" {ago(run.finished_at, now)}"
        times = f", {len(group)} times" if len(group) > 1 else ""
        command = tag("code", f"pipesched logs {run.job_id or run.run_id}")
        return tag(
            "li",
            foreign(run.reason or run.status),
            sub(foreign(run.job_id or "by hand"), f" \u00b7 {run.status}{ended}{times}"),
            sub(command),
        )

    listed = list(grouped.values())[:MAX_ERRORS]
    return section("Last errors", tag("ul", join(map(item, listed)), class_="plain"))


def reports(facts: PageFacts) -> Markup:
    if not facts.reports:
        return section("Reports", tag("p", "None yet."))

    def item(report: Mapping[str, Any]) -> Markup:
        filename = str(report["filename"])
        shown = foreign(report.get("message") or filename)
        link = tag("a", shown, href=report_path(filename), class_="line")
        who = foreign(report.get("job_id") or "by hand")
        return tag("li", link, sub(who, " \u00b7 ", when(report.get("timestamp"), facts)))

    return section("Reports", tag("ul", join(map(item, facts.reports)), class_="plain"), note="as JSON")


def when(timestamp: object, facts: PageFacts) -> Markup:
    try:
        time = datetime.fromisoformat(str(timestamp))
    except ValueError:
        return foreign(timestamp)
    return foreign(timestamp) if time.tzinfo is None else text(ago(time, facts.snapshot.now))


def bottom() -> Markup:
    paths = ("/health", "/scheduler/status", "/scheduler/jobs", "/pipeline/reports", "/metrics")
    links = join((tag("a", path, href=path) for path in paths), " ")
    return tag("footer", links, tag("span", f"pipesched {__version__}", class_="version"))


def section(title: str, *content: object, note: str = "") -> Markup:
    return tag("section", tag("h2", title, tag("small", note) if note else ""), *content)


def table(
    columns: Sequence[str], rows: Iterable[Markup], *, numeric: set[str], kind: str | None = None
) -> Markup:
    heads = join(tag("th", name, scope="col", class_="num" if name in numeric else None) for name in columns)
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", join(rows)), class_=kind)


def cell(label: str, *content: object, numeric: bool = False) -> Markup:
    inside = join(content)
    if not inside:
        return Markup("<td></td>")
    return tag("td", tag("div", inside), data_label=label or None, class_="num" if numeric else None)


def sub(*content: object) -> Markup:
    return tag("span", *content, class_="sub")


def status(state: str) -> Markup:
    return tag("span", state, class_=f"tag {state}")


def report_link(run: Run, shown: Markup) -> Markup:
    """A link to the run's report, where a run of its state has one."""
    if run.status not in EXECUTED | FAILED or run.started_at is None:
        return shown
    return tag("a", shown, href=report_path(run.run_id))


def report_path(name: str) -> str:
    return "/pipeline/reports/" + quote(name, safe="")


def clock(time: datetime, facts: PageFacts) -> Markup:
    return moment(facts.local(time), facts.local(facts.snapshot.now))


def moment(time: datetime, now: datetime) -> Markup:
    """`14:05`, `Tue 14:05` within a week, else with the date; in the zone that `time` is in."""
    today = now.astimezone(time.tzinfo).date()
    days = abs((time.date() - today).days)
    shown = (
        f"{time:%H:%M %Z}"
        if days == 0
        else f"{time:%a %H:%M %Z}"
        if days < 7
        else f"{time:%Y-%m-%d %H:%M %Z}"
    )
    return tag("time", shown, datetime=time.isoformat(timespec="seconds"))
