"""What our dashboards show, as a table of panels; `grafana` and `perses` write it in the words of each."""

from dataclasses import dataclass, replace
from typing import Final, Literal

TAG: Final = "anomaly-exporter"
"""Tag by which our dashboards link to each other."""
ANOMALIES: Final = "anomalies"
"""Name of the file of a dashboard, and of the dashboard in URLs: `https://grafana.example.com/d/anomalies`."""
AUTO: Final = "__auto"
"""Legend: the labels that differ between the series."""
FULL: Final = 24
"""Columns of a dashboard."""

Query = tuple[str, str]
"""An expression and the legend of its series."""
Kind = Literal["graph", "number", "rows", "heat", "timeline"]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Parameters
    ----------
    kind : str
        graph: lines over time. number: the newest values. rows: a table with a row per series and a column per query,
        named by its legend. heat: a heat map. timeline: when a query was 1.
    title, text : str
        Its heading, and what to look for.
    queries : tuple of pairs
        Expressions with legends.
    unit : str
        By its name in Grafana.
    width, height : int
        Columns and rows of a dashboard of `FULL` columns.
    stacked : bool
        Of a graph: areas upon each other.
    bad : float
        Of a number: red from here on; negative: red below its absolute value; 0: never.
    sort : str
        Of rows: the legend of the column by which they are sorted, largest first.
    buckets : bool
        Of a heat map: counts by `le`; else a row for each series, coloured by a score.
    band : pair of str or None
        Of a graph: legends of the two series between which the area is filled.
    limit : float or None
        Of a graph: where a line is drawn.
    """

    kind: Kind
    title: str
    text: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8
    height: int = 8
    stacked: bool = False
    bad: float = 0
    sort: str = ""
    buckets: bool = False
    band: tuple[str, str] | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice above the panels: the results of a query, in the words of Grafana's Prometheus data source."""

    name: str
    label: str
    query: str
    several: bool = True
    regex: str = ""


def graph(title: str, text: str, *queries: Query, unit: str = "short", width: int = 8, stacked: bool = False) -> Panel:
    """Return a graph over time."""
    return Panel("graph", title, text, queries, unit, width, stacked=stacked)


def number(title: str, text: str, *queries: Query, unit: str = "short", width: int = 4, bad: float = 0) -> Panel:
    """Return the newest values."""
    return Panel("number", title, text, queries, unit, width, height=4, bad=bad)


def rows(title: str, text: str, *queries: Query, width: int = FULL, sort: str = "") -> Panel:
    """Return a table."""
    return Panel("rows", title, text, queries, width=width, sort=sort)


def heat(title: str, text: str, query: Query, *, buckets: bool, width: int = 12) -> Panel:
    """Return a heat map."""
    return Panel("heat", title, text, (query,), width=width, height=10, buckets=buckets)


def timeline(title: str, text: str, *queries: Query, width: int = 12) -> Panel:
    """Return a timeline."""
    return Panel("timeline", title, text, queries, width=width)


def banded(panel: Panel, lower: str, upper: str) -> Panel:
    """Fill the area between two series; where there is only one, as with one `direction`, its line shows it."""
    return replace(panel, band=(lower, upper))


def above(panel: Panel, limit: float) -> Panel:
    """Draw a line at `limit`."""
    return replace(panel, limit=limit)
