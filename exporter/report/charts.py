"""Draws charts as SVG elements for a page, without fonts, scripts or addresses."""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from markupsafe import Markup

from detectors.types import Flags, Floats
from detectors.units import DAY
from exporter.backtest.quality import runs
from exporter.redact import printable
from exporter.report.data import JUDGED, SILENT, UNKNOWN, Curves, JobFacts, Period, ReportError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_JOBS: Final = 20
"""Jobs in the overview."""
LINE, BAND, EXPECTED, FLAG = "#1f3b57", "#9ec5e8", "#5b86b0", "#d9534f"
NOTHING, QUIET, DOWN, FINE = "#9aa0a6", "#f0b429", "#7b3fa0", "#cfe8d5"
_GAP: Final = {"facecolor": NOTHING, "alpha": 0.3, "linewidth": 0, "hatch": "//"}
_FLAGGED: Final = {"color": FLAG, "alpha": 0.18, "linewidth": 0}
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
            "the pictures of a report need matplotlib: pip install 'anomaly-exporter[plot]'; --text works without it"
        ) from None
    matplotlib.use("agg")


def overview(jobs: Sequence[JobFacts], period: Period) -> Markup:
    """Draw the number of entities flagged over time, and below it the state of each job."""
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
        _shade(above, unknown, period.times, period.step, _GAP)
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


def observed(curves: Curves, number: int) -> Markup:
    """Draw an incident: observed and expected values, the normal band, and when it was flagged."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        times = curves.times / DAY
        # The curves differ in stroke as well as in colour: many reports are printed in grey.
        axes.fill_between(times, curves.lower, curves.upper, color=BAND, alpha=0.55, linewidth=0, label="normal band")
        axes.plot(times, curves.expected, color=EXPECTED, linewidth=0.9, linestyle="--", label="expected")
        axes.plot(times, curves.value, color=LINE, linewidth=1.0, label="observed")
        step = float(curves.times[1] - curves.times[0]) if len(curves.times) > 1 else 60.0
        _shade(axes, curves.flag, curves.times, step, _FLAGGED, "flagged")
        # A few missing samples are normal; a longer run of them is a gap.
        shortest = 3 if len(curves.times) >= 10 else 1
        _shade(axes, np.isnan(curves.value), curves.times, step, _GAP, "nothing known", shortest)
        axes.set_ylim(_limits(curves))
        axes.spines[["top", "right"]].set_visible(False)
        _dates(axes, float(curves.times[0]), float(curves.times[-1]))
        figure.legend(loc="outside upper left", ncols=5, frameon=False, fontsize=7, columnspacing=1, handlelength=1.4)

    return _svg(f"incident{number}", "Observed against expected", (4.7, 2.1), draw)


def _shade(
    axes: "Axes", inside: Flags, times: Floats, step: float, style: Mapping[str, Any], label: str | None = None,
    shortest: int = 1,
) -> None:  # fmt: skip
    """Shade each run of at least `shortest` samples that are `inside`; the first bears the label."""
    for first, last in runs(inside):
        if last - first >= shortest:
            axes.axvspan((times[first] - step) / DAY, times[last - 1] / DAY, **style, label=label)
            label = None


def _limits(curves: Curves) -> tuple[float, float]:
    """Return the limits of the axis: they hold all values, and the band as far as the values stay visible."""
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
    """Draw the states of a job; the worse ones lie on top, and all are wide enough to be seen."""
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


def _dates(axes: "Axes", start: float, end: float) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    dates: Any = AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call] # matplotlib.dates has no types
    axes.set_xlim(start / DAY, end / DAY)
    axes.xaxis.set_major_locator(dates)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(dates, tz=UTC))  # type: ignore[no-untyped-call] # as above


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= 32 else f"{name[:31]}…"


def _svg(name: str, alt: str, size: tuple[float, float], draw: Callable[["Figure"], None]) -> Markup:
    """Return a chart of `size` inches; its ids begin with `name` because ids must be unique in a page."""
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
    return Markup(f'<svg role="img" aria-label="{alt}"{body}')  # noqa: S704 - matplotlib has escaped all text in it
