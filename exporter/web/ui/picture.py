"""The small picture of an incident in a message: value, what was normal, and when the incident was open, as PNG.

Where everything lies in it comes from `graphs`, as on the page. There is no text of labels in it: only numbers with
their unit and times, so that nothing has to be escaped and one font is enough.
"""

import io
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from detectors.types import Flags
from detectors.units import HOUR
from exporter import incident_wording as wording
from exporter.query_units import Unit
from exporter.sinks.notify.notification import Incident
from exporter.sinks.recent import Curves
from exporter.web.ui.facts import Running
from exporter.web.ui.graphs import Frame, axis_limits, step_of

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

WIDTH: Final = 640
HEIGHT: Final = 240
_FINER: Final = 2
"""Points drawn for one of the picture: what is made smaller has smooth lines."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 26, 24
_PAPER, _INK, _SOFT, _LINE = "#ffffff", "#17202a", "#55616e", "#d5dce3"
_VALUE, _BAND, _EXPECTED, _OPEN, _ALERT = "#1f3b57", "#bcd3ea", "#5b7fa5", "#ffe2a8", "#f5b5ae"
_FEWEST: Final = 2


def incident_picture(running: Running, incident: Incident) -> bytes | None:
    """Return the picture of an incident as far as it is remembered, None where nothing is."""
    job = running.facts().jobs.get(incident.job)
    curves = running.recent.curves(incident.job, [incident.key]).get(incident.key)
    if job is None or curves is None:
        return None
    channels = list(job.config.queries)
    name = incident.channels[0].name if incident.channels else channels[0]
    if curves.value.shape[1] != len(channels) or name not in channels:  # of another configuration of the job
        return None
    until = float(curves.times[-1]) if incident.over is None else incident.over
    margin = max(until - incident.since, HOUR)
    shown = (curves.times >= incident.since - margin) & (curves.times <= until + margin / 2)
    at = channels.index(name)
    if shown.sum() < _FEWEST or not np.isfinite(curves.value[shown, at]).any():
        return None
    return draw(curves, shown, at, job.units.get(name, ""))


def draw(curves: Curves, shown: Flags, at: int, unit: Unit = "") -> bytes:
    """Return the PNG of one channel over the samples that are `shown`, shape (N,)."""
    from PIL import Image, ImageDraw

    times = curves.times[shown]
    value, expected, lower, upper = (
        each[shown, at] for each in (curves.value, curves.expected, curves.lower, curves.upper)
    )
    low, high = axis_limits(value, lower, upper, expected)
    step = step_of(times)
    inner = ((WIDTH - _LEFT - _RIGHT) * _FINER, (HEIGHT - _TOP - _BOTTOM) * _FINER)
    frame = Frame(float(times[0]) - step, float(times[-1]), low, high, inner[1], inner[0])
    graph = Image.new("RGB", inner, _PAPER)
    pen = ImageDraw.Draw(graph)
    for inside, color in ((curves.flag[shown] > 0, _OPEN), (curves.alert[shown] > 0, _ALERT)):
        for left, right in frame.columns(times, inside, step):
            pen.rectangle((left, 0, right, inner[1]), color)
    for corners in frame.areas(times, lower, upper):
        pen.polygon(corners, _BAND)
    for points in frame.lines(times, expected):
        pen.line(points, _EXPECTED, 2)
    for points in frame.lines(times, value):
        pen.line(points, _VALUE, 4, "curve")
    picture = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    picture.paste(graph.reduce(_FINER), (_LEFT, _TOP))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((_LEFT - 1, _TOP - 1, WIDTH - _RIGHT, HEIGHT - _BOTTOM), outline=_LINE)
    _write(pen, float(times[0]) - step, float(times[-1]), wording.number(low, unit), wording.number(high, unit))
    found = io.BytesIO()
    picture.quantize(64).save(found, "PNG", optimize=False)
    return found.getvalue()


@cache
def warm_up() -> None:
    """Draw a picture that nobody sees: the library takes up to half a second to load, and the first incident waits."""
    times, line = np.arange(3.0), np.arange(3.0)[:, None]
    draw(Curves(times, line, line, line - 1, line + 1, times, times, times), np.ones(3, np.bool_), 0)


def _write(pen: "ImageDraw", start: float, end: float, low: str, high: str) -> None:
    """Write the legend above, the limits inside, and the times below."""
    font = _font()
    left = float(_LEFT)
    for color, text in (
        (_VALUE, "value"), (_BAND, "normal"), (_EXPECTED, "expected"), (_OPEN, "incident"), (_ALERT, "alert"),
    ):  # fmt: skip
        pen.rectangle((left, 8, left + 14, 16), color)
        pen.text((left + 19, 5), text, _SOFT, font)
        left += 19 + pen.textlength(text, font) + 14
    for text, down in ((high, _TOP + 2), (low, HEIGHT - _BOTTOM - 17)):
        box = (_LEFT + 1, down, _LEFT + 9 + pen.textlength(text, font), down + 15)
        pen.rectangle(box, _PAPER)
        pen.text((_LEFT + 5, down), text, _INK, font)
    dated = end - start > wording.DATED
    for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        told = wording.moment(start + share * (end - start), dated) + (" UTC" if share == 1.0 else "")
        across = _LEFT + share * (WIDTH - _LEFT - _RIGHT)
        pen.text((across, HEIGHT - _BOTTOM + 4), told, _SOFT, font, anchor)


@cache
def _font() -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(13)
