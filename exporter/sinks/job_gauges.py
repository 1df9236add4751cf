"""How a job stands, as metrics: its entities by state, the share that is flagged, the share within the band."""

import threading

import numpy as np

from exporter.config.sections.job import JobConfig
from exporter.observe.metrics import STATES, SelfMetrics
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
        ratio = float(verdict.flag.mean()) if verdict.flag.size else float("nan")
        with self._lock:
            if self._shown.get(job, (detector, 0))[0] != detector:  # a reload has given the job another detector
                self._metrics.series.remove_by_labels({"query": job})
                self._drop_ratios(job)
            self._shown[job] = detector, len(verdict.keys)
            for state in STATES:
                self._metrics.series.labels(job, detector, state).set(verdict.states.get(state, 0))
            self._metrics.flagged_ratio.labels(job, detector).set(ratio)
            self._metrics.band_coverage.labels(job, detector).set(coverage(verdict))

    def warm(self, job: str, detector: str, entities: int) -> None:
        """Call all entities of a job warming."""
        with self._lock:
            self._set_all(job, detector, entities, "warming")

    def withdraw(self, job: str) -> None:
        """Call all entities of a job stale, so that nothing looks healthy."""
        with self._lock:
            if (shown := self._shown.pop(job, None)) is not None:
                self._set_all(job, *shown, "stale")
                self._drop_ratios(job)

    def _set_all(self, job: str, detector: str, entities: int, state: str) -> None:
        for each in STATES:
            self._metrics.series.labels(job, detector, each).set(entities if each == state else 0)

    def _drop_ratios(self, job: str) -> None:
        self._metrics.flagged_ratio.remove_by_labels({"query": job})
        self._metrics.band_coverage.remove_by_labels({"query": job})


def coverage(verdict: Verdict) -> float:
    """Return the share of samples within their band, of those that have both; NaN where none has."""
    banded = ~np.isnan(verdict.values) & ~np.isnan(verdict.lower) & ~np.isnan(verdict.upper)
    within = (verdict.values >= verdict.lower) & (verdict.values <= verdict.upper)
    return float(within[banded].mean()) if banded.any() else float("nan")
