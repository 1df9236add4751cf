"""The exporter's own past, as Prometheus keeps it: few queries, each over a few hours."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from detectors.types import Floats, Key
from exporter.config.sections.root import Config
from exporter.promql import format_duration, quote
from exporter.report.data import Incident, Period, ReportError
from exporter.source.errors import SourceError
from exporter.source.prometheus import Prometheus

OURS: Final = frozenset({"__name__", "query", "detector", "channel"})
"""Labels that are not the entity's."""
_AT_ONCE: Final = 6 * 3600.0
"""Seconds of history in one query: of 10,000 series scraped every minute that is 3.6 million samples to read."""
_HOUR: Final = 3600.0
_DAY: Final = 86_400.0
_LOOKBACK: Final = 180.0
"""Least seconds in which a sample is looked for: the page may be scraped less often than the job is judged."""
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
        return tuple(sorted(pair for pair in self.labels.items() if pair[0] not in OURS))


class History:
    """Asks for the past of the jobs `names` in `period`. What the answers lack is in `notes`.

    Every method raises ReportError when Prometheus does not answer.
    """

    def __init__(self, config: Config, names: Sequence[str], period: Period) -> None:
        self._config, self._period = config, period
        self._jobs = f"query=~{quote('|'.join(map(re.escape, names)))}"
        self._sources = {
            step: Prometheus(
                config.prometheus.model_copy(update={"max_points": max(2, round(_AT_ONCE / step))}), config.limits
            )
            for step in (period.step, _HOUR, _DAY)
        }
        self._curves = Prometheus(config.prometheus, config.limits)
        self.notes: dict[str, None] = {}

    def flags(self) -> list[Series]:
        """Return the steps in which entities were flagged; nothing of those that never were."""
        return self._ask(f"max_over_time(anomaly_flag{{{self._jobs}}}[{self._step}]) == 1")

    def alerts(self) -> list[Series]:
        """Return the steps in which alerts were on."""
        return self._ask(f"max_over_time(anomaly_alert{{{self._jobs}}}[{self._step}]) == 1")

    def publishes_alerts(self) -> set[str]:
        """Return the jobs that had `anomaly_alert` at all."""
        found = self._ask(f"count by (query) (last_over_time(anomaly_alert{{{self._jobs}}}[1h]))", _HOUR)
        return {series.labels.get("query", "") for series in found}

    def scores(self) -> list[Series]:
        """Return the highest score of each step, where it is above 1."""
        return self._ask(f"max_over_time(anomaly_score{{{self._jobs}}}[{self._step}]) > 1")

    def states(self) -> list[Series]:
        """Return the mean entities of each job and state in each step; a step without the exporter has no sample."""
        return self._ask(
            f"sum by (query, state) (avg_over_time(anomaly_exporter_series{{{self._jobs}}}[{self._step}]))"
        )

    def source_up(self) -> list[Series]:
        """Return 0 for each step in which a query of a job was not answered."""
        return self._ask(f"min by (query) (min_over_time(anomaly_exporter_source_up{{{self._jobs}}}[{self._step}]))")

    def counters(self) -> list[Series]:
        """Return the exporter's counters by the hour, as they stand."""
        names = (
            "retrains|drift_events|query_errors|cycles|series_dropped|samples_dropped|partial_responses"
            "|incidents_accepted|model_loads"
        )
        return self._ask(f'last_over_time({{__name__=~"anomaly_exporter_({names})_total",{self._jobs}}}[1h])', _HOUR)

    def gauges(self) -> list[Series]:
        """Return figures of backtests and times of training, by the day."""
        names = "backtest_.+|model_trained_timestamp_seconds"
        return self._ask(f'last_over_time({{__name__=~"anomaly_exporter_({names})",{self._jobs}}}[1d])', _DAY)

    def around(self, incident: Incident) -> tuple[Floats, list[Series]]:
        """Return times, and value, expected, band, flag and contribution of an entity around one of its incidents."""
        margin = min(max(incident.seconds, _HOUR), _DAY)
        start, end = incident.start - margin, min(incident.end + margin, self._period.end)
        step = max(self._config.jobs[incident.job].step, (end - start) / _MOST_POINTS)
        times = np.arange(np.ceil(start / step), np.floor(end / step) + 1) * step
        matchers = ",".join(f"{name}={quote(value)}" for name, value in (("query", incident.job), *incident.key))
        span = format_duration(max(step, _LOOKBACK))
        families = '__name__=~"anomaly_(value|expected|lower|upper|flag|contribution)"'
        found = self._read(
            self._curves, f"last_over_time({{{families},{matchers}}}[{span}])", times[0], times[-1], step
        )
        return times, found

    def close(self) -> None:
        """Close all connections."""
        for source in (*self._sources.values(), self._curves):
            source.close()

    @property
    def _step(self) -> str:
        # A range includes both of its ends: a whole step would count a sample that lies on the edge of two in both.
        return format_duration(self._period.step - 0.001)

    def _ask(self, expr: str, step: float | None = None) -> list[Series]:
        step = step or self._period.step
        # Aligned to the end: what is older than the first whole step is the smaller loss.
        count = int((self._period.end - self._period.start) / step + 1e-6)
        return self._read(self._sources[step], expr, self._period.end - (count - 1) * step, self._period.end, step)

    def _read(self, source: Prometheus, expr: str, start: float, end: float, step: float) -> list[Series]:
        try:
            frame = source.range(expr, start, end, step)
        except SourceError as error:
            raise ReportError(
                f"no report: Prometheus at {self._config.prometheus.url} does not tell the past of our metrics: {error}"
            ) from None
        for warning in frame.warnings:
            self.notes[f"Prometheus says that an answer may be partial: {warning}"] = None
        if frame.series_dropped.get("limit"):
            self.notes[
                "There were more series than limits.series lets in; entities are missing below. Report on fewer jobs "
                "with --job, or raise the limit."
            ] = None
        return list(_series(frame.labels, frame.counts.tolist(), frame.times, frame.values))


def _series(labels: Sequence[bytes], counts: Sequence[int], times: Floats, values: Floats) -> Iterable[Series]:
    at = 0
    for label, count in zip(labels, counts, strict=True):
        names = msgspec.json.decode(label, type=dict[str, str])
        yield Series(names, times[at : at + count], values[at : at + count])
        at += count
