"""A source in memory: the edge at which Prometheus is replaced in tests of the cycle's parts."""

import json
import math

import numpy as np

from exporter.config.digest import JobDigests
from exporter.config.sections.job import JobConfig
from exporter.observe.job_metrics import JobMetrics
from exporter.observe.metrics import SelfMetrics
from exporter.source.samples import RangeResult

DIGESTS = JobDigests("learning", "deciding")
Samples = dict[float, float]


def recorded(metrics: SelfMetrics, config: JobConfig, job: str = "job") -> JobMetrics:
    """Return the metrics of a job on a page."""
    return JobMetrics(metrics, job, config.detector_name)


class FakeSource:
    """Answers every expression with the series stored under it: {expr: {labels as JSON: {time: value}}}."""

    def __init__(self, series: dict[str, dict[str, Samples]] | None = None) -> None:
        self.series = series or {}
        self.asked: list[tuple[str, float, float]] = []
        self.error: Exception | None = None
        self.warnings: tuple[str, ...] = ()
        self.types: dict[str, str] = {}

    def put(self, expr: str, labels: dict[str, str], samples: Samples) -> None:
        """Add samples to a series."""
        self.series.setdefault(expr, {}).setdefault(json.dumps(labels), {}).update(samples)

    def range(self, expr, start, end, step, max_series=None) -> RangeResult:
        self.asked.append((expr, start, end))
        if self.error is not None:
            raise self.error
        labels, counts, times, values = [], [], [], []
        for name, samples in self.series.get(expr, {}).items():
            inside = {t: v for t, v in samples.items() if start <= t <= end and math.remainder(t - start, step) == 0}
            if inside:
                labels.append(name.encode())
                counts.append(len(inside))
                times += inside.keys()
                values += inside.values()
        return RangeResult(
            labels, np.array(counts, np.int64), np.array(times, float), np.array(values, float), self.warnings
        )

    def metric_types(self, names) -> dict[str, str]:
        return {name: self.types[name] for name in names if name in self.types}
