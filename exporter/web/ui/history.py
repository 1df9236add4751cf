"""What the source knows of one series over time: our own gauges if it scrapes them, else the values that we judge."""

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from detectors.types import Floats, Key
from exporter.label_names import is_classic, possible_keys
from exporter.pipeline.series_rows import LABELS
from exporter.promql import bare_selector, format_duration, label_name, quote
from exporter.source.samples import RangeResult
from exporter.web.ui.facts import Read

_WIDE: Final = ("value", "expected", "lower", "upper")
_NARROW: Final = ("score", "flag", "alert")
FAMILIES: Final = (*_WIDE, *_NARROW)
_OURS: Final = frozenset({"__name__", "query", "detector", "channel"})
_LOOKBACK: Final = 180.0
"""Seconds, at least, in which a sample is looked for: scrapes may be rarer than the steps of a job."""
_FRESH: Final = 15.0
"""Seconds for which an answer is given again."""
_REMEMBERED: Final = 32


class History:
    """Asks the source for the pages. To be used by one thread at a time: the cycles come first.

    Parameters
    ----------
    read : Read
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: OrderedDict[tuple[str, float, float, float], tuple[float, RangeResult]] = OrderedDict()

    def ask(self, expr: str, start: float, end: float, step: float) -> RangeResult:
        """Return the answer to a range query; the same one again for a few seconds. Raises SourceError."""
        question = expr, start, end, step
        if (found := self._known.get(question)) is not None and time.monotonic() - found[0] < _FRESH:
            return found[1]
        answer = self._read(*question)
        self._known[question] = time.monotonic(), answer
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return answer

    def published(
        self, job: str, key: Key, channels: Sequence[str], start: float, end: float, step: float, finest: float
    ) -> tuple[Floats, dict[str, Floats]]:
        """Return times, shape (N,), and what was published of a series by family.

        `finest` is the job's own step: of coarser ones score, flag and alert are the highest within the step.

        Families by channel have the shape (N, C), the others (N,); what was never published is not there.
        Raises SourceError, ValueError for labels that the source cannot have.
        """
        times = _grid(start, end, step)
        found: dict[str, Floats] = {}
        for family, channel, values in self._published(job, key, times, step, finest):
            if family in _NARROW:
                of_family = found.setdefault(family, np.full(len(times), np.nan))
            else:
                named = channel or (channels[0] if len(channels) == 1 else "")
                if named not in channels:
                    continue
                wide = found.setdefault(family, np.full((len(times), len(channels)), np.nan))
                of_family = wide[:, list(channels).index(named)]
            np.copyto(of_family, values, where=np.isnan(of_family))  # another detector judged it before
        return times, found

    def _published(
        self, job: str, key: Key, times: Floats, step: float, finest: float
    ) -> Iterator[tuple[str, str, Floats]]:
        """Yield family, channel ("" without one) and values of every published series."""
        known = tuple((name, value) for name, value in key if is_classic(name))  # what every form has
        matchers = "".join(f",{_scraped(name)}={quote(value)}" for name, value in known)
        selector, wanted = f"query={quote(job)}{matchers}", {*map(_judged_key, possible_keys(key)), tuple(sorted(key))}
        lookback, ends = format_duration(max(step, _LOOKBACK)), _ends(times)
        coarse = step > finest
        names = "|".join(_WIDE if coarse else FAMILIES)
        newest = self.ask(f'last_over_time({{__name__=~"anomaly_({names})",{selector}}}[{lookback}])', *ends, step)
        answers = [("", newest)]
        if coarse:  # an incident that is shorter than a step must not fall between two samples
            for family in _NARROW:  # one by one: max_over_time leaves no name to tell them apart
                highest = f"max_over_time(anomaly_{family}{{{selector}}}[{format_duration(step)}])"
                answers.append((family, self.ask(highest, *ends, step)))
        for family, answer in answers:
            for labels, values in _series(answer, times):
                name = family or labels.get("__name__", "").removeprefix("anomaly_")
                if name in FAMILIES and _key(labels) in wanted:
                    yield name, labels.get("channel", ""), values

    def values(self, expr: str, asked: str, key: Key, start: float, end: float, step: float) -> tuple[Floats, Floats]:
        """Return times and values, shape (N,), of one series of a job's own query.

        `expr` is the configured query, `asked` the same with the rate that was added. Raises SourceError,
        ValueError for labels that the source cannot have.
        """
        times = _grid(start, end, step)
        answer = self.ask(of_series(expr, asked, key), *_ends(times), step)
        return times, next((values for _, values in _series(answer, times)), np.full(len(times), np.nan))


def of_series(expr: str, asked: str, key: Key) -> str:
    r"""Return the query that gives one series of another query, as cheaply as that can be said.

    >>> of_series('up{job="a"}', 'up{job="a"}', (("instance", "b"),))
    'up{job="a",instance="b"}'
    >>> of_series("sum by (path) (rate(hits[5m]))", "sum by (path) (rate(hits[5m]))", (("path", "/$1"),))
    '(sum by (path) (rate(hits[5m]))) and on (path) label_replace(vector(1), "path", "/$$1", "", "")'
    """
    matchers = ",".join(f"{label_name(name)}={quote(value)}" for name, value in key if _may_be(name))
    if not matchers:
        return asked
    bare = expr.strip()
    if bare_selector(bare) is not None and bare in asked:
        inner = bare[:-1].rstrip().rstrip(",") if bare.endswith("}") else f"{bare}{{"
        return asked.replace(bare, f"{inner}{'' if inner.endswith('{') else ','}{matchers}}}", 1)
    one = "vector(1)"
    names = [name for name, _ in key if _may_be(name)]
    for name, value in key:
        if name in names:
            one = f'label_replace({one}, {quote(name)}, {quote(value.replace("$", "$$"))}, "", "")'
    return f"({asked}) and on ({', '.join(map(label_name, names))}) {one}"


def _may_be(name: str) -> bool:
    return bool(name) and name.isprintable()


def _judged_key(key: Key) -> Key:
    return tuple(sorted((_judged(name), value) for name, value in key))


def _scraped(name: str) -> str:
    return f"exported_{name}" if name in _OURS else name


def published_key(labels: dict[str, str]) -> Key:
    """Return the identity of the entity that a series of ours is about."""
    return _key(labels)


def _key(labels: dict[str, str]) -> Key:
    return tuple(sorted((_judged(name), value) for name, value in labels.items() if name not in _OURS))


def _judged(name: str) -> str:
    whole = name.removeprefix("exported_")
    return whole if whole in _OURS else name


def _grid(start: float, end: float, step: float) -> Floats:
    """Return times a step apart of which the last is `end`: what is newest must not fall behind the last of them."""
    times: Floats = end - step * np.arange(max(np.floor((end - start) / step + 1e-6), 0.0), -1.0, -1.0)
    return times


def _ends(times: Floats) -> tuple[float, float]:
    return float(times[0]), float(times[-1])


def _series(answer: RangeResult, times: Floats) -> list[tuple[dict[str, str], Floats]]:
    """Return labels and values on the grid, of every series of an answer."""
    ends = np.cumsum(answer.counts)
    found = []
    for label, first, last in zip(answer.labels, ends - answer.counts, ends, strict=True):
        values = np.full(len(times), np.nan)
        at = np.searchsorted(times, answer.times[first:last] - 1e-3)
        there = at < len(times)
        values[at[there]] = answer.values[first:last][there]
        found.append((LABELS.decode(label), values))
    return found
