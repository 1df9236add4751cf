"""The panels of the dashboard *Anomaly exporter health*: cycles, source, series, models, backtests, process."""

from typing import Final

from exporter.promql import selector
from rules.dashboards.panels import Panel, graph, number, rows

_OF: Final = '{query=~"$query"}'
_RATE: Final = "[$__rate_interval]"
_QUERY: Final = "{{query}}"


def shown(scrape_job: str) -> dict[str, list[Panel]]:
    """Return the panels by heading; the widths of a row add up to the full width.

    `scrape_job` is the job under which Prometheus scrapes the exporter.
    """
    return {
        "Exporter": _overview(scrape_job),
        "Cycles": _cycles(),
        "Source": _source(),
        "Series": _series(),
        "Models": _models(),
        "Backtests": _backtests(),
        "Notifications and audit": _notifications(),
        "Process": _process(scrape_job),
    }


def _overview(scrape_job: str) -> list[Panel]:
    return [
        number("Exporters up", "Exporters that Prometheus scrapes.",
               (f"sum({selector('up', job=scrape_job)})", ""), bad=-1),
        number("Sources up",
               "0 means that queries fail; the log names the cause.",
               (f"min(anomaly_exporter_source_up{_OF})", ""), bad=-1),
        number("Configuration loaded",
               "0 means that the previous configuration stays active; check-config shows the mistakes.",
               ("min(anomaly_exporter_config_last_reload_successful)", ""), bad=-1),
        number("Oldest results", "Time since the last success of the job that is furthest behind.",
               (f"time() - min(max by (query) (anomaly_exporter_last_success_timestamp_seconds{_OF}))", ""), unit="s"),
        number("Running since", "If it changes often, the exporter crashes or is killed.",
               ("1000 * max(anomaly_exporter_start_time_seconds)", ""), unit="dateTimeFromNow"),
        number("Warming up", "Jobs that are still replaying their history.",
               (f"sum(anomaly_exporter_warm_up_ratio{_OF} < bool 1)", "")),
    ]  # fmt: skip


def _cycles() -> list[Panel]:
    return [
        graph("Cycles by outcome",
              "After an error the next cycle tries again. Cycles are skipped when they take longer than step.",
              (_rate("cycles", "outcome"), "{{outcome}}"), unit="cps", stacked=True),
        graph("Duration of cycles", "If it comes near step, query fewer series or lengthen step.",
              (_quantile(0.5, "cycle"), "{{query}} median"), (_quantile(0.99, "cycle"), "{{query}} p99"), unit="s"),
        graph("Lateness", "Above a tenth of step the machine is too busy.",
              (f"max by (query) (anomaly_exporter_cycle_lateness_seconds{_OF})", _QUERY), unit="s"),
        graph("Stages of a cycle", "Mean duration by stage. Fetch includes the time of the source.",
              (f"{_rate('stage_duration_seconds_sum', 'stage')} / {_rate('stage_duration_seconds_count', 'stage')}",
               "{{stage}}"), unit="s", stacked=True, width=12),
        graph("Time since the last success", "After max_age the scores are withdrawn.",
              (f"time() - max by (query) (anomaly_exporter_last_success_timestamp_seconds{_OF})", _QUERY), unit="s",
              width=12),
    ]  # fmt: skip


def _source() -> list[Panel]:
    return [
        graph("Query latency", "Duration of all queries of a cycle, decoding included.",
              (_quantile(0.5, "stage", ', stage="fetch"'), "{{query}} median"),
              (_quantile(0.99, "stage", ', stage="fetch"'), "{{query}} p99"), unit="s"),
        graph("Query errors", "docs/metrics.md lists the reasons.",
              (_rate("query_errors", "query, reason"), "{{query}} {{reason}}"), unit="cps"),
        graph("Retries and partial answers",
              "Retries: source or network is overloaded. Partial answers: a store behind the source is missing.",
              (_rate("query_retries", "query"), "{{query}} retried"),
              (_rate("partial_responses", "query"), "{{query}} partial"), unit="cps"),
        graph("Samples", "Fetched: it jumps when a window is filled again or series are added. Read: what the "
              "queries cost the source, where it tells.",
              (_rate("samples_fetched", "query"), "{{query}} fetched"),
              (_rate("source_samples_read", "query"), "{{query}} read by the source"), unit="cps"),
        graph("Bytes read", "Decoded.", (_rate("response_bytes", "query"), _QUERY), unit="Bps"),
        graph("Series and samples dropped",
              "They are not evaluated. Reason limit comes from limits.series, the others from the source.",
              (_rate("series_dropped", "query, reason"), "{{query}} series, {{reason}}"),
              (_rate("samples_dropped", "query, reason"), "{{query}} samples, {{reason}}"), unit="cps"),
    ]  # fmt: skip


def _series() -> list[Panel]:
    return [
        graph("Series by state", "Only ready series are evaluated.",
              (f"sum by (state) (anomaly_exporter_series{_OF})", "{{state}}"), stacked=True),
        graph("Series not evaluated, by job",
              "Warming series need history, stale ones have no new sample. For errors see the log.",
              ('sum by (query, state) (anomaly_exporter_series{query=~"$query", state!="ready"})',
               "{{query}} {{state}}")),
        graph("Samples within their band", "If it is low for days, retrain or choose another detector.",
              (f"min by (query) (anomaly_exporter_band_coverage_ratio{_OF})", _QUERY), unit="percentunit"),
    ]  # fmt: skip


def _models() -> list[Panel]:
    return [
        graph("Age of the model", "If it is old, retraining does not run or its models are rejected.",
              (f"time() - max by (query, detector) (anomaly_exporter_model_trained_timestamp_seconds{_OF})",
               "{{query}} {{detector}}"), unit="s"),
        graph("Drift", "Lasting changes of the scores since the start. Each one requests a training.",
              (f"sum by (query, method) (anomaly_exporter_drift_events_total{_OF})", "{{query}} {{method}}")),
        graph("Trainings and loads", "Number since the start, by outcome.",
              (f"sum by (query, outcome) (anomaly_exporter_retrains_total{_OF})", "{{query}} trained, {{outcome}}"),
              (f"sum by (query, outcome) (anomaly_exporter_model_loads_total{_OF})", "{{query}} loaded, {{outcome}}")),
        graph("Last training", "Time since it ended, whatever its outcome.",
              (f"time() - max by (query) (anomaly_exporter_train_timestamp_seconds{_OF})", _QUERY), unit="s", width=12),
        graph("Current model in use",
              "0 means that the active model of the store is not in use; the log names the cause.",
              (f"min by (query) (anomaly_exporter_model_current{_OF})", _QUERY), width=12),
        rows("Active models", "A job without a model store, or whose detector needs no fitting, is not listed.",
             (f"max by (query, detector, version) (anomaly_exporter_model_info{_OF})", "In service")),
    ]  # fmt: skip


def _backtests() -> list[Panel]:
    figures = {
        "recall": "Recall", "precision": "Precision", "f1": "F1", "time_to_detect_seconds": "Time to detect, s",
        "false_incidents_per_series_week": "False incidents per series and week", "alerts_per_week": "Alerts per week",
        "events": "Known incidents",
    }  # fmt: skip
    asked = [(f"max by (query) (anomaly_exporter_backtest_{name}{_OF})", legend) for name, legend in figures.items()]
    age = (f"time() - max by (query) (anomaly_exporter_backtest_timestamp_seconds{_OF})", "Age, s")
    return [
        graph("Precision, recall, F1", "Results of `backtest --publish`. They fall when the data or the model changed.",
              *((expr, f"{_QUERY} {legend}") for expr, legend in asked[:3]), unit="percentunit", width=12),
        graph("Alerts per week", "Above the budget, there were many incidents, or the budget has not adapted yet.",
              (asked[5][0], _QUERY), width=12),
        rows("Quality metrics", "Results of the last published backtest.", *asked, age),
    ]  # fmt: skip


def _notifications() -> list[Panel]:
    return [
        graph("Notifications",
              "Failed ones are repeated. Suppressed ones were delayed by rate_limit until they were over.",
              (f"sum by (receiver, outcome) (increase(anomaly_exporter_notifications_total{_RATE}))",
               "{{receiver}} {{outcome}}")),
        graph("Notifications pending", "If it stays above 0, the receiver does not answer, or rate_limit delays them.",
              ("sum by (receiver) (anomaly_exporter_notifications_pending)", "{{receiver}}")),
        graph("Audit file", "errors: disk full, or the file is not writable. lost: the audit has a gap.",
              *((f"sum(rate(anomaly_exporter_audit_{name}_total{_RATE}))", name)
                for name in ("rows", "write_errors", "rows_lost")), unit="cps"),
    ]  # fmt: skip


def _process(scrape_job: str) -> list[Panel]:
    def own(metric: str) -> str:
        return selector(metric, job=scrape_job)

    return [
        graph("Processor", "CPU cores in use.", (f"rate({own('process_cpu_seconds_total')}{_RATE})", "{{instance}}")),
        graph("Memory", "Resident.", (own("process_resident_memory_bytes"), "{{instance}}"), unit="bytes"),
        graph("Page", "Size of /metrics, not compressed. It jumps when a query returns more series.",
              ("anomaly_exporter_page_bytes", "{{instance}}"), unit="bytes"),
        graph("Open files", "If it comes near the limit, raise the limit or lower web.max_connections.",
              (own("process_open_fds"), "{{instance}}"), (own("process_max_fds"), "{{instance}} limit"), width=12),
        rows("Versions", "Versions of the exporters and of Python.",
             ("max by (instance, version, python) (anomaly_exporter_build_info)", "Running"), width=12),
    ]  # fmt: skip


def _rate(counter: str, by: str) -> str:
    suffix = "" if counter.endswith(("_sum", "_count")) else "_total"
    return f"sum by ({by}) (rate(anomaly_exporter_{counter}{suffix}{_OF}{_RATE}))"


def _quantile(quantile: float, of: str, more: str = "") -> str:
    bucket = f'anomaly_exporter_{of}_duration_seconds_bucket{{query=~"$query"{more}}}'
    return f"histogram_quantile({quantile}, sum by (query, le) (rate({bucket}{_RATE})))"
