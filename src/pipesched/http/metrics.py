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
from pipesched.views.health import HealthStatus
from pipesched.views.snapshot import Snapshot
from pipesched.views.status import sync_counts

OUTCOMES: Final = ("new", "modified", "renamed", "deleted", "unchanged", "skipped", "failed")
ALWAYS: Final = ("succeeded", "partial", "failed")
"""Series that are there from a job's first scrape on, so that its first failure is an increase."""
_HEALTH: Final[dict[HealthStatus, int]] = {"pass": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True, eq=False)
class Scrape(Collector):
    """One scrape's samples. `finished`: the newest finished run of each job that has one."""

    snapshot: Snapshot
    totals: Totals
    finished: Mapping[str, Run]
    health: HealthStatus

    def collect(self) -> Iterator[Metric]:
        yield from self._jobs()
        yield from self._scheduler()
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
        running = gauge("running", "How many runs of the job are under way.")
        held = gauge("documents", "Documents in the collection after the newest successful sync.")
        chunks = gauge("chunks", "Chunks in the collection after the newest successful sync.")
        runs = CounterMetricFamily(
            "pipesched_job_runs",
            "Runs, and occurrences that did not run, by status.",
            labels=["job_id", "status"],
        )
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
            if view.next is not None:
                next_run.add_metric(label, view.next.at.timestamp())
            running.add_metric(label, sum(run.status == "running" for run in summary.active))
            documents, pieces = sync_counts(view)
            if documents is not None:
                held.add_metric(label, documents)
            if pieces is not None:
                chunks.add_metric(label, pieces)
            for status in dict.fromkeys((*ALWAYS, *summary.totals)):
                runs.add_metric([job_id, status], summary.totals.get(status, 0))
        yield from (success, last_run, next_run, duration, running, held, chunks, runs)

    def _scheduler(self) -> Iterator[Metric]:
        tick = GaugeMetricFamily(
            "pipesched_scheduler_last_tick_timestamp_seconds", "When the scheduling loop last turned."
        )
        if self.snapshot.facts.last_tick is not None:
            tick.add_metric([], self.snapshot.facts.last_tick.timestamp())
        health = GaugeMetricFamily("pipesched_health_status", "0: pass, 1: warn, 2: fail.")
        health.add_metric([], _HEALTH[self.health])
        yield from (tick, health)


def metrics(scrape: Scrape) -> Response:
    """In the text format that every Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(scrape)
    return Response(HTTPStatus.OK, generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)
