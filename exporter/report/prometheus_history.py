"""Queries Prometheus for the history of the exporter's metrics: few queries, each over a few hours."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from detectors.types import Floats, Key
from detectors.units import DAY, HOUR
from exporter.config.sections.root import Config
from exporter.promql import format_duration, quote
from exporter.report.data import Incident, Period, ReportError
from exporter.source.adaptive import read_whole
from exporter.source.errors import SourceError
from exporter.source.prometheus import Prometheus

_OURS: Final = frozenset({"__name__", "query", "detector", "channel"})
"""Labels that the exporter adds to those of the entity."""
_CHUNK: Final = 6 * HOUR
"""Seconds of history in one query: of 10,000 series scraped every minute that is 3.6 million samples to read."""
_LOOKBACK: Final = 180.0
"""Seconds, at least, in which a sample is looked for: scrapes may be rarer than the steps of a job."""
_MOST_POINTS: Final = 600


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series: labels, with `__name__` where the query kept it, and samples (Unix seconds), shape (N,) each."""

    labels: dict[str, str]
    times: Floats
    values: Floats

    @property
    def key(self) -> Key:
        """The labels of the entity."""
        return tuple(sorted(pair for pair in self.labels.items() if pair[0] not in _OURS))


class History:
    """Queries the history of the jobs `names` in `period`; `notes` lists what is missing in the answers.

    Every method that queries raises ReportError when Prometheus does not answer.
    """

    def __init__(self, config: Config, names: Sequence[str], period: Period) -> None:
        self._config, self._period = config, period
        self._jobs = f"query=~{quote('|'.join(map(re.escape, names)))}"
        self._source = Prometheus(config.prometheus, config.limits)
        self.notes: dict[str, None] = {}

    def flags(self) -> list[Series]:
        """Return the steps in which entities were flagged, and nothing for an entity that never was."""
        return self._ask(f"max_over_time(anomaly_flag{{{self._jobs}}}[{self._step}]) == 1")

    def alerts(self) -> list[Series]:
        """Return the steps in which alerts were active."""
        return self._ask(f"max_over_time(anomaly_alert{{{self._jobs}}}[{self._step}]) == 1")

    def publishes_alerts(self) -> set[str]:
        """Return the jobs that published `anomaly_alert` at some time."""
        found = self._ask(f"count by (query) (last_over_time(anomaly_alert{{{self._jobs}}}[1h]))", HOUR)
        return {series.labels.get("query", "") for series in found}

    def scores(self) -> list[Series]:
        """Return the highest score of each step, where it is above 1."""
        return self._ask(f"max_over_time(anomaly_score{{{self._jobs}}}[{self._step}]) > 1")

    def states(self) -> list[Series]:
        """Return the mean number of entities by job, state and step; without the exporter a step has no sample."""
        return self._ask(
            f"sum by (query, state) (avg_over_time(anomaly_exporter_series{{{self._jobs}}}[{self._step}]))"
        )

    def source_up(self) -> list[Series]:
        """Return by job 0 for each step in which the source left a query unanswered, else 1."""
        return self._ask(f"min by (query) (min_over_time(anomaly_exporter_source_up{{{self._jobs}}}[{self._step}]))")

    def counters(self) -> list[Series]:
        """Return the values of the exporter's counters, one each hour."""
        names = (
            "retrains|drift_events|query_errors|cycles|series_dropped|samples_dropped|partial_responses"
            "|incidents_accepted|model_loads"
        )
        return self._ask(f'last_over_time({{__name__=~"anomaly_exporter_({names})_total",{self._jobs}}}[1h])', HOUR)

    def gauges(self) -> list[Series]:
        """Return quality metrics of backtests and times of training, one each day."""
        names = "backtest_.+|model_trained_timestamp_seconds"
        return self._ask(f'last_over_time({{__name__=~"anomaly_exporter_({names})",{self._jobs}}}[1d])', DAY)

    def around(self, incident: Incident) -> tuple[Floats, list[Series]]:
        """Return times around an incident, and the value, expectation, band, flag and contribution of its entity."""
        margin = min(max(incident.seconds, HOUR), DAY)
        start, end = incident.start - margin, min(incident.end + margin, self._period.end)
        step = max(self._config.jobs[incident.job].step, (end - start) / _MOST_POINTS)
        times = np.arange(np.ceil(start / step), np.floor(end / step) + 1) * step
        matchers = ",".join(f"{name}={quote(value)}" for name, value in (("query", incident.job), *incident.key))
        span = format_duration(max(step, _LOOKBACK))
        families = '__name__=~"anomaly_(value|expected|lower|upper|flag|contribution)"'
        found = self._read(f"last_over_time({{{families},{matchers}}}[{span}])", times[0], times[-1], step)
        return times, found

    def close(self) -> None:
        """Close all connections."""
        self._source.close()

    @property
    def _step(self) -> str:
        # A range includes both of its ends: a whole step would count a sample on the edge between two steps twice.
        return format_duration(self._period.step - 0.001)

    def _ask(self, expr: str, step: float | None = None) -> list[Series]:
        step = step or self._period.step
        # Aligned to the end: it is the oldest part of a step that is lost.
        count = max(int((self._period.end - self._period.start) / step + 1e-6), 1)
        start = self._period.end - (count - 1) * step
        return self._read(expr, start, self._period.end, step, max(2, round(_CHUNK / step)))

    def _read(self, expr: str, start: float, end: float, step: float, at_once: int = _MOST_POINTS) -> list[Series]:
        try:
            frame, gaps = read_whole(self._source, expr, start, end, step, at_once=at_once)
        except SourceError as error:
            raise ReportError(
                f"no report: Prometheus at {self._config.prometheus.url} did not return the history of the exporter's "
                f"metrics: {error}"
            ) from None
        for gap in gaps:
            self.notes[f"Prometheus did not answer for {gap.count} steps; they are missing below: {gap.error.what}"] = (
                None
            )
        for warning in frame.warnings:
            self.notes[f"Prometheus says that an answer may be partial: {warning}"] = None
        if frame.series_dropped.get("limit"):
            self.notes[
                "There were more series than limits.series lets in; entities are missing below. Report on fewer jobs "
                "with --job, or raise the limit."
            ] = None
        return list(_series(frame.labels, frame.counts.tolist(), frame.times, frame.values))


def _series(labels: Sequence[bytes], counts: Sequence[int], times: Floats, values: Floats) -> Iterable[Series]:
    """Split the samples of all series, which lie one behind the other."""
    at = 0
    for label, count in zip(labels, counts, strict=True):
        names = msgspec.json.decode(label, type=dict[str, str])
        yield Series(names, times[at : at + count], values[at : at + count])
        at += count
