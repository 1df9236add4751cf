"""Durations always, traces when asked for: sent over OTLP/HTTP to a receiver that decodes them."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from exporter.config.sections.service import LogConfig
from exporter.observe import logs
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Stage, Telemetry, TelemetryError
from exporter.openmetrics import Form
from exporter.sinks.metrics_page import Page
from tests.support.otlp_collector import Collector, collecting
from tests.support.sockets import refusing, silent
from tests.support.waiting import PATIENCE, eventually

STAGES: tuple[Stage, ...] = ("fetch", "prepare", "score", "decide", "publish")


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A running receiver."""
    with collecting() as server:
        yield server


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """No OTEL_* variable from outside."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Telemetry]:
    """Return a function that starts telemetry with the given environment variables."""

    def started(metrics: SelfMetrics | None = None, **variables: str) -> Telemetry:
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        return Telemetry(metrics or SelfMetrics())

    return started


def attributes(span: Span) -> dict[str, Any]:
    return {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in span.attributes}


def test_a_cycle_is_a_span_with_its_stages_as_children(collector: Collector, start: Callable[..., Telemetry]) -> None:
    stream = io.StringIO()
    logs.configure(LogConfig(), stream)
    telemetry = start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.address)
    with telemetry.cycle("node-cpu") as cycle:
        for stage in STAGES:
            with telemetry.stage("node-cpu", stage) as span:
                span.set_attribute("series", 12)
        structlog.get_logger().info("cycle", job="node-cpu")
        cycle.set_attribute("flagged", 3)
    structlog.get_logger().info("after")
    telemetry.close(PATIENCE)

    spans = collector.spans()
    assert spans.keys() == {"cycle", *STAGES}
    root = spans.pop("cycle")
    assert root.parent_span_id == b""
    assert attributes(root) == {"job": "node-cpu", "flagged": 3}
    for span in spans.values():
        assert (span.trace_id, span.parent_span_id) == (root.trace_id, root.span_id)
        assert attributes(span) == {"job": "node-cpu", "series": 12}
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano
    inside, after = map(json.loads, stream.getvalue().splitlines())
    assert (inside["trace_id"], inside["span_id"]) == (root.trace_id.hex(), root.span_id.hex())
    assert "trace_id" not in after
    assert collector.paths == {"/v1/traces"}
    assert collector.resource()["service.name"] == "anomaly-exporter"


def test_a_duration_leads_to_its_trace_in_open_metrics(collector: Collector, start: Callable[..., Telemetry]) -> None:
    metrics = SelfMetrics()
    telemetry = start(metrics, OTEL_EXPORTER_OTLP_ENDPOINT=collector.address)
    with telemetry.cycle('a "quoted" job'):
        pass
    telemetry.close(PATIENCE)
    page = Page(metrics)
    text = page.in_form(Form(openmetrics=True)).body.decode()
    exemplars = [
        sample.exemplar
        for family in text_string_to_metric_families(text)
        if family.name == "anomaly_exporter_cycle_duration_seconds"
        for sample in family.samples
        if sample.exemplar
    ]
    assert [each.labels for each in exemplars] == [{"trace_id": collector.spans()["cycle"].trace_id.hex()}]
    assert "trace_id" not in page.current.body.decode()


def test_the_standard_variables_name_the_service_and_the_path(
    collector: Collector, start: Callable[..., Telemetry]
) -> None:
    telemetry = start(
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.address}/my/traces",
        OTEL_SERVICE_NAME="mine",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=prod",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
    )
    with telemetry.cycle("a"):
        pass
    telemetry.close(PATIENCE)
    assert collector.paths == {"/my/traces"}
    assert collector.resource()["service.name"] == "mine"
    assert collector.resource()["deployment.environment"] == "prod"


def test_an_error_is_recorded_without_its_secrets_and_passes_through(
    collector: Collector, start: Callable[..., Telemetry]
) -> None:
    """Row 53 holds for traces too."""
    telemetry = start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.address)
    with pytest.raises(ValueError, match="s3cret"), telemetry.cycle("a"), telemetry.stage("a", "fetch"):
        raise ValueError("http://user:s3cret@host refused")
    telemetry.close(PATIENCE)
    for span in collector.spans().values():
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert span.status.message == "ValueError: http://***@host refused"
        assert [event.name for event in span.events] == ["exception"]
    assert not any(b"s3cret" in request.SerializeToString() for request in collector.requests)


def flushing() -> bool:
    """Tell whether the thread that sends what is left at the end still waits for the collector."""
    return "trace-flush" in {thread.name for thread in threading.enumerate()}


def test_durations_are_measured_with_or_without_traces(start: Callable[..., Telemetry]) -> None:
    metrics = SelfMetrics()
    telemetry = start(metrics)
    with telemetry.cycle("a"):
        for stage in STAGES:
            with telemetry.stage("a", stage):
                time.sleep(0.001)
    with pytest.raises(ZeroDivisionError), telemetry.cycle("a"), telemetry.stage("a", "score"):
        raise ZeroDivisionError
    telemetry.close(PATIENCE)
    sample = metrics.registry.get_sample_value
    assert sample("anomaly_exporter_cycle_duration_seconds_count", {"query": "a"}) == 2
    for stage in STAGES:
        labels = {"query": "a", "stage": stage}
        assert sample("anomaly_exporter_stage_duration_seconds_count", labels) == 1 + (stage == "score")
        assert (sample("anomaly_exporter_stage_duration_seconds_sum", labels) or 0) >= 0.001


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "there", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "there", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "there", "OTEL_TRACES_EXPORTER": "zipkin"},
    ],
)
def test_no_trace_is_sent_unless_asked_for(
    variables: dict[str, str], collector: Collector, start: Callable[..., Telemetry]
) -> None:
    variables = {name: text.replace("there", collector.address) for name, text in variables.items()}
    with capture_logs() as logged:
        telemetry = start(**variables)
        with telemetry.cycle("a"):
            pass
        telemetry.close(PATIENCE)
    assert collector.requests == []
    assert [line["event"] for line in logged] == ["trace_exporter_unknown"] * ("zipkin" in variables.values())


def test_missing_packages_are_one_clear_error_that_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from exporter.observe.metrics import SelfMetrics\n"
        "from exporter.observe.stages import Telemetry, TelemetryError\n"
        "Telemetry(SelfMetrics(), {})\n"
        "try: Telemetry(SelfMetrics(), {'OTEL_TRACES_EXPORTER': 'otlp'})\n"
        "except TelemetryError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "pip install 'anomaly-exporter[otel]'" in done.stdout
    assert "is not installed" in done.stdout
    assert issubclass(TelemetryError, Exception)


def test_an_unreachable_collector_is_one_warning_and_never_in_the_way(
    start: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing() as address:
        stream = io.StringIO()
        logs.configure(LogConfig(), stream)
        telemetry = start(
            OTEL_EXPORTER_OTLP_ENDPOINT=address,
            OTEL_BSP_SCHEDULE_DELAY="10",
            OTEL_EXPORTER_OTLP_TIMEOUT="2.5",
        )

        def warned() -> bool:
            with telemetry.cycle("a"):
                return "traces_not_sent" in stream.getvalue()

        eventually(warned)
        for _ in range(3000):  # more than the queue holds
            with telemetry.cycle("a"):
                pass
        telemetry.close(timeout=0.0)
        assert flushing(), "it has waited for the SDK's own shutdown, which may take 30 s"
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"]) == ("traces_not_sent", "warning")
    assert "refused" in event["error"]


def test_a_refusing_collector_is_one_warning_and_its_return_one_line(
    collector: Collector, start: Callable[..., Telemetry]
) -> None:
    with capture_logs() as logged:
        telemetry = start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.address, OTEL_BSP_SCHEDULE_DELAY="10")
        for status in (400, 200):
            collector.status, enough = status, len(collector.requests) + 4

            def sent(enough: int = enough) -> bool:
                with telemetry.cycle("a"):
                    return len(collector.requests) >= enough

            eventually(sent)
        telemetry.close(PATIENCE)
    assert [line["event"] for line in logged] == ["traces_not_sent", "traces_recovered"]


def test_a_hanging_collector_does_not_make_closing_hang(start: Callable[..., Telemetry]) -> None:
    with silent() as address:
        telemetry = start(OTEL_EXPORTER_OTLP_ENDPOINT=address)
        with telemetry.cycle("a"):
            pass
        telemetry.close(timeout=0.1)
        assert flushing(), "it has waited for the collector"
