"""Pictures as SVG to stand inside a page: no fonts, scripts or addresses in them."""

import io
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from detectors.types import Flags
from detectors.units import DAY
from exporter.backtest.quality import runs
from exporter.report.data import JUDGED, SILENT, UNKNOWN, Curves, JobFacts, Period, ReportError
from exporter.report.html import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_JOBS: Final = 20
"""Jobs with a strip of their own."""
LINE, BAND, EXPECTED, FLAG = "#1f3b57", "#9ec5e8", "#5b86b0", "#d9534f"
NOTHING, QUIET, DOWN, FINE = "#9aa0a6", "#f0b429", "#7b3fa0", "#cfe8d5"
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.parse_math": False,
    "axes.linewidth": 0.6,
}


def require_matplotlib() -> None:
    """Raise ReportError where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise ReportError(
            "the pictures of a report need matplotlib: pip install 'anomaly-exporter[plot]'; --text does without"
        ) from None
    matplotlib.use("agg")


def overview(jobs: Sequence[JobFacts], period: Period) -> Html:
    """Draw how many entities were flagged over time, and below what is known of each job."""
    jobs = jobs[:MOST_JOBS]
    height = max(0.22 * len(jobs), 0.3)
    together = np.sum([job.open for job in jobs], axis=0).astype(float)
    unknown = np.all([job.states != JUDGED for job in jobs], axis=0)
    together[unknown] = np.nan

    def draw(figure: "Figure") -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.7, height])
        changes = np.flatnonzero(np.nan_to_num(together[1:], nan=-1) != np.nan_to_num(together[:-1], nan=-1)) + 1
        edges = np.concatenate([[period.start], period.times[changes - 1], [period.end]]) / DAY
        levels = together[np.concatenate([[0], changes])]
        above.stairs(levels, edges, fill=True, color=FLAG, alpha=0.35, linewidth=0)
        above.stairs(levels, edges, color=FLAG, linewidth=1.0)
        _shade(above, period, unknown)
        above.set_ylim(0, max(1.0, float(np.nanmax(together, initial=0.0))) * 1.15)
        above.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        above.set_ylabel("entities flagged")
        for row, job in enumerate(jobs):
            _strip(below, period, job, row)
        below.set_yticks(range(len(jobs)), [_short(job.name) for job in jobs])
        below.set_ylim(len(jobs) - 0.4, -0.6)
        below.tick_params(length=0, axis="y")
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
        _dates(below, period.start, period.end)

    from matplotlib.ticker import MaxNLocator

    return _svg("overview", "Entities flagged over time, and what is known of each job", (9.0, 2.3 + height), draw)


def observed(curves: Curves, number: int) -> Html:
    """Draw an incident: observed, expected, the band, and when it was flagged."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        times = curves.times / DAY
        # Told apart by stroke as well as by colour: many reports are printed grey.
        axes.fill_between(times, curves.lower, curves.upper, color=BAND, alpha=0.55, linewidth=0, label="normal band")
        axes.plot(times, curves.expected, color=EXPECTED, linewidth=0.9, linestyle="--", label="expected")
        axes.plot(times, curves.value, color=LINE, linewidth=1.0, label="observed")
        _spans(axes, curves)
        axes.set_ylim(_limits(curves))
        axes.spines[["top", "right"]].set_visible(False)
        _dates(axes, float(curves.times[0]), float(curves.times[-1]))
        figure.legend(loc="outside upper left", ncols=5, frameon=False, fontsize=7, columnspacing=1, handlelength=1.4)

    return _svg(f"incident{number}", "Observed against expected", (4.7, 2.1), draw)


def _spans(axes: "Axes", curves: Curves) -> None:
    step = (curves.times[1] - curves.times[0]) if len(curves.times) > 1 else 60.0
    label: str | None = "flagged"
    for first, last in runs(curves.flag):
        begin, end = (curves.times[first] - step) / DAY, curves.times[last - 1] / DAY
        axes.axvspan(begin, end, color=FLAG, alpha=0.18, linewidth=0, label=label)
        label = None
    label = "nothing known"
    # A sample now and then may be missing; what lasts is a gap.
    for first, last in runs(np.isnan(curves.value)):
        if last - first > 2 or len(curves.times) < 10:
            begin, end = (curves.times[first] - step) / DAY, curves.times[last - 1] / DAY
            axes.axvspan(begin, end, facecolor=NOTHING, alpha=0.3, linewidth=0, hatch="//", label=label)
            label = None


def _limits(curves: Curves) -> tuple[float, float]:
    """Return the limits of the axis: all values, and as much of the band as leaves them visible."""
    known = curves.value[np.isfinite(curves.value)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    room = (high - low) or abs(high) or 1.0
    for edge in (curves.lower, curves.upper, curves.expected):
        if len(inside := edge[np.isfinite(edge)]):
            low = min(low, max(float(np.quantile(inside, 0.02)), low - room / 2))
            high = max(high, min(float(np.quantile(inside, 0.98)), high + room / 2))
    return low - 0.05 * room, high + 0.05 * room


def _strip(axes: "Axes", period: Period, job: JobFacts, row: int) -> None:
    """Draw what is known of a job; what must not be overlooked lies on top, none too narrow to be seen."""
    least, step = (period.end - period.start) / 400 / DAY, period.step / DAY
    begins = period.times / DAY - step
    for inside, color, height in (
        (job.states == JUDGED, FINE, 0.72),
        (job.states == SILENT, QUIET, 0.72),
        (job.states == UNKNOWN, NOTHING, 0.72),
        (job.open > 0, FLAG, 0.72),
        (job.source_down, DOWN, 0.3),
    ):
        bars = [(begins[first], max((last - first) * step, least)) for first, last in runs(inside)]
        axes.broken_barh(bars, (row + 0.36 - height, height), color=color, linewidth=0)


def _shade(axes: "Axes", period: Period, inside: Flags) -> None:
    ends, step = period.times / DAY, period.step / DAY
    for first, last in runs(inside):
        axes.axvspan(ends[first] - step, ends[last - 1], facecolor=NOTHING, alpha=0.3, linewidth=0, hatch="//")


def _dates(axes: "Axes", start: float, end: float) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    dates: Any = AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call] # matplotlib.dates has no types
    axes.set_xlim(start / DAY, end / DAY)
    axes.xaxis.set_major_locator(dates)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(dates, tz=UTC))  # type: ignore[no-untyped-call] # as above


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:31]}…"


def _svg(name: str, alt: str, size: tuple[float, float], draw: Callable[["Figure"], None]) -> Html:
    """Return a picture of `size` inches; its ids begin with `name`, since all pictures share the ids of one page."""
    import matplotlib
    from matplotlib.figure import Figure

    written = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = written.getvalue()
    body = text[text.index("<svg") + len("<svg") :]
    for reference in ('id="', "url(#", 'href="#'):
        body = body.replace(reference, f"{reference}{name}-")
    return Html(f'<svg role="img" aria-label="{alt}"{body}')
