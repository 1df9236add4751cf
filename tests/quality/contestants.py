"""Who is compared: every detector in the live cycle, and the rivals over the same series."""

import logging
import os
import time
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import structlog

from detectors import DETECTORS, Flags, Floats
from exporter.backtest.resample import Group
from exporter.backtest.run_files import backtest_groups
from exporter.backtest.settings import Settings
from tests.quality.rivals.bands import outside
from tests.quality.rivals.causal import Score, of_channels
from tests.quality.rivals.tsb_ad import poly, sub_pca
from tests.quality.rivals.whole_package import streamed
from tests.quality.together import together

TRAINED: Final = frozenset({"isolation_forest", "autoencoder", "vae", "lstm"})
"""Detectors that are trained before they judge: on the rows that the figures leave out."""
_POOLED: Final = TRAINED | {"ensemble", "river"}
"""Detectors that judge an entity by what they learn of all entities of a job."""
SPECS: Final = {"ensemble": "{ensemble: {detectors: [robust, seasonal, isolation_forest], combine: vote}}"}
"""What stands for a detector that its name alone says too little of."""
PACKAGES: Final = frozenset({"TSB-AD Sub-PCA", "TSB-AD POLY", "tsanomaly"})
"""Rivals whose own code, or the same arithmetic, runs here: of PromQL it is Prometheus that costs."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a contestant says of one series, shape (N,) each; the band is empty where there is none."""

    score: Floats
    flag: Flags
    lower: Floats = field(default_factory=lambda: np.empty(0))
    expected: Floats = field(default_factory=lambda: np.empty(0))
    upper: Floats = field(default_factory=lambda: np.empty(0))


Judged = tuple[dict[str, Answers], float]
"""By name of the series, and the CPU time in microseconds for a sample of one series (or entity)."""


def judge(name: str, groups: Sequence[Group], history: str | None, ranked: bool = False) -> Judged:
    """Judge `groups` with a detector or rival.

    Parameters
    ----------
    name : str
        One of NAMES.
    groups : sequence of Group
    history : str or None
        What a detector that is trained finds at its start, as `backtest --history`. The others learn from the first
        sample on.
    ranked : bool
        A detector judges copies of the series too, under the name `without_hold` of theirs, and learns the samples of
        their incidents. Rivals always do.
    """
    began = time.process_time()
    found = _detector(name, groups, history, ranked) if name in DETECTORS else _rival(name, groups)
    samples = sum(each.values.shape[0] * each.values.shape[2] for each in groups)
    return found, (time.process_time() - began) / samples * 1e6


def without_hold(name: str) -> str:
    """Return the name of the copy of a series whose incidents are learnt."""
    return f"{name}, no hold"


def _detector(name: str, groups: Sequence[Group], history: str | None, ranked: bool) -> dict[str, Answers]:
    trained = name in TRAINED
    jobs, hold = together(groups, trained and history == "labels"), frozenset[str]()
    if ranked:
        hold = frozenset(without_hold(series.name) for each in jobs for series in each.series)
        # In the same job a cycle of twice as many series costs little more; but what is pooled would be of both.
        jobs = [*jobs, *map(_copies, jobs)] if name in _POOLED else [_with_copies(each) for each in jobs]
    settings = Settings("quality", None, (), SPECS.get(name, name))
    runs = backtest_groups(jobs, settings, history if trained else None, hold or True)
    return {
        each.name: Answers(each.score, each.flag, *(each.numbers(part) for part in ("lower", "expected", "upper")))
        for run in runs
        for each in run.results
    }


def _copies(each: Group) -> Group:
    return replace(each, series=[replace(series, name=without_hold(series.name)) for series in each.series])


def _with_copies(each: Group) -> Group:
    series = each.series + _copies(each).series
    return replace(each, series=series, values=np.tile(each.values, (2, 1, 1)), slots=each.slots * 2)


def _rival(name: str, groups: Sequence[Group]) -> dict[str, Answers]:
    answers = {}
    for each in groups:
        for row, (series, slots) in enumerate(zip(each.series, each.slots, strict=True)):
            values = each.values[row][:, : int(slots.max()) + 1]
            answers[series.name] = _at(_RIVAL[name](series.name, values, each.step), slots)
    return answers


def _at(answers: Answers, slots: Sequence[int]) -> Answers:
    parts = (answers.score, answers.flag, answers.lower, answers.expected, answers.upper)
    return Answers(*(part[slots] if len(part) else part for part in parts))


def _scored(score: Score) -> Callable[[str, Floats, float], Answers]:
    def judged(name: str, values: Floats, step: float) -> Answers:
        ratio = of_channels(values, step, score)
        return Answers(ratio, np.nan_to_num(ratio) > 1)

    return judged


def _random(name: str, values: Floats, step: float) -> Answers:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return _scored(lambda channel, _: rng.random(len(channel)))(name, values[:1], step)


def _band(rule: str) -> Callable[[str, Floats, float], Answers]:
    def judged(name: str, values: Floats, step: float) -> Answers:
        score, flag, band = outside(values, step, rule)
        return Answers(score, flag, band.lower, band.middle, band.upper)

    return judged


def _streamed(name: str, values: Floats, step: float) -> Answers:
    return Answers(*streamed(values, step))


_RIVAL: Final[dict[str, Callable[[str, Floats, float], Answers]]] = {
    "random": _random,
    "PromQL mean ± 2 sigma": _band("mean_sigma"),
    "PromQL median ± 3 MAD": _band("median_mad"),
    "TSB-AD Sub-PCA": _scored(sub_pca),
    "TSB-AD POLY": _scored(poly),
    "tsanomaly": _streamed,
}
NAMES: Final = (*(name for name in DETECTORS if name != "peers"), *_RIVAL)
"""In the order of the table. `peers` compares series with others of their group, which these sets do not have."""


def alone_and_quiet() -> None:
    """Let a process use one core, as many are under way as there are cores, and say nothing but results."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    warnings.simplefilter("ignore")
