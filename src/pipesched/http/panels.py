"""The page's panels: jobs, health, errors, reports, runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipesched.http.elements import bars, cell, moment, report_link, report_path, section, status, sub, table
from pipesched.http.markup import Markup, foreign, join, tag, text
from pipesched.runs.model import Run
from pipesched.schedule.zones import load_zone
from pipesched.views.ages import ago, span, took
from pipesched.views.health import Check, Health
from pipesched.views.snapshot import JobView, Snapshot
from pipesched.views.status import sync_counts

MAX_JOBS: Final = 200
MAX_CHECKS: Final = 60
MAX_ERRORS: Final = 4
WELL: Final = Check("pass", "")
_ORDER: Final = {"fail": 0, "warn": 1, "pass": 2}


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

    def clock(self, time: datetime) -> Markup:
        """`time` as its reader's clock shows it."""
        return moment(self.local(time), self.local(self.snapshot.now))


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
            cell("When", "" if began is None else join((ago(began, now), sub(facts.clock(began))))),
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
