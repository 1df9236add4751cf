"""Metrics sent by OTLP to a collector that decodes them: switched on by the standard variables, and by nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, NumberDataPoint
from structlog.testing import capture_logs

from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.otlp_metrics import OtlpMetrics
from tests.support.otlp_collector import Collector, collecting
from tests.support.verdicts import key, verdict
from tests.support.waiting import PATIENCE, eventually

A, B = key(**{"instance": "a", "service.name": "cart"}), key(instance="b", path='x"\\\n')
JOB = JobConfig(expr="up", publish=frozenset({"value"}))
CONFIG = Config.model_validate({"jobs": {"cpu": {"expr": "up"}}})


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as server:
        yield server


@pytest.fixture
def metrics() -> SelfMetrics:
    return SelfMetrics()


@pytest.fixture
def start(metrics: SelfMetrics, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OtlpMetrics]]:
    sinks: list[OtlpMetrics] = []

    def begin(**variables: str) -> OtlpMetrics:
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            monkeypatch.delenv(name)
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        sink = OtlpMetrics(metrics)
        sink.prepare(CONFIG).commit()
        sink.start()
        sinks.append(sink)
        return sink

    yield begin
    for sink in sinks:
        sink.close(PATIENCE)


def points(collector: Collector, name: str) -> list[NumberDataPoint]:
    return [point for metric in collector.metrics(name) for point in metric.gauge.data_points]


def attributes(point: NumberDataPoint) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


def outcomes(metrics: SelfMetrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("anomaly_exporter_otlp_points_total", {"outcome": outcome}) or 0.0


def test_a_collector_gets_what_the_page_shows_with_the_labels_as_they_are(
    collector: Collector, start: Callable[..., OtlpMetrics], metrics: SelfMetrics
) -> None:
    sink = start(OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.address)
    metrics.cycle_seconds.labels("cpu").observe(0.3)
    metrics.cycles.labels("cpu", "success").inc(2)
    shown = verdict((A, B), score=[1.0, 2.0])
    sink.show(shown, JOB)
    eventually(lambda: len(points(collector, "anomaly_score")) == 2)
    cart, other = points(collector, "anomaly_score")
    assert attributes(cart) == {"instance": "a", "service.name": "cart", "query": "cpu", "detector": "robust"}
    assert attributes(other)["path"] == 'x"\\\n'
    assert (cart.as_double, other.as_double) == (1.0, 2.0)
    assert cart.time_unix_nano == int(shown.time * 1000) * 1_000_000
    assert collector.metrics("anomaly_score")[0].description
    assert {"anomaly_flag", "anomaly_value"} <= {
        m.name
        for r in collector.metric_requests
        for rm in r.resource_metrics
        for sm in rm.scope_metrics
        for m in sm.metrics
    }
    assert collector.resource()["service.name"] == "anomaly-exporter"
    assert collector.paths == {"/v1/metrics"}


def test_our_own_metrics_keep_their_kinds(
    collector: Collector, start: Callable[..., OtlpMetrics], metrics: SelfMetrics
) -> None:
    for seconds in (0.003, 0.3, 0.3, 1e9):
        metrics.cycle_seconds.labels("cpu").observe(seconds)
    metrics.cycles.labels("cpu", "success").inc(2)
    start(OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.address)
    eventually(lambda: collector.metrics("anomaly_exporter_cycle_duration_seconds"))
    (counted,) = collector.metrics("anomaly_exporter_cycles_total")[0].sum.data_points
    assert (counted.as_double, attributes(counted)) == (2.0, {"query": "cpu", "outcome": "success"})
    assert collector.metrics("anomaly_exporter_cycles_total")[0].sum.is_monotonic
    histogram = collector.metrics("anomaly_exporter_cycle_duration_seconds")[0].histogram
    assert histogram.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    (took,) = histogram.data_points
    assert (took.count, sum(took.bucket_counts), took.bucket_counts[-1]) == (4, 4, 1)
    assert len(took.bucket_counts) == len(took.explicit_bounds) + 1
    within = {bound: count for bound, count in zip(took.explicit_bounds, took.bucket_counts, strict=False) if count}
    assert sum(within.values()) == 3
    assert max(within) >= 0.3
    assert not took.HasField("min")


def test_a_withdrawn_job_is_sent_no_more(collector: Collector, start: Callable[..., OtlpMetrics]) -> None:
    sink = start(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{collector.address}/mine/metrics")
    sink.show(verdict((A,), score=[1.0]), JOB)
    sink.withdraw("cpu")
    sink.show(verdict((B,), score=[3.0]), JOB)
    eventually(lambda: any(point.as_double == 3.0 for point in points(collector, "anomaly_score")))
    sink.close(PATIENCE)
    assert collector.paths == {"/mine/metrics"}
    assert points(collector, "anomaly_score")[-1].as_double == 3.0


def test_of_very_many_series_no_request_holds_more_than_some_thousand(
    collector: Collector, start: Callable[..., OtlpMetrics], metrics: SelfMetrics
) -> None:
    keys = tuple(key(instance=str(n)) for n in range(12_000))
    sink = start(OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.address)
    sink.show(verdict(keys, score=[0.5] * len(keys)), JobConfig(expr="up", publish=frozenset()))
    eventually(lambda: len(points(collector, "anomaly_score")) == 12_000)
    sizes = [
        sum(len(m.gauge.data_points) for rm in r.resource_metrics for sm in rm.scope_metrics for m in sm.metrics)
        for r in collector.metric_requests
    ]
    assert max(sizes) < 10_000
    assert len({attributes(point)["instance"] for point in points(collector, "anomaly_score")}) == 12_000


def test_a_collector_that_refuses_is_one_warning_and_its_return_one_line(
    collector: Collector, start: Callable[..., OtlpMetrics], metrics: SelfMetrics
) -> None:
    collector.status = 400
    with capture_logs() as logged:
        sink = start(OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.address)
        sink.show(verdict((A,), score=[1.0]), JOB)
        eventually(lambda: outcomes(metrics, "failed") > 0)
        sink.show(verdict((A,), score=[2.0]), JOB)
        eventually(lambda: len(points(collector, "anomaly_score")) == 2)
        collector.status = 200
        sink.show(verdict((A,), score=[3.0]), JOB)
        eventually(lambda: outcomes(metrics, "sent") > 0)
        sink.close(PATIENCE)
    events = [line["event"] for line in logged if line["event"].startswith("otlp")]
    assert events == ["otlp_metrics_not_sent", "otlp_metrics_recovered"]
    assert "400" in next(line["error"] for line in logged if line["event"] == "otlp_metrics_not_sent")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "there"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "there", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "there", "OTEL_METRICS_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "there", "OTEL_METRICS_EXPORTER": "console"},
    ],
)
def test_nothing_is_sent_unless_asked_for(
    collector: Collector, start: Callable[..., OtlpMetrics], variables: dict[str, str]
) -> None:
    with capture_logs() as logged:
        sink = start(**{name: text.replace("there", collector.address) for name, text in variables.items()})
        sink.show(verdict((A,), score=[1.0]), JOB)
        sink.close(PATIENCE)
    assert collector.metric_requests == []
    assert [line["event"] for line in logged] == ["metrics_exporter_unknown"] * ("console" in variables.values())


def test_missing_packages_are_one_clear_error_that_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from exporter.config.sections.root import Config\n"
        "from exporter.observe.metrics import SelfMetrics\n"
        "from exporter.sinks.base import SinkError\n"
        "from exporter.sinks.otlp_metrics import OtlpMetrics\n"
        "config = Config.model_validate({'jobs': {'cpu': {'expr': 'up'}}})\n"
        "OtlpMetrics(SelfMetrics(), environ={}).prepare(config)\n"
        "try: OtlpMetrics(SelfMetrics(), environ={'OTEL_METRICS_EXPORTER': 'otlp'}).prepare(config)\n"
        "except SinkError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "pip install 'anomaly-exporter[otel]'" in done.stdout
    assert "OTEL_METRICS_EXPORTER=none" in done.stdout
