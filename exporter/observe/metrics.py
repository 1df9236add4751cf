"""The exporter's metrics about itself. Each is named and explained in `docs/metrics.md`."""

import platform
from functools import partial
from typing import Any, Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from exporter import __version__

PREFIX: Final = "anomaly_exporter"
STATES: Final = ("ready", "warming", "stale", "error", "empty")
"""States of an entity: evaluated; not enough samples yet; no fresh sample; could not be evaluated. `empty` is 1 for a
job whose queries never gave a series."""
_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

M = TypeVar("M", Counter, Gauge, Histogram)


class SelfMetrics:
    """One registry of all metrics about the exporter itself. `query` is the name of the job."""

    def __init__(self) -> None:  # noqa: PLR0915 - a list
        # A second series per counter and histogram that no rule of ours reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no annotation there
        self.registry = CollectorRegistry()
        self._of_a_job: list[Counter | Gauge | Histogram] = []
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        gauge, counter, histogram = (
            partial(self._add, Gauge),
            partial(self._add, Counter),
            partial(self._add, Histogram, buckets=_SECONDS),
        )

        self.series = gauge("series", "Entities of a job by state", "query", "detector", "state")
        self.flagged_ratio = gauge(
            "flagged_ratio", "Share of a job's entities with an open incident", "query", "detector"
        )
        self.expected_incidents = gauge(
            "expected_incidents", "Open incidents left out, since people answered that they are expected", "query"
        )
        self.band_coverage = gauge(
            "band_coverage_ratio", "Share of a job's newest samples that lie within their band", "query", "detector"
        )
        self.warm_up = gauge("warm_up_ratio", "Share of its history that a starting job has replayed", "query")
        self.warm_up_remaining = gauge(
            "warm_up_remaining_seconds", "How long a starting job will still replay its history, by its pace", "query"
        )
        self.cycle_seconds = histogram("cycle_duration_seconds", "Duration of a job's cycle", "query")
        self.stage_seconds = histogram("stage_duration_seconds", "Duration of one stage of a cycle", "query", "stage")
        self.cycles = counter(
            "cycles_total",
            "Cycles by outcome: success, error or skipped (the one before still ran)",
            "query",
            "outcome",
        )
        self.history = gauge("history_seconds", "How far a job's history reached, and what ended it", "query", "limit")
        self.last_success = gauge("last_success_timestamp_seconds", "When a job's cycle last succeeded", "query")
        self.lateness = gauge("cycle_lateness_seconds", "How late a job's last cycle began", "query")
        self.source_up = gauge("source_up", "1 if the job's last query was answered", "query")
        self.query_errors = counter("query_errors_total", "Failed queries by reason", "query", "reason")
        self.query_retries = counter("query_retries_total", "Attempts repeated after a failure that may pass", "query")
        self.partial = counter("partial_responses_total", "Answers that carried warnings and may be partial", "query")
        self.samples = counter("samples_fetched_total", "Samples read from the source", "query")
        self.samples_read = counter(
            "source_samples_read_total", "Samples that the source has read to answer, where it tells", "query"
        )
        self.bytes = counter("response_bytes_total", "Decoded bytes read from the source", "query")
        self.series_dropped = counter("series_dropped_total", "Series left out, by reason", "query", "reason")
        self.samples_dropped = counter("samples_dropped_total", "Samples left out, by reason", "query", "reason")
        self.not_answered = counter(
            "times_not_answered_total",
            "Times skipped because the source refused them alone, by reason",
            "query",
            "reason",
        )
        self.flag_changes = counter("flag_changes_total", "Incidents opened or closed", "query", "to")
        self.replica_queries = counter(
            "replica_queries_total", "Queries for the incidents of other replicas by outcome", "outcome"
        )
        self.deploy_queries = counter("deploy_queries_total", "Queries about deploys by outcome", "outcome")
        self.deploy_query_seconds = counter("deploy_query_seconds_total", "Time spent on queries about deploys")
        self.deploy_series_cut = gauge("deploy_series_cut", "Series left out of the newest answers about deploys")
        self.deploy_time = gauge(
            "deploy_timestamp_seconds", "When something was deployed within the last day", "deploy"
        )
        self.joint_incidents = gauge("joint_incidents", "Open incidents, those that are one counted once")
        self.joint_incident_series = gauge(
            "joint_incident_series",
            "Series with an open incident of a joint incident, and which of them moved first",
            "anomaly_incident",
            "first_mover",
        )
        self.joint_incident_companions = gauge(
            "joint_incident_companions",
            "Series without an incident that changed when a joint incident began, and the surest of them",
            "anomaly_incident",
            "companions",
        )
        self.forecasts = gauge(
            "forecast_series", "Series of a job with a limit, by what is known of it", "query", "state"
        )
        self.forecast_queries = counter(
            "forecast_queries_total", "Queries for the past that forecasts need, by outcome", "query", "outcome"
        )
        self.accepted = counter("incidents_accepted_total", "Incidents whose level an operator called normal", "query")
        self._add_models()
        self.drift_events = counter(
            "drift_events_total", "Lasting changes of a job's scores", "query", "detector", "method"
        )
        self.backtest_time = gauge("backtest_timestamp_seconds", "When a backtest last published its figures", "query")
        self.backtest_recall = gauge("backtest_recall", "Share of known incidents found", "query")
        self.backtest_precision = gauge("backtest_precision", "Incidents found over these and false ones", "query")
        self.backtest_f1 = gauge("backtest_f1", "Harmonic mean of recall and precision", "query")
        self.backtest_delay = gauge("backtest_time_to_detect_seconds", "Median time to the first flag", "query")
        self.backtest_false = gauge(
            "backtest_false_incidents_per_series_week", "Incidents outside known ones, per week and entity", "query"
        )
        self.backtest_alerts = gauge("backtest_alerts_per_week", "Alerts a week of the whole job", "query")
        self.backtest_events = gauge("backtest_events", "Known incidents, one for each entity", "query")
        self.audit_rows = counter("audit_rows_total", "Rows written to the audit file")
        self.audit_errors = counter("audit_write_errors_total", "Failed writes to the audit file")
        self.audit_lost = counter("audit_rows_lost_total", "Rows given up because the audit file could not be written")
        self.sink_errors = counter("sink_errors_total", "Calls of a sink that failed", "sink")
        self.notifications = counter(
            "notifications_total", "Notifications by outcome: sent, failed or suppressed", "receiver", "outcome"
        )
        self.notifications_pending = gauge(
            "notifications_pending", "Incidents whose notification a receiver has yet to get", "receiver"
        )
        self.remote_write_samples = counter(
            "remote_write_samples_total", "Samples written by outcome: sent, refused or overflow", "remote", "outcome"
        )
        self.remote_write_pending = gauge("remote_write_pending_bytes", "Bytes that wait to be written", "remote")
        self.remote_write_up = gauge("remote_write_up", "1 if the last request to write was taken", "remote")
        self.otlp_points = counter("otlp_points_total", "Data points for OTLP by outcome: sent or failed", "outcome")
        self.reports = counter("reports_total", "Scheduled reports by outcome: made, empty or failed", "outcome")
        self.reload_ok = gauge(
            "config_last_reload_successful", "1 if the last attempt to load the configuration succeeded"
        )
        self.reload_time = gauge(
            "config_last_reload_success_timestamp_seconds", "When the configuration was last loaded"
        )
        self.discovered_jobs = gauge("discovered_jobs", "Jobs that teams declare, by namespace", "namespace")
        self.discovered_job = gauge(
            "discovered_job_info", "1 for every declared job, with how its alerts are sent", "query", "severity",
            "receivers",
        )  # fmt: skip
        self.discovery_refused = gauge(
            "discovery_refused", "What an object declares and is not in force, by object", "namespace", "kind", "name"
        )
        self.discovery_up = gauge(
            "discovery_up", "1 if Kubernetes tells what is declared now, by kind and namespace", "kind", "namespace"
        )
        self.started = gauge("start_time_seconds", "When the exporter started")
        self.shard = gauge("shard_info", "Which of how many replicas this is", "shard", "count")
        self.leader = gauge("leader", "1 if this exporter leads, 0 if it stands by; the label says who leads", "leader")
        self.share_values = gauge(
            "share_values", "Values of the label by which replicas split the job that are this one's", "query", "label"
        )
        self.share_whole = gauge(
            "share_read_whole", "1 if this replica reads the whole answer and keeps its share of it", "query"
        )
        self.page_bytes = gauge("page_bytes", "Size of the page before this one, not compressed")
        Info(f"{PREFIX}_build", "Version of the exporter", registry=self.registry).info(
            {"version": __version__, "python": platform.python_version()}
        )

    def _add_models(self) -> None:
        """Add the metrics about models and their training."""
        gauge, counter = partial(self._add, Gauge), partial(self._add, Counter)
        self.model_trained = gauge(
            "model_trained_timestamp_seconds", "When the active model was trained", "query", "detector"
        )
        self.model_info = gauge("model_info", "Version of the active model", "query", "detector", "version")
        self.model_loads = counter(
            "model_loads_total", "Models asked for: loaded, refused, missing or unreachable", "query", "outcome"
        )
        self.model_current = gauge(
            "model_current", "1 if the active model is the one that the model store says, 0 if not", "query"
        )
        self.model_store_up = gauge("model_store_up", "1 if the model store answered when last asked", "query")
        self.retrains = counter(
            "retrains_total", "Trainings by outcome: promoted, rejected or failed", "query", "outcome"
        )
        self.train_outcome = gauge("train_outcome", "1 for how the last training ended", "query", "outcome")
        self.train_time = gauge("train_timestamp_seconds", "When the last training ended", "query")
        self.train_seconds = gauge("train_duration_seconds", "How long the last training took", "query")

    def _add(self, kind: type[M], name: str, text: str, *labels: str, **options: Any) -> M:
        metric = kind(f"{PREFIX}_{name}", text, labels, registry=self.registry, **options)
        if "query" in labels:
            self._of_a_job.append(metric)
        return metric

    def forget(self, query: str) -> None:
        """Drop every series of a job that is gone, so that nothing keeps looking healthy."""
        for metric in self._of_a_job:
            metric.remove_by_labels({"query": query})
