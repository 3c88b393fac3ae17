"""Prometheus metrics, made at scrape time from the ledger, so that a restart loses none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipesched import __version__
from pipesched.http.messages import Response
from pipesched.runs.model import Run, Totals
from pipesched.views.checks import JOB_CHECK, RANK, Health
from pipesched.views.health import HealthFacts
from pipesched.views.snapshot import JobView, Snapshot
from pipesched.views.status import sync_counts

OUTCOMES: Final = ("new", "modified", "renamed", "deleted", "unchanged", "skipped", "failed")
ALWAYS: Final = ("succeeded", "partial", "failed", "timeout", "lost")
"""Series that are there from a job's first scrape on, so that its first failure is an increase."""
MOST_COLLECTIONS: Final = 1000
MOST_MODELS: Final = 50
"""So many have series; jobs have as many as the job file."""


@dataclass(frozen=True, eq=False)
class Scrape(Collector):
    """One scrape's samples. `finished`: the newest finished run of each job that has one."""

    snapshot: Snapshot
    totals: Totals
    finished: Mapping[str, Run]
    facts: HealthFacts
    health: Health

    def collect(self) -> Iterator[Metric]:
        yield from self._jobs()
        yield from self._collections()
        yield from self._scheduler()
        yield from self._health()
        documents = CounterMetricFamily(
            "pipesched_documents", "Documents by what a sync did with them.", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            documents.add_metric([outcome], self.totals.documents.get(outcome, 0))
        yield documents
        build = GaugeMetricFamily("pipesched_build_info", "The version, as a label.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build

    def _jobs(self) -> Iterator[Metric]:
        def gauge(name: str, text: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"pipesched_job_{name}", text, labels=["job_id"])

        success = gauge("last_success_timestamp_seconds", "When the newest successful sync ended.")
        last_run = gauge("last_run_timestamp_seconds", "When the newest run started.")
        next_run = gauge("next_run_timestamp_seconds", "When the job is due next; absent when it is not.")
        duration = gauge("last_run_duration_seconds", "How long the newest finished run took.")
        delay = gauge(
            "last_start_delay_seconds", "How long after it was due the newest scheduled run started."
        )
        running = gauge("running", "How many runs of the job are under way.")
        unmet = gauge(
            "unmet_occurrences", "Due since its newest success, for enabled jobs; 4 stands for more."
        )
        failures = gauge("failures_in_row", "Failed runs since the last one that did not fail.")
        paused = gauge("paused", "1: paused, by a person or after failures.")
        status = gauge("health_status", "Of the job's own check in health: 0 pass, 1 warn, 2 fail.")
        held = gauge("documents", "Documents in the collection after the newest successful sync.")
        chunks = gauge("chunks", "Chunks in the collection after the newest successful sync.")
        runs = CounterMetricFamily(
            "pipesched_job_runs",
            "Runs, and occurrences that did not run, by status.",
            labels=["job_id", "status"],
        )
        now = self.snapshot.now
        for job in self.facts.enabled:
            unmet.add_metric([job.job_id], sum(at <= now for at in job.unmet))
        for job_id, view in self.snapshot.jobs.items():
            label, summary = [job_id], view.summary
            sync, last = summary.last_sync, summary.last_run
            if sync is not None and sync.finished_at is not None:
                success.add_metric(label, sync.finished_at.timestamp())
            if last is not None and last.started_at is not None:
                last_run.add_metric(label, last.started_at.timestamp())
            ended = self.finished.get(job_id)
            if ended is not None and ended.duration_seconds is not None:
                duration.add_metric(label, ended.duration_seconds)
            late = start_delay(view)
            if late is not None:
                delay.add_metric(label, late)
            if view.next is not None:
                next_run.add_metric(label, view.next.at.timestamp())
            running.add_metric(label, sum(run.status == "running" for run in summary.active))
            failures.add_metric(label, summary.failures_in_row)
            paused.add_metric(label, not view.job.enabled or view.progress.auto_paused_at is not None)
            check = self.health.checks.get(JOB_CHECK + job_id)
            status.add_metric(label, 0 if check is None else RANK[check.status])
            documents, pieces = sync_counts(view)
            if documents is not None:
                held.add_metric(label, documents)
            if pieces is not None:
                chunks.add_metric(label, pieces)
            for state in dict.fromkeys((*ALWAYS, *summary.totals)):
                runs.add_metric([job_id, state], summary.totals.get(state, 0))
        yield from (success, last_run, next_run, duration, delay, running, unmet, failures, paused, status)
        yield from (held, chunks, runs)

    def _collections(self) -> Iterator[Metric]:
        def gauge(name: str, text: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"pipesched_collection_{name}", text, labels=["collection", "store"])

        success = gauge("last_success_timestamp_seconds", "When the newest sync of any of its jobs ended.")
        documents = gauge("documents", "Documents in it after its newest sync.")
        chunks = gauge("chunks", "Chunks in it after its newest sync.")
        failed = gauge("failed_documents", "Documents that its newest sync could not index.")
        withheld = gauge("withheld_deletes", "Documents whose deletion its newest sync withheld.")
        drifted = gauge("drifted_chunks", "Chunks that its newest sync found changed by somebody else.")
        for each in self.snapshot.collections[:MOST_COLLECTIONS]:
            label = [each.place.name, each.place.shown]
            if each.synced_at is None:
                continue
            success.add_metric(label, each.synced_at.timestamp())
            if each.documents is not None:
                documents.add_metric(label, each.documents)
            if each.chunks is not None:
                chunks.add_metric(label, each.chunks)
            failed.add_metric(label, each.failed_documents)
            withheld.add_metric(label, each.withheld_deletes)
            drifted.add_metric(label, each.drifted_chunks)
        yield from (success, documents, chunks, failed, withheld, drifted)

    def _scheduler(self) -> Iterator[Metric]:
        facts, active = self.snapshot.facts, self.snapshot.active
        tick = GaugeMetricFamily(
            "pipesched_scheduler_last_tick_timestamp_seconds", "When the scheduling loop last turned."
        )
        if facts.last_tick is not None:
            tick.add_metric([], facts.last_tick.timestamp())
        start = GaugeMetricFamily(
            "pipesched_scheduler_start_timestamp_seconds", "When the scheduler was started."
        )
        if facts.started_at is not None:
            start.add_metric([], facts.started_at.timestamp())
        ends = GaugeMetricFamily(
            "pipesched_certificate_expiry_timestamp_seconds",
            "When the certificate ends that the endpoint shows.",
        )
        if facts.certificate_until is not None:
            ends.add_metric([], facts.certificate_until.timestamp())
        queue = GaugeMetricFamily(
            "pipesched_scheduler_queue_length", "Runs that are due and wait for a worker or for their store."
        )
        queue.add_metric([], sum(run.status == "queued" for run in active))
        yield from (tick, start, ends, queue)

    def _health(self) -> Iterator[Metric]:
        whole = GaugeMetricFamily("pipesched_health_status", "0: pass, 1: warn, 2: fail.")
        whole.add_metric([], RANK[self.health.status])
        checks = GaugeMetricFamily(
            "pipesched_health_check_status",
            "Of each general check: 0 pass, 1 warn, 2 fail.",
            labels=["check"],
        )
        for name, check in self.health.checks.items():
            if not name.startswith(JOB_CHECK):
                checks.add_metric([name], RANK[check.status])
        up = GaugeMetricFamily(
            "pipesched_embedder_up",
            "1: its server answers and has the model, or it needs none; 0: not, or the last run failed for it.",
            labels=["model"],
        )
        for each in self.facts.embedders[:MOST_MODELS]:
            up.add_metric([each.model], each.is_up)
        free = GaugeMetricFamily(
            "pipesched_disk_free_bytes", "Free on a file system that is written to.", labels=["holds"]
        )
        size = GaugeMetricFamily("pipesched_disk_size_bytes", "Its size.", labels=["holds"])
        for disk in self.facts.disks:
            free.add_metric([disk.what], disk.free)
            size.add_metric([disk.what], disk.total)
        yield from (whole, checks, up, free, size)


def start_delay(view: JobView) -> float | None:
    """Seconds from when the job's newest run was due to its start; None where it was not the schedule that started it."""
    last = view.summary.last_run
    if last is None or last.trigger != "schedule" or last.scheduled_for is None or last.started_at is None:
        return None
    return max(0.0, (last.started_at - last.scheduled_for).total_seconds())


def metrics(scrape: Scrape) -> Response:
    """In the text format that every Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(scrape)
    return Response(HTTPStatus.OK, generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)
