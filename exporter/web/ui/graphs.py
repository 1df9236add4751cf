"""Graphs as SVG elements, drawn here on the server: without scripts, fonts, inline styles or addresses.

A graph has only shapes, which are stretched to the width there is; what is written next to it is HTML, which is not.
Colours are classes of `static/ui.css`, so that they follow light and dark.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from markupsafe import Markup, escape

from detectors.types import Flags, Floats
from exporter.redact import printable

WIDTH: Final = 1000
SPARK_WIDTH, SPARK_HEIGHT = 160, 36
_GAP: Final = 2.5
"""Steps without a sample that are a gap in a line."""
Points = list[tuple[int, int]]


Spans = Sequence[Sequence[float]]
"""Begins and ends, Unix seconds."""


def axis_limits(value: Floats, *edges: Floats) -> tuple[float, float]:
    """Return the limits of an axis: they hold all values, and the edges as far as the values stay visible."""
    known = value[np.isfinite(value)]
    if not len(known):
        known = np.concatenate([edge[np.isfinite(edge)] for edge in edges]) if edges else known
        if not len(known):
            return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    room = (high - low) or abs(high) or 1.0
    for edge in edges:
        if len(inside := edge[np.isfinite(edge)]):
            low = min(low, max(float(np.quantile(inside, 0.02)), low - room / 2))
            high = max(high, min(float(np.quantile(inside, 0.98)), high + room / 2))
    return low - 0.05 * room, high + 0.05 * room


def runs_of(inside: Flags) -> Iterator[tuple[int, int]]:
    """Yield the first index and the one after the last of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


class Frame:
    """Where times and values are in a picture.

    Parameters
    ----------
    start, end : float
        Unix seconds at the left and right edge.
    low, high : float
        Values at the lower and upper edge.
    height, width : int
    """

    def __init__(self, start: float, end: float, low: float, high: float, height: int, width: int = WIDTH) -> None:
        self._start, self._span = start, max(end - start, 1e-9)
        self._low, self._room = low, max(high - low, 1e-300)
        self.height, self.width = height, width

    def x(self, times: Floats) -> list[int]:
        """Return horizontal positions."""
        share = np.clip((times - self._start) / self._span, 0.0, 1.0)
        found: list[int] = np.rint(share * self.width).astype(int).tolist()
        return found

    def y(self, values: Floats) -> list[int]:
        """Return vertical positions, of what is outside the picture at its edge."""
        share = np.clip((values - self._low) / self._room, 0.0, 1.0)
        found: list[int] = np.rint((1.0 - share) * self.height).astype(int).tolist()
        return found

    def lines(self, times: Floats, values: Floats) -> Iterator[Points]:
        """Yield the points of a line, which is broken where samples are missing."""
        for first, last in _pieces(times, np.isfinite(values)):
            x, y = self.x(times[first:last]), self.y(values[first:last])
            if last - first == 1:  # a dot
                x, y = [x[0], x[0] + 1], [y[0], y[0]]
            yield list(zip(x, y, strict=True))

    def areas(self, times: Floats, lower: Floats, upper: Floats) -> Iterator[Points]:
        """Yield the corners of the areas between two lines; a missing limit is the edge of the picture."""
        for first, last in _pieces(times, np.isfinite(lower) | np.isfinite(upper)):
            x = self.x(times[first:last])
            top = self.y(np.nan_to_num(upper[first:last], nan=np.inf, posinf=np.inf))
            bottom = self.y(np.nan_to_num(lower[first:last], nan=-np.inf, neginf=-np.inf))
            if last - first == 1:
                x, top, bottom = [x[0], x[0] + 1], top * 2, bottom * 2
            yield [*zip(x, top, strict=True), *zip(reversed(x), reversed(bottom), strict=True)]

    def columns(self, times: Floats, inside: Flags, step: float) -> Iterator[tuple[int, int]]:
        """Yield the left and right edge wherever a sample, the end of its step, is `inside`."""
        for first, last in runs_of(inside):
            left, right = self.x(np.array([times[first] - step, times[last - 1]]))
            yield left, max(right, left + 2)

    def boxes(self, spans: Spans) -> str:
        """Return the path of the whole height from the begin to the end of each span."""
        parts = []
        for begin, end in spans:
            left, right = self.x(np.array([begin, end]))
            parts.append(f"M{left} 0H{max(right, left + 2)}V{self.height}H{left}Z")
        return "".join(parts)

    def line(self, times: Floats, values: Floats) -> str:
        """Return the path of a line."""
        return "".join(_drawn(points) for points in self.lines(times, values))

    def band(self, times: Floats, lower: Floats, upper: Floats) -> str:
        """Return the path of the area between two lines."""
        return "".join(f"{_drawn(points)}Z" for points in self.areas(times, lower, upper))

    def spans(self, times: Floats, inside: Flags, step: float) -> str:
        """Return the path of the whole height wherever a sample is `inside`."""
        edges = self.columns(times, inside, step)
        return "".join(f"M{left} 0H{right}V{self.height}H{left}Z" for left, right in edges)


def _drawn(points: Points) -> str:
    return "M" + "L".join(f"{across} {down}" for across, down in points)


def strip(frame: Frame, spans: Mapping[str, Spans], alt: str) -> Markup:
    """Draw a row of boxes, those of the last kind on top."""
    return _svg("strip", alt, frame, [_path(kind, frame.boxes(of_kind)) for kind, of_kind in spans.items()])


def _pieces(times: Floats, there: Flags) -> Iterator[tuple[int, int]]:
    """Yield the runs of samples that are `there`, cut where times are too far apart."""
    apart = np.diff(times)
    usual = float(np.median(apart)) if len(apart) else 0.0
    far = np.flatnonzero(apart > _GAP * usual) + 1
    for first, last in runs_of(there):
        inner = far[(far > first) & (far < last)].tolist()
        yield from zip([first, *inner], [*inner, last], strict=True)


def step_of(times: Floats) -> float:
    """Return the usual seconds between two samples."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 60.0


def sparkline(times: Floats, value: Floats, lower: Floats, upper: Floats, flag: Floats, alt: str) -> Markup:
    """Draw a small picture of value and band; where an incident was open the background is shaded."""
    low, high = axis_limits(value, lower, upper)
    step = step_of(times)
    frame = Frame(float(times[0]) - step, float(times[-1]), low, high, SPARK_HEIGHT, SPARK_WIDTH)
    shapes = [
        _path("open", frame.spans(times, flag > 0, step)),
        _path("band", frame.band(times, lower, upper)),
        _path("line", frame.line(times, value)),
    ]
    return _svg("spark", alt, frame, shapes)


def graph(
    frame: Frame, times: Floats, step: float, line: Floats, alt: str, *,
    expected: Floats | None = None, band: tuple[Floats, Floats] | None = None, flag: Floats | None = None,
    alert: Floats | None = None, limit: float | None = None, before: Sequence[Floats] = (),
    opened: Spans = (), alerted: Spans = (), marks: Sequence[float] = (),
) -> Markup:  # fmt: skip
    """Draw one graph of a series; `limit` is where a line across is drawn, `before` lines of up to two earlier times.

    `marks` are times (Unix seconds) at which a line from top to bottom is drawn.

    Where an incident was open, and where an alert, is told by sample (`flag`, `alert`) or by time.
    """
    shapes = []
    if flag is not None:
        shapes.append(_path("open", frame.spans(times, flag > 0, step)))
    if alert is not None:
        shapes.append(_path("alert", frame.spans(times, alert > 0, step)))
    if band is not None:
        shapes.append(_path("band", frame.band(times, *band)))
    shapes += [_path("open over", frame.boxes(opened)), _path("alert over", frame.boxes(alerted))]
    if limit is not None:
        (at,) = frame.y(np.array([limit]))
        shapes.append(_path("limit", f"M0 {at}H{frame.width}"))
    if expected is not None:
        shapes.append(_path("expected", frame.line(times, expected)))
    for kind, other in zip(("before", "week-before"), before, strict=False):
        shapes.append(_path(kind, frame.line(times, other)))
    if len(marks):
        shapes.append(_path("deploy", "".join(f"M{at} 0V{frame.height}" for at in frame.x(np.array(marks)))))
    shapes.append(_path("line", frame.line(times, line)))
    return _svg("graph", alt, frame, shapes)


def _path(kind: str, path: str) -> str:
    return f'<path class="{kind}" d="{path}"/>' if path else ""


def _svg(kind: str, alt: str, frame: Frame, shapes: list[str]) -> Markup:
    told = escape(printable(alt))
    head = f'<svg class="{kind}" role="img" aria-label="{told}" viewBox="0 0 {frame.width} {frame.height}"'
    return Markup(f'{head} preserveAspectRatio="none">{"".join(shapes)}</svg>')  # noqa: S704 - only numbers, and alt is escaped
