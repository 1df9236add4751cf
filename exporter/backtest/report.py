"""The figures as a table for people and as JSON for programs."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from exporter.backtest.figures import Figures
from exporter.config.units import format_duration

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


def as_json(every: Sequence[Figures], total: Figures) -> str:
    """Return a JSON object with `overall` and `entities`; what cannot be said is null."""
    return json.dumps({"overall": _object(total), "entities": [_object(each) for each in every]}, indent=1)


def _cells(each: Figures, name: str = "") -> list[str]:
    return [name or each.name, *(form(getattr(each, field)) for _, field, form in _COLUMNS)]


def _object(each: Figures) -> dict[str, object]:
    numbers = dict.fromkeys([*_COUNTS, *(field for _, field, _ in _COLUMNS)])
    values = {field: float(getattr(each, field)) for field in numbers}
    return {"name": each.name} | {field: value if math.isfinite(value) else None for field, value in values.items()}
