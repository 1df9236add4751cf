"""`python -m tests.bench.growth`: how the CPU of a cycle grows with series, window, channels and gauges.

A cycle decodes an answer that is in memory, judges it and renders the page: all but the socket. One thing is changed at
a time. The picture, both axes logarithmic, goes to docs/images/growth.png, the table to standard output and build/.
"""

import logging
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Final

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # before numpy

import matplotlib as mpl
import msgspec
import numpy as np
import structlog

from exporter.config.sections.job import JobConfig
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.sinks.metrics_page import Page
from exporter.source.decode import Limits
from exporter.source.decode_repeat import RepeatDecoder
from exporter.source.samples import RangeResult
from tests.bench.history import STEP, labels
from tests.bench.report import ROOT, machine, say, seconds, show
from tests.support.fake import DIGESTS, recorded

PICTURE: Final = ROOT / "docs" / "images" / "growth.png"
FIRST: Final = 29_900_000 * STEP
LIMITS: Final = Limits(10**6, 10**9, 10**9)
GAUGES: Final = ("lower", "upper", "value", "expected", "alert", "severity")
"""Gauges in the order in which they are added; score and flag are always there."""
DETECTORS: Final = ("robust", "auto")
YOUNG: Final = 35
"""Minutes that `auto` has learnt before its cycles are measured: then it judges."""
ROUNDS: Final = 5


@dataclass(frozen=True)
class Case:
    """What is measured."""

    detector: str
    series: int = 10_000
    window: int = 60
    channels: int = 1
    gauges: int = 4


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a cycle, and bytes of all answers and of the page."""

    cpu: float
    read: int
    written: int


@dataclass
class Answers:
    """A source whose answers for one sample are text to be decoded; the seconds that making it takes are `apart`."""

    case: Case
    samples: int
    apart: float = 0.0
    read: int = 0
    _repeat: RepeatDecoder = field(default_factory=RepeatDecoder)

    def __post_init__(self) -> None:
        self._labels = [msgspec.json.encode(labels(number)) for number in range(self.case.series)]
        shape = self.case.channels, self.case.series, self.samples
        self._values = np.random.default_rng(1).normal(100, 3, shape).round(4)

    def range(
        self,
        expr: str,
        start: float,
        end: float,
        step: float,
        max_series: int | None = None,  # a source has it
    ) -> RangeResult:
        """Answer a query for the samples from `start` to `end`."""
        began = time.process_time()
        first, last = (max(round((at - FIRST) / step), 0) for at in (start, end))
        values = self._values[int(expr[1:]), :, first : last + 1]
        if values.shape[1] > 1:
            times = np.tile(FIRST + step * np.arange(first, first + values.shape[1]), len(values))
            counts = np.full(len(values), values.shape[1])
            frame = RangeResult(self._labels, counts, times, values.reshape(-1))
            self._repeat.remember(expr, LIMITS, frame)
            return frame
        texts = map(str.encode, map(repr, values[:, 0].tolist()))
        middle = b',"values":[[%d,"' % end
        series = b'"]]},{"metric":'.join(a + middle + b for a, b in zip(self._labels, texts, strict=True))
        body = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":' + series + b'"]]}]}}'
        self.apart += time.process_time() - began
        self.read += len(body)
        found = self._repeat.decode(expr, LIMITS, body, end)
        assert found is not None
        return found

    def metric_types(self, names: Sequence[str]) -> dict[str, str]:
        """Know of no counters."""
        return {}


def measure(case: Case) -> Cost:
    """Return what a steady cycle costs, the median of some."""
    before = max(case.window, YOUNG)
    config = JobConfig(
        channels={f"c{number}": f"c{number}" for number in range(case.channels)},
        detector=case.detector,
        publish=frozenset(GAUGES[: case.gauges - 2]),
        window=case.window * STEP,
        history=before * STEP if case.detector == "auto" else None,
    )
    source, metrics = Answers(case, before + ROUNDS + 3), SelfMetrics()
    job = Job(JobSettings("bench", config, DIGESTS), source, recorded(metrics, config, "bench"))
    page, spent = Page(metrics), []
    now = FIRST + before * STEP
    if case.detector != "auto":
        job.learnt.judged = now - STEP
    for turn in range(ROUNDS + 3):
        source.apart, source.read, began = 0.0, 0, time.process_time()
        for verdict in evaluate(job, now + turn * STEP):
            page.publish(verdict, config.publish)
            page.render()
            for _ in page.current.pieces():  # it is written as it is read
                pass
        spent.append(time.process_time() - began - source.apart)
    assert len(verdict.keys) == case.series
    assert np.isfinite(verdict.score).all()
    return Cost(median(spent[3:]), source.read, page.current.size)


AXES: Final = {
    "series": (100, 1_000, 10_000, 100_000),
    "window": (30, 60, 240, 960),
    "channels": (1, 2, 4, 8, 16),
    "gauges": (2, 4, 6, 8),
}


def main() -> None:
    """Measure, draw and print."""
    warnings.simplefilter("ignore")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    found: dict[tuple[str, str], list[tuple[int, Cost]]] = {}
    for axis, values in AXES.items():
        for detector in DETECTORS:
            line = found.setdefault((axis, detector), [])
            for value in values:
                case = replace(Case(detector), **{axis: value})
                line.append((value, measure(case)))
                say(f"{case}: {seconds(line[-1][1].cpu)}")
    rows = [
        (
            f"{axis} {value:,}",
            detector,
            seconds(cost.cpu),
            seconds(cost.cpu / (value if axis == "series" else Case.series)),
            f"{cost.read / 1e6:.3g} MB",
            f"{cost.written / 1e6:.3g} MB",
        )
        for (axis, detector), line in found.items()
        for value, cost in line
    ]
    path = ROOT / "build" / "bench-growth.md"
    show(("changed", "detector", "CPU of a cycle", "of a series", "bytes in", "bytes out"), rows, path)
    draw(found, PICTURE)
    say(f"written to {path} and {PICTURE}")


def draw(found: dict[tuple[str, str], list[tuple[int, Cost]]], path: Path) -> None:
    """Draw one picture for each thing that was changed."""
    mpl.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(AXES), figsize=(13, 3.6), sharey=True, layout="constrained")
    for at, (axis, values) in zip(axes, AXES.items(), strict=True):
        for detector, marker in zip(DETECTORS, "os", strict=True):
            at.loglog(values, [1000 * cost.cpu for _, cost in found[axis, detector]], marker=marker, label=detector)
        at.set_xlabel(axis if axis == "series" else f"{axis}, at {Case.series:,} series")
        at.set_xticks(values, [f"{value:,}" for value in values])
        at.minorticks_off()
        at.grid(alpha=0.3)
    axes[0].set_ylabel("CPU of a cycle, ms")
    axes[0].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    for about in machine():
        say(about)
    main()
