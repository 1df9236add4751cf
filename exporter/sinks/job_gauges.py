"""How a job stands, as metrics: its entities by state, the share that is flagged, the share within the band."""

import threading

import numpy as np

from exporter.config.sections.job import JobConfig
from exporter.observe.job_metrics import JobMetrics
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import NewestVerdict


class JobGauges(NewestVerdict):
    """Sets the gauges that follow from the newest verdict of a job."""

    def __init__(self, metrics: SelfMetrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[str, int]] = {}  # detector and number of entities by job

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Set the gauges of a job."""
        del config
        job, detector = verdict.job, verdict.detector
        metrics = JobMetrics(self._metrics, job, detector)
        with self._lock:
            if self._shown.get(job, (detector, 0))[0] != detector:  # a reload has given the job another detector
                metrics.entities_withdrawn()
                metrics.ratios_withdrawn()
            self._shown[job] = detector, len(verdict.keys)
            metrics.entities(verdict.states)
            metrics.flagged(float(verdict.flag.mean()) if verdict.flag.size else float("nan"))
            metrics.expected(0 if verdict.hidden is None else int(verdict.hidden.sum()))
            metrics.within_band(coverage(verdict))
            metrics.forecasts({} if verdict.reaches is None else verdict.reaches.states)

    def show_first(self, verdict: Verdict, config: JobConfig) -> None:
        """Take over the verdict of a first look."""
        self.show(verdict, config)

    def warm(self, job: str, detector: str, entities: int) -> None:
        """Call all entities of a job warming."""
        with self._lock:
            JobMetrics(self._metrics, job, detector).entities({"warming": entities})

    def withdraw(self, job: str) -> None:
        """Call all entities of a job stale, so that nothing looks healthy."""
        with self._lock:
            if (shown := self._shown.pop(job, None)) is not None:
                detector, entities = shown
                metrics = JobMetrics(self._metrics, job, detector)
                metrics.entities({"stale": entities})
                metrics.forecasts({})
                metrics.ratios_withdrawn()


def coverage(verdict: Verdict) -> float:
    """Return the share of samples within their band, of those that have one; NaN where none has."""
    banded = ~np.isnan(verdict.values) & ~(np.isnan(verdict.lower) & np.isnan(verdict.upper))
    beyond = (verdict.values < verdict.lower) | (verdict.values > verdict.upper)  # NaN is no limit
    return float(1.0 - beyond[banded].mean()) if banded.any() else float("nan")
