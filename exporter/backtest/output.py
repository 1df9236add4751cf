"""The figures as a table for people and as JSON for programs."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from exporter.backtest.quality import Figures
from exporter.backtest.tune import Trial
from exporter.json_values import finite_values
from exporter.promql import format_duration

_MOST_ROWS: Final = 100
"""Entities in the table; the JSON has all of them."""


def _number(digits: int) -> Callable[[float], str]:
    return lambda value: "-" if math.isnan(value) else f"{value:,.{digits}f}"


def _duration(seconds: float) -> str:
    return "-" if math.isnan(seconds) else format_duration(round(seconds))


_COLUMNS: Final[Sequence[tuple[str, str, Callable[[float], str]]]] = (
    ("events", "events", _number(0)),
    ("found", "found", _number(0)),
    ("recall", "recall", _number(2)),
    ("precision", "precision", _number(2)),
    ("F1", "f1", _number(2)),
    ("time to\ndetect", "time_to_detect", _duration),
    ("false per\nseries-week", "false_per_series_week", _number(2)),
    ("incidents per\nseries-week", "openings_per_series_week", _number(2)),
    ("alerts\nper week", "alerts_per_week", _number(2)),
    ("points\nper second", "points_per_second", _number(0)),
)
_OF_A_TRIAL: Final[Sequence[tuple[str, str, Callable[[float], str]]]] = (
    ("alerts\nper week", "alerts_per_week", _number(2)),
    ("incidents per\nseries-week", "openings_per_series_week", _number(2)),
    ("false\nincidents", "false", _number(0)),
    ("found", "found", _number(0)),
    ("recall", "recall", _number(2)),
    ("precision", "precision", _number(2)),
    ("F1", "f1", _number(2)),
)
_COUNTS: Final = ("events", "found", "false", "openings", "alerts", "series_weeks")


def as_table(every: Sequence[Figures], total: Figures, console: Console) -> None:
    """Print one row per entity, those with most incidents first when they are too many, and one for all."""
    shown = sorted(every, key=lambda each: -each.openings)[:_MOST_ROWS] if len(every) > _MOST_ROWS else every
    table = Table(title=f"backtest of {total.name}", title_justify="left")
    table.add_column("entity", overflow="fold", min_width=8)
    for heading, _, _ in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for each in shown:
        table.add_row(*_cells(each))
    if len(shown) < len(every):
        table.add_row(f"… and {len(every) - len(shown)} with fewer incidents, see --json")
    table.add_section()
    table.add_row(*_cells(total, f"all {len(every)}"))
    console.print(table)


def as_trials(tried: Sequence[Trial], advice: str, console: Console) -> None:
    """Print what other settings would have cost and found, the run itself first, and the advice."""
    table = Table(title="other settings, from the same scores", title_justify="left")
    for heading in ("false_alarms", "least deviation"):
        table.add_column(heading, justify="right")
    for heading, _, _ in _OF_A_TRIAL:
        table.add_column(heading, justify="right", no_wrap=True)
    for number, trial in enumerate(tried):
        cells = [form(getattr(trial.figures, field)) for _, field, form in _OF_A_TRIAL]
        table.add_row(f"{trial.false_alarms:g} per week", f"{trial.least_deviation:g}", *cells, end_section=number == 0)
    console.print(table)
    console.print("The first row is the run itself. The others are approximate: they would have learnt other samples.")
    console.print(advice, highlight=False, soft_wrap=True)


def as_json(every: Sequence[Figures], total: Figures, tried: Sequence[Trial] = (), advice: str = "") -> str:
    """Return a JSON object with `overall` and `entities`, and `tune` and `advice`; what cannot be said is null."""
    found: dict[str, object] = {"overall": _object(total), "entities": [_object(each) for each in every]}
    if tried:
        settings = ({"false_alarms": trial.false_alarms, "least_deviation": trial.least_deviation} for trial in tried)
        rows = [setting | _object(trial.figures) for setting, trial in zip(settings, tried, strict=True)]
        found |= {"tune": rows, "advice": advice.removeprefix("advice: ")}
    return json.dumps(found, indent=1)


def _cells(each: Figures, name: str = "") -> list[str]:
    return [name or each.name, *(form(getattr(each, field)) for _, field, form in _COLUMNS)]


def _object(each: Figures) -> dict[str, object]:
    numbers = dict.fromkeys([*_COUNTS, *(field for _, field, _ in _COLUMNS)])
    return {"name": each.name, **finite_values({field: getattr(each, field) for field in numbers})}
