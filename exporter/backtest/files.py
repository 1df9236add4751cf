"""A backtest of CSV files."""

import time
from functools import partial
from pathlib import Path

import numpy as np

from exporter.backtest.data import BacktestError, read_folder
from exporter.backtest.figures import PROBATION_ROWS, leading
from exporter.backtest.grid import Group, group
from exporter.backtest.outcome import Outcome, outcome
from exporter.backtest.progress import Bar
from exporter.backtest.replay import replay_group
from exporter.backtest.settings import Settings, share
from exporter.config.units import duration


def backtest_files(path: Path, settings: Settings, history: str | None, hold: bool) -> list[Outcome]:
    """Judge every file at `path`. Raises BacktestError, ConfigError.

    Parameters
    ----------
    path : Path
        File or folder.
    settings : Settings
    history : str or None
        Duration or percentage of the rows that the exporter finds when it starts; None: what the labels mark.
    hold : bool
    """
    groups = group(read_folder(path), settings.step)
    entities = sum(len(each.series) for each in groups)
    jobs = [share(settings.job(each.step), len(each.series), entities) for each in groups]
    leads = [_lead(each, history, job.history) for each, job in zip(groups, jobs, strict=True)]
    outcomes: list[Outcome] = []
    with Bar(sum(each.values.shape[0] * each.values.shape[2] for each in groups)) as bar:
        for each, job, lead in zip(groups, jobs, leads, strict=True):
            began, (width, _, columns) = time.perf_counter(), each.values.shape
            record = replay_group(settings.name, job, each, lead, hold, partial(bar.add, width))
            speed = width * columns / (time.perf_counter() - began)
            outcomes += [
                outcome(record, row, slots, series.name, series.stamps, series.times, each.step, series.label, speed)
                for row, (series, slots) in enumerate(zip(each.series, each.slots, strict=True))
            ]
    return sorted(outcomes, key=lambda found: found.name)


def _lead(each: Group, history: str | None, configured: float | None) -> int:
    """Return how many grid points the first cycle of a group finds."""
    if history is None and configured is None:
        labels = [series.label for series in each.series if series.label is not None]
        marked = [leading(label) for label in labels if np.isnan(label).any()]
        return min(marked) if labels and len(marked) == len(labels) else 1
    text = (history or "").strip()
    try:
        if text.endswith("%"):
            share_of_rows = float(text[:-1]) / 100
            if not 0 <= share_of_rows <= 1:
                raise ValueError(f"{text} is no share")
            return max(min(int(each.values.shape[2] * share_of_rows), PROBATION_ROWS), 1)
        seconds = duration(text) if configured is None or text else configured
    except ValueError as error:
        raise BacktestError(f"--history: {error}; write a duration such as 3d, or 15% of the rows") from None
    return max(round(seconds / each.step), 1)
