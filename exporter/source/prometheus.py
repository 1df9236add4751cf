"""Prometheus, Thanos, Mimir or VictoriaMetrics behind one class: range queries and metric types."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import numpy as np
from prometheus_api_client import PrometheusConnect

from exporter.config.sections.source import LimitsConfig, PrometheusConfig
from exporter.json_values import from_json
from exporter.source.decode import DecodedChunk, Limits, decode
from exporter.source.decode_repeat import RepeatDecoder
from exporter.source.errors import BadAnswer, NoNumbers, SourceError, TooManyPoints
from exporter.source.histograms import ONLY_HISTOGRAMS, only_histograms, remedy
from exporter.source.http_session import Session
from exporter.source.meanwhile import meanwhile
from exporter.source.pace import Pace
from exporter.source.samples import RangeResult, last_of, merge

T = TypeVar("T")

_NO_OFFSET: Final = {"latency_offset": "1ms"}
"""VictoriaMetrics repeats an older sample, or leaves out what is younger than 30 s, where `step` is below a minute. It
refuses less than a millisecond; other servers ignore the field."""
_WITH_STATISTICS: Final = {"stats": "true"}
"""Prometheus, Thanos and Mimir tell how many samples they have read; other servers ignore the field."""


class Prometheus:
    """A source of samples. Safe to use from several threads.

    PrometheusConnect asks for metadata; range queries go through the same session, but their answers are decoded from
    the raw bytes, ten times faster than it would.

    Parameters
    ----------
    config : PrometheusConfig
    limits : LimitsConfig
        Most series and samples taken from one query.
    pace : Pace or None
        Says when jobs may ask about the past; None: at any time.
    """

    def __init__(self, config: PrometheusConfig, limits: LimitsConfig, pace: Pace | None = None) -> None:
        self._config, self._limits, self.pace = config, limits, pace
        self._session = Session(config)
        self._connect = PrometheusConnect(config.url, session=self._session)
        self._steady = RepeatDecoder()
        self._answers_alone: dict[str, bool] = {}
        """By query, whether an answer to one time held a series; False: only an answer to two did."""

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        """Evaluate `expr` at start, start + step, … up to and including `end` (Unix seconds).

        A range of more points than `max_points`, or than the source accepts, is split; each query has the whole
        deadline to itself. At most `max_series` series are kept (None: the configured limit). Raises SourceError.
        """
        points = math.floor((end - start) / step + 1e-6) + 1
        if points < 1:
            return RangeResult([], np.empty(0, np.int64), np.empty(0), np.empty(0))
        limits = Limits(max_series or self._limits.series, self._limits.samples, points)
        frame = self._newest(expr, start, step, limits) if points == 1 else self._history(expr, start, step, limits)
        if only_histograms(frame):
            if points == 1:
                raise NoNumbers(ONLY_HISTOGRAMS, remedy(expr))
            frame = replace(frame, notes=(*frame.notes, f"{ONLY_HISTOGRAMS}; {remedy(expr)}"))
        self._steady.remember(expr, limits, frame)
        return frame

    def _newest(self, expr: str, time: float, step: float, limits: Limits) -> RangeResult:
        """Return the samples of one time. Some query frontends answer nothing then: they are asked for two times."""

        def read(body: bytes) -> RangeResult:
            known = self._steady.decode(expr, limits, body, time)
            return known or merge([_part(body, time, step, limits, self._steady.labels(expr, limits))], limits)

        alone = self._answers_alone.get(expr)
        retries = 0
        if alone is not False:
            frame, retries = self._ask(expr, time, time, step, read)
            if frame.labels:
                self._answers_alone[expr] = True
            if frame.labels or alone or frame.series_dropped:
                return replace(frame, retries=retries)
        of_two = self._history(expr, time - step, step, replace(limits, points=2))
        frame = last_of(of_two, time - step / 2)
        if frame.labels:
            self._answers_alone[expr] = False
        return replace(frame, retries=retries + frame.retries)

    def _history(self, expr: str, start: float, step: float, limits: Limits) -> RangeResult:
        most = self._config.max_points
        parts: list[DecodedChunk] = []
        retries = done = 0
        try:
            while done < limits.points:
                size = min(most, limits.points - done)
                first, asked = start + done * step, replace(limits, points=size)
                known = self._steady.labels(expr, limits)
                read = partial(_part, start=first, step=step, limits=asked, known=known)
                try:
                    part, again = self._ask(expr, first, first + (size - 1) * step, step, read)
                except TooManyPoints as error:
                    if not 1 < error.points < size:
                        raise
                    most = error.points
                    continue
                parts.append(part)
                retries += again
                done += size
        except SourceError as error:
            error.retries += retries
            raise
        return replace(merge(parts, limits), retries=retries)

    def _ask(self, expr: str, start: float, end: float, step: float, read: Callable[[bytes], T]) -> tuple[T, int]:
        """Return what `read` makes of the answer, and the number of retries it took. Raises SourceError."""
        # A form in the body, because long queries do not fit into a URL.
        form = {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        form |= _NO_OFFSET | _WITH_STATISTICS
        url = f"{self._config.url}/api/v1/query_range"
        return self._session.persist(lambda: read(self._session.attempt("POST", url, data=form).content))

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        """Return the type (`counter`, `gauge`, `histogram`, …) of each metric that the source's metadata knows.

        A metric is left out when the metadata does not know it or when targets disagree. Raises SourceError.
        """
        types = {name: set(self._types(name)) for name in dict.fromkeys(names)}
        return {name: found.pop() for name, found in types.items() if len(found) == 1}

    def _types(self, name: str) -> Iterator[str]:
        try:
            for row in self._connect.get_metric_metadata(name):
                if row["metric_name"] == name and isinstance(row["type"], str):
                    yield row["type"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadAnswer("the source's metadata API sent something else than Prometheus would") from None

    def metrics(self) -> list[tuple[str, str, str]]:
        """Return name, type and help of every metric, "" where the metadata do not know them. Raises SourceError."""
        names, known = self._data("label/__name__/values"), self._data("metadata")
        try:
            types = {name: (str(rows[0]["type"]), str(rows[0]["help"])) for name, rows in known.items()}
            return [(name, *_described(name, types)) for name in sorted(map(str, names))]
        except (AttributeError, KeyError, IndexError, TypeError):
            raise BadAnswer("the source's metadata API sent something else than Prometheus would") from None

    def label_values(self, label: str, selectors: Sequence[str], start: float, end: float) -> list[str]:
        """Return the values that `label` has in the series of `selectors` from `start` to `end` (Unix seconds).

        The source may add values of series without a sample in that time. Raises SourceError.
        """
        asked = {"match[]": list(selectors), "start": f"{start:.3f}", "end": f"{end:.3f}"}
        found = self._data(f"label/{quote(label, safe='')}/values?{urlencode(asked, doseq=True)}")
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise BadAnswer("the source's label values API sent something else than Prometheus would")
        return found

    def forget(self, expr: str) -> None:
        """Forget what is known of a query that will not be asked again."""
        self._answers_alone.pop(expr, None)
        self._steady.forget(expr)

    def _data(self, what: str) -> Any:
        """Return what is in an answer of the source's API. Raises SourceError."""
        url = f"{self._config.url}/api/v1/{what}"
        with meanwhile(None):  # these are quick: what there is to do is left for a query
            answer, _ = self._session.persist(lambda: self._session.attempt("GET", url).content)
        try:
            return from_json(answer)["data"]
        except (ValueError, KeyError, TypeError):
            raise BadAnswer("the source's metadata API sent something else than Prometheus would") from None

    def close(self) -> None:
        """Close all connections."""
        self._session.close()


def _described(name: str, types: dict[str, tuple[str, str]]) -> tuple[str, str]:
    """Return type and help of a metric; those of histograms and summaries are known without the name's ending."""
    for end in ("", "_bucket", "_count", "_sum", "_total"):
        if name.endswith(end) and (found := types.get(name.removesuffix(end))) is not None:
            kind, about = found
            return ("counter" if end in {"_bucket", "_count", "_sum"} else kind), about
    return "", ""


def _part(body: bytes, start: float, step: float, limits: Limits, known: list[bytes]) -> DecodedChunk:
    part = decode(body, limits, known)
    end = start + (limits.points - 1) * step
    if part.times.size and not start - step <= part.times.min() <= part.times.max() <= end + step:
        raise BadAnswer("the source sent samples from outside the asked range; is a cache in between broken?")
    return part
