"""A picture per entity: series, band, flags and labels, with the score below."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats
from detectors.units import DAY
from exporter.backtest.entity_result import EntityResult
from exporter.backtest.quality import figures, leading, runs
from exporter.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST: Final = 200
"""Pictures drawn; more than that nobody looks at."""
_MOST_CHANNELS: Final = 4
_WIDTH, _DPI = 14.0, 100
_PIXELS: Final = 1200
"""Columns of a curve; each shows the lowest and the highest of its samples."""
"""Seconds; matplotlib counts days since 1970."""
_GAP: Final = 10
"""Steps without a sample that interrupt a curve."""
_NARROWEST: Final = 1 / 500
"""Share of the picture's width below which a span would not be seen."""
_SERIES, _BAND, _FLAG, _ALERT, _LABEL = "#1f3b57", "#9ec5e8", "#e8a33d", "#c8102e", "#2e8b57"


def require_matplotlib() -> None:
    """Raise InputError where matplotlib is not installed: before the evaluation, which may take an hour."""
    try:
        import matplotlib
    except ImportError:
        raise InputError("--plot needs matplotlib: pip install 'anomaly-exporter[plot]'") from None
    matplotlib.use("agg")


def plot(results: Sequence[EntityResult], folder: Path, progress: Callable[[int], None]) -> None:
    """Write `<name>.png` for each entity into `folder`. Raises InputError.

    Of several channels those are shown that were that contributed most, most often, while an incident was open.
    """
    require_matplotlib()
    for each in results:
        try:
            _draw(each, folder / f"{each.name}.png")
        except OSError as error:
            raise InputError(f"--out {folder}: {error.strerror}") from None
        progress(1)


def _draw(each: EntityResult, path: Path) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    shown = _channels(each)
    heights = [0.25, *[2.2 if len(shown) == 1 else 1.4] * len(shown), 1.3]
    figure = Figure(figsize=(_WIDTH, 1.1 + 1.35 * sum(heights)), dpi=_DPI, layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=True)
    times = each.times / DAY
    figure.suptitle(_title(each), x=0.01, ha="left", fontsize=11)
    _strip(axes[0], each, times)
    for row, channel in enumerate(shown, 1):
        _series(axes[row], each, times, channel)
        _spans(axes[row], each, times, each.flag, _FLAG, 0.25)
        _spans(axes[row], each, times, each.alert, _ALERT, 0.25)
    _score(axes[-1], each, times)
    dates = AutoDateLocator()  # type: ignore[no-untyped-call] # matplotlib.dates has no types
    axes[-1].xaxis.set_major_locator(dates)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(dates))  # type: ignore[no-untyped-call] # as above
    figure.savefig(path)


def _title(each: EntityResult) -> str:
    found = figures(each)
    text = each.name if len(each.name) <= 80 else f"{each.name[:79]}…"
    if found.labelled:
        text += f" · {found.found} of {found.events} events found · {found.false} false incidents"
    else:
        text += f" · {found.openings} incidents"
    return f"{text} · {found.alerts} alerts"


def _channels(each: EntityResult) -> list[int]:
    """Return the channels to draw, in their order."""
    if each.top_channel is None:
        return [0]
    flagged = [name for name, flag in zip(each.top_channel, each.flag.tolist(), strict=True) if flag]
    often = sorted(range(len(each.history.channels)), key=lambda at: -flagged.count(each.history.channels[at]))
    return sorted(often[:_MOST_CHANNELS])


def _strip(axes: "Axes", each: EntityResult, times: Floats) -> None:
    """Draw labels over the time that the figures count, and what the colours mean."""
    from matplotlib.patches import Patch

    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_frame_on(False)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    uncounting = np.arange(len(times)) < leading(each.label)
    _spans(axes, each, times, uncounting, "#cccccc", 1.0)
    handles = [Patch(color=_FLAG, alpha=0.4, label="incident"), Patch(color=_ALERT, alpha=0.4, label="alert")]
    if each.label is not None:
        _spans(axes, each, times, each.label == 1, _LABEL, 1.0)
        handles.append(Patch(color=_LABEL, label="labelled event"))
    if uncounting.any():
        handles.append(Patch(color="#cccccc", label="not counted"))
    handles.append(Patch(color=_BAND, label="normal band"))
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(handles), fontsize=8, frameon=False
    )


def _series(axes: "Axes", each: EntityResult, times: Floats, channel: int) -> None:
    name = each.history.channels[channel] if each.history.channels else "value"
    of_this = (
        np.ones(len(times), np.bool_) if each.top_channel is None else np.array([name == b for b in each.top_channel])
    )
    lower, upper = np.where(of_this, each.numbers("lower"), np.nan), np.where(of_this, each.numbers("upper"), np.nan)
    at, low, high = envelope(times, lower, upper)
    axes.fill_between(at, low, high, color=_BAND, alpha=0.6, linewidth=0)
    _curve(axes, each, times, each.values[channel], _SERIES)
    axes.set_ylim(_limits(each.values[channel], lower, upper))
    axes.set_ylabel(name if len(name) <= 24 else f"{name[:23]}…", fontsize=9)
    axes.grid(alpha=0.25)


def _score(axes: "Axes", each: EntityResult, times: Floats) -> None:
    from matplotlib.ticker import FuncFormatter

    score = np.clip(each.score, 0.05, 1e4)  # on a logarithmic scale nothing is lower than zero
    _curve(axes, each, times, score, "#555555")
    axes.axhline(1.0, color=_ALERT, linewidth=0.9, linestyle="--")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    top = np.nanmax(score, initial=1.0)
    axes.set_ylim(0.05, max(10.0, 2 * float(top)))
    axes.set_ylabel("score", fontsize=9)
    axes.grid(alpha=0.25)
    axes.set_xlim(times[0], times[-1] if times[-1] > times[0] else times[0] + 1 / 24)
    axes.tick_params(labelsize=8)


def _curve(axes: "Axes", each: EntityResult, times: Floats, values: Floats, color: str) -> None:
    """Draw a line through the samples, interrupted where there are none; a single one is a dot."""
    at, low, high = envelope(times, values, values)
    x, y = np.repeat(at, 2), np.stack([low, high], axis=1).reshape(-1)
    gap = max(_GAP * each.step / DAY, 2.5 * (times[-1] - times[0]) / _PIXELS)
    breaks = np.flatnonzero(np.diff(x) > gap) + 1
    axes.plot(np.insert(x, breaks, np.nan), np.insert(y, breaks, np.nan), color=color, linewidth=0.8)


def _spans(axes: "Axes", each: EntityResult, times: Floats, inside: Flags, color: str, alpha: float) -> None:
    """Shade the rows `inside` over the whole height, none too narrow to be seen."""
    least = (times[-1] - times[0]) * _NARROWEST
    row = each.step / DAY
    bars = [
        (
            times[begin] - max(least - (times[end - 1] - times[begin]) - row, 0) / 2,
            max(times[end - 1] - times[begin] + row, least),
        )
        for begin, end in runs(inside)
    ]
    if bars:
        axes.broken_barh(bars, (0, 1), transform=axes.get_xaxis_transform(), color=color, alpha=alpha, linewidth=0)


def _limits(value: Floats, lower: Floats, upper: Floats) -> tuple[float, float]:
    """Return the limits of the axis: all values, and of the band what lies near them."""
    known = value[np.isfinite(value)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    room = (high - low) or abs(high) or 1.0
    band = [edge[np.isfinite(edge)] for edge in (lower, upper)]
    if len(band[0]):
        low = max(min(low, float(np.quantile(band[0], 0.01))), low - room / 2)
    if len(band[1]):
        high = min(max(high, float(np.quantile(band[1], 0.99))), high + room / 2)
    return low - room * 0.05, high + room * 0.05


def envelope(times: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats, Floats]:
    """Return at most `_PIXELS` times with the lowest of `low` and the highest of `high` there; NaN where none is."""
    if len(times) <= 2 * _PIXELS:
        return times, low, high
    order = np.argsort(times, kind="stable")
    edges = np.linspace(times[order[0]], times[order[-1]], _PIXELS, endpoint=False)
    starts: NDArray[np.intp] = np.unique(np.searchsorted(times[order], edges))
    lowest = np.fmin.reduceat(low[order], starts)
    return times[order][starts], lowest, np.fmax.reduceat(high[order], starts)
