"""Series near their limit, as the exporter itself notifies of them: by the rule of the alert `AnomalyLimitNear`."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np

from detectors.types import Floats, Key
from exporter.config.sections.forecast import CALM, SOON, ForecastConfig
from exporter.forecast_wording import reaches as reaches_told
from exporter.json_values import finite
from exporter.pipeline.reaches import Reaches
from exporter.pipeline.verdict import Verdict
from exporter.query_units import Unit

MOST: Final = 1000
"""Series near their limit of which a receiver keeps track: those that reach it first."""
LASTS: Final = 600.0
"""Seconds that a limit must have been far until it is over: forecasts are made again every hour."""


class NearLimit(msgspec.Struct):
    """One series near its limit. Times are Unix seconds."""

    job: str
    labels: dict[str, str]
    near: float
    """Since when it is within `forecast.within`."""
    soon: float | None
    """Since when so near that there is no time to wait; None: it is not."""
    seen: float
    """When it was last near."""
    early: float
    text: str
    """When it reaches its limit, in a sentence."""
    notified: bool = False
    over: bool = False

    @property
    def key(self) -> Key:
        """The identity of the series."""
        return tuple(sorted(self.labels.items()))


class NearLimits:
    """Follows which series are near their limit, from verdict to verdict, and what a receiver was told of them."""

    def __init__(self, known: Iterable[NearLimit] = ()) -> None:
        self._of: dict[str, dict[Key, NearLimit]] = {}
        self._due: dict[str, list[NearLimit]] = {}
        for each in known:
            self._of.setdefault(each.job, {})[each.key] = each

    def take(
        self, verdict: Verdict, forecast: ForecastConfig | None, units: Mapping[str, Unit] = MappingProxyType({})
    ) -> None:
        """Take a verdict of a job with these settings; `units` are those of its channels."""
        mine, reaches, now = self._of.setdefault(verdict.job, {}), verdict.reaches, verdict.time
        if forecast is None or reaches is None:
            self._of[verdict.job], self._due[verdict.job] = {}, []
            return
        near = (reaches.early <= now + forecast.within) & (reaches.expected < np.inf)
        rows = np.flatnonzero(near)
        rows = rows[np.argsort(reaches.early[rows], kind="stable")][:MOST]
        for row in rows.tolist():
            key = verdict.keys[row]
            each = mine.get(key)
            early = float(reaches.early[row])
            if each is None:
                each = mine[key] = NearLimit(verdict.job, dict(key), now, None, now, early, "")
            is_soon = early <= now + forecast.within / SOON
            each.soon = (now if each.soon is None else each.soon) if is_soon else None
            each.seen, each.early, each.over = now, early, False
            each.text = _told(verdict, reaches, row, units)
        self._forget(mine, verdict, reaches)
        self._due[verdict.job] = [each for each in mine.values() if _is_due(each, forecast, now)]

    @staticmethod
    def _forget(mine: dict[Key, NearLimit], verdict: Verdict, reaches: Reaches) -> None:
        """Let those be over that have not been near for a while; of whom nothing is known, nothing is concluded."""
        far = [key for key, each in mine.items() if verdict.time - each.seen > LASTS]
        if not far:
            return
        row_of = {key: row for row, key in enumerate(verdict.keys)}
        for key in far:
            row = row_of.get(key)
            if row is not None and math.isnan(float(reaches.early[row])):
                continue
            mine[key].over = True
            if not mine[key].notified:
                del mine[key]

    def keep(self, jobs: Iterable[str]) -> None:
        """Forget all other jobs."""
        self._of = {job: self._of[job] for job in jobs if job in self._of}
        self._due = {job: self._due[job] for job in jobs if job in self._due}

    def pending(self, resolved: bool = True) -> list[NearLimit]:
        """Return what has yet to be told, what is reached first comes first; of what is over only if `resolved`."""
        opened = [each for some in self._due.values() for each in some if not each.notified and not each.over]
        over = [each for mine in self._of.values() for each in mine.values() if each.over and each.notified]
        if not resolved:
            self.mark_sent(over)
            over = []
        return [*sorted(opened, key=lambda each: each.early), *over]

    def mark_sent(self, sent: Iterable[NearLimit]) -> None:
        """Note what the receiver has got."""
        for each in sent:
            each.notified = True
            if each.over:
                self._of.get(each.job, {}).pop(each.key, None)

    def known(self) -> list[NearLimit]:
        """Return all of them."""
        return [each for mine in self._of.values() for each in mine.values()]


def _is_due(each: NearLimit, forecast: ForecastConfig, now: float) -> bool:
    """Tell whether it has been near for so long that it is told."""
    soon = each.soon is not None and now - each.soon >= forecast.for_
    return soon or now - each.near >= max(CALM * forecast.for_, 300.0) + forecast.for_


def _told(verdict: Verdict, reaches: Reaches, row: int, units: Mapping[str, Unit]) -> str:
    ends: list[Floats] = [reaches.early, reaches.expected, reaches.late]
    early, expected, late = (float(end[row]) for end in ends)
    value = finite(verdict.values[row, reaches.channel])
    unit = units.get(verdict.channels[reaches.channel], "")
    return reaches_told(reaches.limit, early, expected, late, verdict.time, value, unit)
