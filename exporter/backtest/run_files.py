"""A backtest of CSV files."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from exporter.backtest.entity_result import EntityResult, Run
from exporter.backtest.quality import leading
from exporter.backtest.read_csv import read_folder
from exporter.backtest.replay import replay_group
from exporter.backtest.resample import Group, group
from exporter.backtest.settings import Settings, share
from exporter.config.values import duration
from exporter.errors import InputError
from exporter.observe.progress import Bar

UNCOUNTED: Final = "labels"
"""Value of --history: the rows that the figures leave out."""


def backtest_files(
    path: Path, settings: Settings, history: str | None, hold: bool, keep_values: bool = False
) -> list[Run]:
    """Judge every file at `path`. Raises InputError, ConfigError.

    Parameters
    ----------
    path : Path
        File or folder.
    settings : Settings
    history : str or None
        What the exporter finds when it starts: a duration, or `labels` for the rows that the figures leave out.
        None: what the job says, or else nothing but the first row.
    hold, keep_values : bool
    """
    return backtest_groups(group(read_folder(path), settings.step), settings, history, hold, keep_values)


def backtest_groups(
    groups: Sequence[Group], settings: Settings, history: str | None, hold: bool, keep_values: bool = False
) -> list[Run]:
    """Judge files that are read and grouped already, as `backtest_files` does. Raises InputError, ConfigError."""
    entities = sum(len(each.series) for each in groups)
    jobs = [share(settings.job(each.step), len(each.series), entities) for each in groups]
    leads = [_lead(each, history, job.history) for each, job in zip(groups, jobs, strict=True)]
    runs: list[Run] = []
    with Bar(sum(each.values.shape[0] * each.values.shape[2] for each in groups)) as bar:
        for each, job, lead in zip(groups, jobs, leads, strict=True):
            began, (width, _, columns) = time.perf_counter(), each.values.shape
            verdicts = replay_group(settings.name, job, each, lead, hold, partial(bar.add, width), keep_values)
            speed = width * columns / (time.perf_counter() - began)
            results = [
                EntityResult(verdicts, row, slots, series.name, series.stamps, series.times, series.label, speed)
                for row, (series, slots) in enumerate(zip(each.series, each.slots, strict=True))
            ]
            runs.append(Run(job, verdicts, results, min(lead, columns) - 1))
    return runs


def _lead(each: Group, history: str | None, configured: float | str | None) -> int:
    """Return how many columns of a group the first cycle finds."""
    if history is None and (configured is None or configured == "auto"):  # a file is judged from its beginning
        return 1
    if history == UNCOUNTED:
        ends = [
            int(slots[max(leading(series.label), 1) - 1]) + 1
            for series, slots in zip(each.series, each.slots, strict=True)
            if series.label is not None
        ]
        return max(min(ends, default=1), 1)
    try:
        known = configured if isinstance(configured, float) else None  # a file has nothing before its beginning
        seconds = known if history is None else duration(history)
    except ValueError as error:
        raise InputError(f"--history: {error}, or {UNCOUNTED}") from None
    if each.clock is not None:
        return max(int(np.searchsorted(each.clock, each.origin + (seconds or 0.0))), 1)
    return max(round((seconds or 0.0) / each.step), 1)
