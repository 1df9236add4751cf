"""Deploys made of the answers to a question about them."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from detectors.types import Floats, Key
from detectors.units import DAY
from exporter.context.labels import INSTANCE, VERSION, name_of, version_of
from exporter.source.samples import RangeResult

GRID: Final = 60.0
"""Seconds between two times at which deploys are asked for."""
RUN: Final = 300.0
"""Seconds without a sample after which a series begins anew."""
ONE: Final = 600.0
"""Seconds after the first sign of a deploy within which another sign of the same version is of the same deploy."""
AT_ONCE: Final = 180.0
"""The same of another version: an owner tells more than one, of itself and of a library."""
MOST: Final = 5000
"""Deploys that are remembered, the newest."""
_NAMED: Final = 2
"""Deploys that a text names."""
LABELS: Final = msgspec.json.Decoder(dict[str, str])
_NO_OWNER: Final = frozenset((*INSTANCE, *VERSION, "__name__"))


@dataclass(frozen=True, slots=True, order=True)
class Deploy:
    """A deploy of one owner.

    Parameters
    ----------
    at : float
        Unix seconds, by the clock of the source: when it was first seen.
    owner : Key
        Labels that name it.
    version : str
        "" where nothing names one.
    back : bool
        Whether the owner ran this version before: a rollback.
    """

    at: float
    owner: Key
    version: str = ""
    back: bool = False

    @property
    def name(self) -> str:
        """What people call it, such as `checkout v1.8.2`."""
        version = f" {self.version}" if self.version else ""
        return f"{name_of(self.owner)}{version}{' (back to it)' if self.back else ''}"


def names(deploys: Sequence[Deploy]) -> str:
    """Write the names of several deploys, "" of none.

    >>> names([Deploy(0.0, (("service", "cart"),), "v2"), Deploy(0.0, (("app", "shop"),))])
    'cart v2 and shop'
    """
    every = list(dict.fromkeys(deploy.name for deploy in deploys))
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return (" and " if not more else ", ").join(every[:_NAMED]) + more


@dataclass(slots=True)
class _Series:
    """When one series was there, as runs of neighbouring samples, and its newest value."""

    owner: Key
    version: str
    begins: list[float] = field(default_factory=list)
    until: float = -np.inf
    value: float = np.nan


class DeployLog:
    """The deploys that the answers to one question tell. Answers come in the order of time.

    A deploy is when a series begins, but for those that are there from the first time asked for, or when its value
    rises. Series that differ only in labels of instances are one.

    Parameters
    ----------
    version : str or None
        Label that names the version; None: one of the usual ones.
    """

    def __init__(self, version: str | None = None) -> None:
        self._version = version
        self._series: dict[bytes, _Series] = {}
        self._by_labels: dict[Key, _Series] = {}
        self._versions: dict[Key, dict[str, None]] = {}
        self._newest: dict[Key, Deploy] = {}
        self.deploys: list[Deploy] = []
        """In the order of time."""

    def take(self, answer: RangeResult, first: float, edge: bool) -> list[Deploy]:
        """Take in an answer that begins at `first` (Unix seconds); return the deploys that are new.

        `edge`: nothing is known of the time before.
        """
        signs: list[tuple[float, _Series]] = []
        begin = 0
        for label, count in zip(answer.labels, answer.counts.tolist(), strict=True):
            of_series = slice(begin, begin + count)
            begin += count
            series = self._of(label)
            edge_at = first if edge else -np.inf
            signs += [(at, series) for at in _take(series, answer.times[of_series], answer.values[of_series], edge_at)]
        new = []
        for at, series in sorted(signs, key=lambda each: (each[0], each[1].owner, each[1].version)):
            if (deploy := self._deploy(at, series)) is not None:
                insort(self.deploys, deploy)
                new.append(deploy)
        del self.deploys[: max(len(self.deploys) - MOST, 0)]
        self._prune()
        return [deploy for deploy in new if deploy in self.deploys]

    def _of(self, label: bytes) -> _Series:
        found = self._series.get(label)
        if found is None:
            labels = LABELS.decode(label)
            unowned = _NO_OWNER if self._version is None else _NO_OWNER | {self._version}
            owner = tuple(sorted(pair for pair in labels.items() if pair[0] not in unowned))
            lasting = tuple(sorted(pair for pair in labels.items() if pair[0] not in INSTANCE))
            found = self._by_labels.setdefault(lasting, _Series(owner, version_of(labels, self._version)))
            self._series[label] = found
        return found

    def _prune(self) -> None:
        """Forget series that ended long ago, once there are many: labels may be others with every deploy."""
        if len(self._series) > 4 * MOST:
            newest = max(series.until for series in self._series.values())
            kept = {label: series for label, series in self._series.items() if series.until > newest - DAY}
            self._series = kept
            self._by_labels = {labels: each for labels, each in self._by_labels.items() if each.until > newest - DAY}
            owners = {series.owner for series in kept.values()}
            self._versions = {owner: seen for owner, seen in self._versions.items() if owner in owners}
            self._newest = {owner: deploy for owner, deploy in self._newest.items() if owner in owners}

    def _deploy(self, at: float, series: _Series) -> Deploy | None:
        """Return the deploy that a sign is of, None where it is one that is known."""
        before, version = self._newest.get(series.owner), series.version
        seen = self._versions.setdefault(series.owner, {})
        back, seen[version] = bool(version) and version in seen, None
        if before is not None and at - before.at < ONE:
            if before.version == version or not version or (before.version and at - before.at <= AT_ONCE):
                return None
            if not before.version:  # now it has a name
                if before in self.deploys:
                    self.deploys.remove(before)
                at = before.at
        deploy = self._newest[series.owner] = Deploy(at, series.owner, version, back)
        return deploy


def _take(series: _Series, times: Floats, values: Floats, edge: float) -> list[float]:
    """Return the times at which a series begins or rises."""
    signs = []
    for at, value in zip(times.tolist(), values.tolist(), strict=True):
        if at <= series.until:
            continue
        begins = at - series.until > RUN
        if (begins and at > edge) or (not begins and value > series.value):
            signs.append(at)
        series.until, series.value = at, value
    return signs
