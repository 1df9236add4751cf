"""Metrics sent over OTLP/HTTP by the OpenTelemetry SDK, an extra: import this module only where that is asked for."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric as Family
from prometheus_client.samples import Sample as OwnSample

from detectors.types import Key
from exporter import __version__
from exporter.label_names import ALLOW_UTF8
from exporter.observe.metrics import SelfMetrics
from exporter.observe.tracing import SERVICE, FirstWords, note_protocol, ours
from exporter.sinks.joint_book import Joined
from exporter.sinks.pushed_samples import JobSamples
from exporter.sinks.pusher import Pusher
from exporter.sinks.remote_write_message import Sample

log = structlog.get_logger()

_MOST: Final = 5000
"""Samples of one request: they are some hundred bytes each, in memory many times that."""
_INTERVAL: Final = 60_000.0
"""Milliseconds between two samples of our own metrics, where OTEL_METRIC_EXPORT_INTERVAL does not say."""
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_SCOPE: Final = InstrumentationScope(SERVICE, __version__)


class Sender(Pusher):
    """Sends verdicts when they come, and our own metrics now and then.

    What cannot be sent is counted and dropped: the next cycle has newer values. A series that ends is sent no more, as
    this SDK has no mark for it.

    Parameters
    ----------
    metrics : SelfMetrics
    joined : callable taking the name of a job
        Returns by series which joint incident it belongs to.
    """

    def __init__(self, metrics: SelfMetrics, joined: Callable[[str], Mapping[Key, Joined]]) -> None:
        super().__init__("otlp", metrics)
        note_protocol("METRICS")
        self._metrics, self._samples = metrics, JobSamples(joined)
        self._exporter, self._resource = OTLPMetricExporter(), ours()
        self._words, self._failing = FirstWords.of_the_sdk(), False
        self._every, self._own_due = _interval(), 0.0
        self._began = time.time_ns()

    def _due(self) -> float | None:
        return self._own_due

    def _push(self) -> None:
        for job, news in dict(self.news()).items():
            if news is None:
                self._samples.forget(job)
            else:
                self._send(_gauges(self._samples.of(*news, ALLOW_UTF8)))
        if time.monotonic() >= self._own_due or self.closing:
            self._own_due = time.monotonic() + self._every
            self._send(self._own())

    def _send(self, metrics: Iterable[Metric]) -> None:
        waiting: list[Metric] = []
        for metric in metrics:
            waiting.append(metric)
            if sum(len(each.data.data_points) for each in waiting) >= _MOST:
                self._export(waiting)
                waiting = []
        if waiting:
            self._export(waiting)

    def _export(self, metrics: list[Metric]) -> None:
        scope = ScopeMetrics(_SCOPE, metrics, "")
        self._words.text = ""
        result = self._exporter.export(MetricsData([ResourceMetrics(self._resource, [scope], "")]))
        failed = result is not MetricExportResult.SUCCESS
        count = sum(len(each.data.data_points) for each in metrics)
        self._metrics.otlp_points.labels("failed" if failed else "sent").inc(count)
        if failed and not self._failing:
            log.warning("otlp_metrics_not_sent", error=self._words.text, hint="dropped until the collector takes them")
        elif self._failing and not failed:
            log.info("otlp_metrics_recovered")
        self._failing = failed

    def _own(self) -> Iterator[Metric]:
        now = time.time_ns()
        for family in self._metrics.registry.collect():
            if family.type == "histogram":
                points = list(_histograms(family, self._began, now))
                yield Metric(family.name, family.documentation, "", Histogram(points, _CUMULATIVE))
                continue
            numbers = [NumberDataPoint(each.labels, self._began, now, each.value) for each in family.samples]
            if numbers and family.type == "counter":
                name = family.samples[0].name  # with _total, as on the page
                yield Metric(name, family.documentation, "", Sum(numbers, _CUMULATIVE, is_monotonic=True))
            elif numbers:
                yield Metric(family.name, family.documentation, "", Gauge(numbers))


def _interval() -> float:
    try:
        asked = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", ""))
    except ValueError:
        asked = _INTERVAL
    return (asked if asked > 0 and math.isfinite(asked) else _INTERVAL) / 1000


def _gauges(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Yield the samples by metric, in parts of `_MOST` at most."""
    for (name, metadata), group in groupby(samples, lambda each: (dict(each.labels)["__name__"], each.metadata)):
        while part := [
            NumberDataPoint(_attributes(each), 0, each.time * 1_000_000, each.value) for each in islice(group, _MOST)
        ]:
            yield Metric(name, metadata.help, "", Gauge(part))


def _attributes(sample: Sample) -> dict[str, str]:
    return {name: value for name, value in sample.labels if name != "__name__"}


def _histograms(family: Family, began: int, now: int) -> Iterator[HistogramDataPoint]:
    """Yield a point for each set of labels; Prometheus counts what is below each bound, OTLP what is between two."""

    def labels(sample: OwnSample) -> dict[str, str]:
        return {name: value for name, value in sample.labels.items() if name != "le"}

    for found, group in groupby(family.samples, labels):
        samples = list(group)
        buckets = [(float(each.labels["le"]), each.value) for each in samples if each.name.endswith("_bucket")]
        total = next(each.value for each in samples if each.name.endswith("_sum"))
        below = [count for _, count in buckets]
        between = [int(high - low) for low, high in zip([0.0, *below], below, strict=False)]
        yield HistogramDataPoint(
            found,
            began,
            now,
            int(below[-1]),
            total,
            between,
            [bound for bound, _ in buckets if bound != math.inf],
            min=None,  # type: ignore[arg-type]  # optional in OTLP; prometheus_client does not know it
            max=None,  # type: ignore[arg-type]
        )
