"""The page's panels: jobs, collections, health, errors, reports, runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipesched.http.elements import (
    bars,
    cell,
    log_path,
    moment,
    report_path,
    section,
    status,
    sub,
    table,
)
from pipesched.http.markup import Markup, foreign, join, tag, text
from pipesched.http.timeline import Lane, Window, timeline
from pipesched.runs.model import Run
from pipesched.schedule.zones import load_zone
from pipesched.views.ages import ago, span, took
from pipesched.views.checks import JOB_CHECK, RANK, Check, Health
from pipesched.views.indexes import CollectionView
from pipesched.views.snapshot import JobView, Snapshot
from pipesched.views.status import sync_counts

MAX_JOBS: Final = 200
MAX_CHECKS: Final = 60
MAX_COLLECTIONS: Final = 20
MAX_ERRORS: Final = 4
WELL: Final = Check("pass", "")


@dataclass(frozen=True, slots=True)
class Failure:
    """One cause and all the times it struck among the newest failures; `run` is the newest of them."""

    run: Run
    times: int
    hint: str


def grouped(errors: Sequence[Run], hint: Callable[[Run], str]) -> list[Failure]:
    """The failures of one job for one reason are one; the newest MAX_ERRORS. `errors`: newest first."""
    groups: dict[tuple[str | None, str], list[Run]] = {}
    for run in errors:
        groups.setdefault((run.job_id, run.reason), []).append(run)
    return [Failure(group[0], len(group), hint(group[0])) for group in list(groups.values())[:MAX_ERRORS]]


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What the page shows. `jobs`: those that are listed; `past`: the newest finished runs of each, newest first.

    `lanes`: of the timeline. `recent`: the newest runs; `failures`: the newest failed ones, by job and reason, with the
    hint that the run gave; `logged`, `reported`: run ids whose output and report are kept; `reports`: as runs.reports lists them. `local` puts a
    time into the zone that the page is read in.
    """

    snapshot: Snapshot
    health: Health
    jobs: Sequence[JobView]
    past: Mapping[str, Sequence[Run]]
    lanes: Sequence[Lane]
    recent: Sequence[Run]
    failures: Sequence[Failure]
    logged: frozenset[str]
    reported: frozenset[str]
    reports: Sequence[Mapping[str, Any]]
    local: Callable[[datetime], datetime] = datetime.astimezone

    def clock(self, time: datetime) -> Markup:
        """`time` as its reader's clock shows it."""
        return moment(self.local(time), self.local(self.snapshot.now))

    def to_report(self, run: Run, shown: Markup) -> Markup:
        """A link to the run's report, where that is kept."""
        return tag("a", shown, href=report_path(run.run_id)) if run.run_id in self.reported else shown

    def log_of(self, run: Run) -> Markup:
        """A link to the run's output, where that is kept."""
        if run.run_id not in self.logged:
            return Markup("")
        return join(
            (" \u00b7 ", tag("a", "log", href=log_path(run.run_id), aria_label=f"log of {run.run_id}"))
        )


def day(facts: PageFacts) -> Markup:
    window = Window(facts.snapshot.now, facts.local)
    return timeline(facts.lanes, window, total=len(facts.snapshot.jobs))


def listed_jobs(snapshot: Snapshot, health: Health) -> list[JobView]:
    """The jobs that the page lists: those that are not well, then those that are due soonest."""
    far = datetime.max.replace(tzinfo=snapshot.now.tzinfo)

    def rank(view: JobView) -> tuple[int, datetime, str]:
        check = health.checks.get(JOB_CHECK + view.job.id)
        well = 0 if check is None else -RANK[check.status]
        return well, far if view.next is None else view.next.at, view.job.id

    return sorted(snapshot.jobs.values(), key=rank)[:MAX_JOBS]


def jobs(facts: PageFacts) -> Markup:
    total = len(facts.snapshot.jobs)
    if not total and facts.snapshot.gone:
        return section("Jobs", tag("p", "The job file is gone."))
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
    check = facts.health.checks.get(JOB_CHECK + view.job.id, WELL)
    worry = (
        "" if check.status == "pass" else tag("span", foreign(check.message), class_=f"worry {check.status}")
    )
    result: object = ""
    if last is not None:
        began = "" if last.started_at is None else ago(last.started_at, now)
        details = " \u00b7 ".join(part for part in (began, took(last.duration_seconds)) if part)
        result = join((facts.to_report(last, status(last.status)), sub(details, facts.log_of(last))))
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
        cell("Runs", bars(facts.past.get(view.job.id, ())), median(view)),
        cell("Fresh", freshness(synced, last, now)),
        cell(
            "Documents",
            "" if documents is None else f"{documents:,}",
            "" if chunks is None else sub(chunk_count(chunks)),
            numeric=True,
        ),
        class_="off" if view.state in {"paused", "done"} else None,
    )


def chunk_count(chunks: int) -> str:
    return "1 chunk" if chunks == 1 else f"{chunks:,} chunks"


def next_run(view: JobView, now: datetime) -> Markup:
    if view.next is None:
        return tag("span", "at start" if view.state == "scheduled" else view.state, class_="tag")
    due = view.next.at.astimezone(load_zone(view.job.timezone))
    return join((ago(view.next.at, now), sub(moment(due, now))))


def median(view: JobView) -> Markup:
    half = view.summary.duration_p50
    return Markup("") if half is None else sub(f"median {took(half)}")


def freshness(synced: datetime | None, last: Run | None, now: datetime) -> str:
    if synced is not None:
        return f"{span(now - synced)} old"
    return "dry runs only" if last is not None and last.dry_run else ""


def collections(facts: PageFacts) -> Markup:
    """Those with an error first, then the stalest."""
    known = facts.snapshot.collections
    if not known:
        return Markup("")
    never = float("inf")

    def rank(view: CollectionView) -> tuple[bool, float]:
        age = view.age(facts.snapshot.now)
        return view.last_error is None, -(never if age is None else age)

    listed = sorted(known, key=rank)[:MAX_COLLECTIONS]
    return section(
        "Collections",
        table(
            ("Collection", "Fresh", "What is wrong", "Documents"),
            (collection_row(view, facts) for view in listed),
            numeric={"Documents"},
            kind="collections",
        ),
        note=f"{len(listed)} of {len(known):,}: what failed, then the stalest"
        if len(listed) < len(known)
        else "",
    )


def collection_row(view: CollectionView, facts: PageFacts) -> Markup:
    age = view.age(facts.snapshot.now)
    counts = (
        (view.failed_documents, "not indexed as they are now"),
        (view.withheld_deletes, "deletes withheld"),
        (view.drifted_chunks, "chunks changed by others"),
    )
    wrong = [foreign(view.last_error)] if view.last_error else []
    wrong += [text(f"{count:,} {what}") for count, what in counts if count]
    return tag(
        "tr",
        cell("", tag("span", foreign(view.place.name), class_="name"), sub(foreign(view.place.storage))),
        cell(
            "Fresh",
            "no sync by its jobs yet" if age is None else f"{span(age)} old",
            sub(foreign(view.job_id)) if view.job_id else "",
        ),
        cell("What is wrong", join(wrong, "; ")),
        cell(
            "Documents",
            "" if view.documents is None else f"{view.documents:,}",
            "" if view.chunks is None else sub(chunk_count(view.chunks)),
            numeric=True,
        ),
    )


def checks(facts: PageFacts) -> Markup:
    """Those that are not well first. Jobs that are well have said so above."""
    shown = {
        name: check
        for name, check in facts.health.checks.items()
        if check.status != "pass" or not name.startswith(JOB_CHECK)
    }
    ranked = sorted(shown.items(), key=lambda item: -RANK[item[1].status])

    def item(name: str, check: Check) -> Markup:
        hint = tag("span", foreign(check.hint), class_="hint") if check.hint else ""
        title = name.removeprefix(JOB_CHECK) if name.startswith(JOB_CHECK) else name.replace("_", " ")
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
            cell("Result", facts.to_report(run, status(run.status)), facts.log_of(run), count),
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
    """The newest failures, each cause told once, with what to do."""
    if not facts.failures:
        return section("Last errors", tag("p", "None."))

    def item(failure: Failure) -> Markup:
        run = failure.run
        ended = "" if run.finished_at is None else f" {ago(run.finished_at, facts.snapshot.now)}"
        times = f", {failure.times} times" if failure.times > 1 else ""
        hint = failure.hint or f"pipesched logs {run.job_id or run.run_id}"
        return tag(
            "li",
            facts.to_report(run, foreign(run.reason or run.status)),
            sub(foreign(run.job_id or "by hand"), f" \u00b7 {run.status}{ended}{times}", facts.log_of(run)),
            tag("span", foreign(hint), class_="hint"),
        )

    return section("Last errors", tag("ul", join(map(item, facts.failures)), class_="plain"))


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
