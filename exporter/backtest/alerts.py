"""Known incidents from the history of Prometheus' own alerts."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from detectors.types import Key
from exporter.backtest.data import BacktestError
from exporter.config.models import Config
from exporter.source.errors import SourceError
from exporter.source.prometheus import Prometheus

_OF_THE_ALERT: Final = frozenset({"__name__", "alertname", "alertstate"})
_BRACES: Final = re.compile(r"^\s*\{(.*)\}\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Alert:
    """One time in which an alert was firing, with its labels; an incident like those of a file."""

    start: float
    end: float
    labels: Key

    def concerns(self, key: Key) -> bool:
        """Tell whether it is about this entity: all labels that both have are equal, and there is one.

        An entity without labels is the whole of what its job asks for; every alert is about it.
        """
        own = dict(key)
        shared = [(name, value) for name, value in self.labels if name in own]
        return all(own[name] == value for name, value in shared) and (bool(shared) or not own)


def read_alerts(config: Config, matchers: str, start: float, end: float, step: float) -> list[Alert]:
    """Return what was firing from `start` to `end` (Unix seconds), as `ALERTS` tells it every `step` seconds.

    An alert begins when it was pending, not when its `for` was over: who finds the trouble before that is right.
    `matchers` are those of a PromQL selector, with braces or without. Raises BacktestError, also where there was none.
    """
    if not _inner(matchers):
        raise BacktestError("--labels-from-alerts: which alerts? Write matchers: 'alertname=~\"Node.*\"'")
    try:
        alerts = find_alerts(config, matchers, start, end, step)
    except SourceError as error:
        raise BacktestError(f"--labels-from-alerts {matchers}: {error}") from None
    if not alerts:
        raise BacktestError(f"--labels-from-alerts {matchers}: no such alert was firing in this time range")
    return alerts


def find_alerts(config: Config, matchers: str, start: float, end: float, step: float) -> list[Alert]:
    """Return the same, or nothing where nothing was firing. Raises SourceError."""
    inner = _inner(matchers)
    start, end = math.floor(start / step) * step, math.ceil(end / step) * step  # the times at which samples are judged
    source = Prometheus(config.prometheus, config.limits)
    try:
        frame = source.range(f'ALERTS{{{inner},alertstate=~"pending|firing"}}', start, end, step)
    finally:
        source.close()
    firing: defaultdict[Key, dict[float, bool]] = defaultdict(dict)
    lasts = np.cumsum(frame.counts)
    for label, first, last in zip(frame.labels, lasts - frame.counts, lasts, strict=True):
        labels = msgspec.json.decode(label, type=dict[str, str])
        key = tuple(sorted(pair for pair in labels.items() if pair[0] not in _OF_THE_ALERT))
        of_alert = firing[(("alertname", labels.get("alertname", "")), *key)]
        for time in frame.times[first:last].tolist():
            of_alert[time] = of_alert.get(time, False) or labels.get("alertstate") == "firing"
    return [alert for (_, *key), states in firing.items() for alert in _firing(tuple(key), states, step)]


def _inner(matchers: str) -> str:
    return _BRACES.sub(r"\1", matchers).strip().rstrip(",")


def _firing(labels: Key, states: Mapping[float, bool], step: float) -> Iterator[Alert]:
    """Yield the runs of samples a step apart in which the alert was firing at last, up to where it was."""
    times = np.array(sorted(states))
    for run in np.split(times, np.flatnonzero(np.diff(times) > 1.5 * step) + 1):
        fired = [time for time in run.tolist() if states[time]]
        if fired:
            yield Alert(float(run[0]), fired[-1], labels)
