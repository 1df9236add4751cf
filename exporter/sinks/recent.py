"""The last samples of every series with what was thought of them: the memory of our page, and of pictures."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats, Key
from exporter.config.sections.root import Config
from exporter.pipeline.alert_budget import most_severe
from exporter.pipeline.verdict import Verdict
from exporter.sinks import excursions
from exporter.sinks.base import Change, EveryVerdict

MOST_SAMPLES: Final = 120
"""Samples kept of a series."""
FEWEST_SAMPLES: Final = 2
MOST_BYTES: Final = 16 * 2**20
"""Bytes of the samples that are kept of every series: with 10,000 series of one channel the last 76, with 100,000 the
last 7."""
MOST_LONGER: Final = 500
"""Series of a job with an open incident of which MOST_SAMPLES are kept all the same, the worst."""
_WIDE: Final = ("values", "expected", "lower", "upper")
Small = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """One verdict, as far as a graph needs it: `wide` has the shape (4, E, C), `score` (E,), flag and alert (E,)."""

    time: float
    keys: tuple[Key, ...]
    wide: Small
    score: Small
    flag: NDArray[np.bool_]
    alert: NDArray[np.bool_]

    @property
    def size(self) -> int:
        return self.wide.nbytes + self.score.nbytes + self.flag.nbytes + self.alert.nbytes

    def only(self, keys: frozenset[Key]) -> "_Sample":
        """Return the same of some series."""
        rows = [row for row, key in enumerate(self.keys) if key in keys] if keys else []
        kept = tuple(self.keys[row] for row in rows)
        return _Sample(self.time, kept, self.wide[:, rows], self.score[rows], self.flag[rows], self.alert[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What is known of one series over time (N samples, C channels); NaN where something is not.

    Parameters
    ----------
    times : Floats, shape (N,)
        Unix seconds, ascending.
    value, expected, lower, upper : Floats, shape (N, C)
    score : Floats, shape (N,)
    flag, alert : Floats, shape (N,)
        1 while an incident was open and while it was an alert, else 0.
    """

    times: Floats
    value: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    score: Floats
    flag: Floats
    alert: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The same of all E series of a job with C channels at N times, a step from one to the next.

    Parameters
    ----------
    times : Floats, shape (N,)
        Unix seconds.
    keys : tuple of Key, length E
    values : Floats, shape (E, C, N)
    score : Floats, shape (E, N)
        NaN where there was no sample.
    """

    times: Floats
    keys: tuple[Key, ...]
    values: Floats
    score: Floats


class RecentVerdicts(EveryVerdict):
    """Remembers, within a bound of memory, the last verdicts of every job. Safe to use from any thread.

    A verdict costs its cycle one copy in single precision: seven digits are more than a graph shows. All jobs keep the
    same number of samples of every series, as many as fit, and more of the series that have an incident.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # never held for longer than a list of samples is copied
        self._samples: dict[str, deque[_Sample]] = {}
        self._longer: dict[str, deque[_Sample]] = {}
        self._on = True

    def prepare(self, config: Config) -> Change:
        """Prepare to know the jobs of another configuration."""
        return Change(lambda: self._use(config))

    def _use(self, config: Config) -> None:
        wanted = config.web.ui or config.notify.shows_pictures
        jobs = config.jobs.keys() if wanted else frozenset()
        with self._lock:
            self._on = wanted
            for memory in (self._samples, self._longer):
                for job in memory.keys() - jobs:
                    del memory[job]

    def record(self, verdict: Verdict) -> None:
        """Remember a verdict."""
        if not self._on:
            return
        with np.errstate(over="ignore"):  # beyond 3.4e38 it is infinite, which a graph cannot show either
            wide = np.stack([getattr(verdict, name) for name in _WIDE]).astype(np.float32)
            score = verdict.score.astype(np.float32)
        sample = _Sample(verdict.time, verdict.keys, wide, score, verdict.flag, verdict.alert)
        with self._lock:
            samples = self._samples.setdefault(verdict.job, deque())
            samples.append(sample)
            most = self._most()
            longer = self._longer.setdefault(verdict.job, deque())
            if len(samples) > most:
                worst = most_severe(verdict.flag, verdict.severity, MOST_LONGER)
                keys = frozenset(verdict.keys[row] for row in worst.tolist())
                while len(samples) > most:
                    longer.append(samples.popleft().only(keys))
            while longer and len(longer) + len(samples) > MOST_SAMPLES:
                longer.popleft()

    def _most(self) -> int:
        """Return how many samples of each job fit."""
        size = sum(samples[-1].size for samples in self._samples.values() if samples)
        return min(max(MOST_BYTES // max(size, 1), FEWEST_SAMPLES), MOST_SAMPLES)

    def left_band(self, job: str, keys: tuple[Key, ...], rows: Sequence[int], since: Floats, step: float) -> Floats:
        """Return when some series of a job last left their band; see `excursions.left_band`."""
        with self._lock:
            samples = list(self._samples.get(job, ()))
        return excursions.left_band(samples[::-1], keys, rows, since, step)

    def block(self, job: str, step: float) -> Block | None:
        """Return what is remembered of every series that a job has now, None where nothing is."""
        with self._lock:
            samples = list(self._samples.get(job, ()))
        if not samples:
            return None
        keys, channels = samples[-1].keys, samples[-1].wide.shape[2]
        samples = [sample for sample in samples if sample.wide.shape[2] == channels]
        first = samples[0].time
        columns = [round((sample.time - first) / step) for sample in samples]
        times = first + step * np.arange(columns[-1] + 1, dtype=np.float64)
        if len(times) > 2 * MOST_SAMPLES:  # a job that was away for long
            return None
        values = np.full((len(keys), channels, len(times)), np.nan)
        score = np.full((len(keys), len(times)), np.nan)
        rows: NDArray[np.int64] | slice = slice(None)
        before = keys
        for column, sample in zip(columns, samples, strict=True):
            if sample.keys is not before:
                before = sample.keys
                index = {key: row for row, key in enumerate(before)}
                rows = np.array([index.get(key, -1) for key in keys], np.int64)
            wide, own = sample.wide[0][rows].astype(np.float64), sample.score[rows].astype(np.float64)
            if not isinstance(rows, slice):
                wide = np.where((rows >= 0)[:, None], wide, np.nan)
                own = np.where(rows >= 0, own, np.nan)
            values[:, :, column], score[:, column] = wide, own
        return Block(times, keys, values, score)

    def curves(self, job: str, keys: Sequence[Key], most: int = MOST_SAMPLES) -> dict[Key, Curves]:
        """Return what is remembered of some series of a job, the last `most` samples; of others there is nothing."""
        with self._lock:
            samples = [*self._longer.get(job, ()), *self._samples.get(job, ())][-most:]
        channels = samples[-1].wide.shape[2] if samples else 0
        samples = [sample for sample in samples if sample.wide.shape[2] == channels]
        rows = _rows(samples, keys)
        found = {}
        for at, key in enumerate(keys):
            there = [(sample, row) for sample, row in zip(samples, rows[:, at].tolist(), strict=True) if row >= 0]
            if there:
                found[key] = _curves(there)
        return found


def _rows(samples: Sequence[_Sample], keys: Sequence[Key]) -> NDArray[np.int64]:
    """Return the row of each series in each sample, shape (samples, keys), -1 where it has none."""
    wanted = {key: at for at, key in enumerate(keys)}
    rows = np.full((len(samples), len(keys)), -1)
    before: tuple[Key, ...] | None = None
    for number, sample in enumerate(samples):
        if sample.keys is before:  # as long as no series comes or goes
            rows[number] = rows[number - 1]
            continue
        before = sample.keys
        for row, key in enumerate(sample.keys):
            if (at := wanted.get(key)) is not None:
                rows[number, at] = row
    return rows


def _curves(there: Sequence[tuple[_Sample, int]]) -> Curves:
    wide = np.array([sample.wide[:, row] for sample, row in there], np.float64)
    narrow = {
        name: np.array([getattr(sample, name)[row] for sample, row in there], np.float64)
        for name in ("score", "flag", "alert")
    }
    names = ("value", "expected", "lower", "upper")
    return Curves(
        np.array([sample.time for sample, _ in there]),
        **dict(zip(names, np.moveaxis(wide, 1, 0), strict=True)),
        **narrow,
    )
