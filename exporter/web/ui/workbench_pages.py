"""The pages of the workbench, drawn from the answers of its API."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
from markupsafe import Markup

from exporter import incident_wording as wording
from exporter.promql import format_duration
from exporter.web.ui import graphs
from exporter.web.ui.pages import floats, labels_text, render, ticks
from exporter.web.ui.preview_answers import Decided, Preview, PreviewCurve, PreviewSeries
from exporter.web.ui.workbench_parameters import CHANNEL, CHOICE, QUESTION, channels_of

_HEIGHT: Final = 160
_STRIP: Final = 14
RANGES: Final = ("1d", "3d", "7d", "14d")
STEPS: Final = ("30s", "1m", "2m", "5m", "15m")
_REFRESH: Final = 2
"""Seconds after which a page without JavaScript looks again how far a replay is."""


def form_page(found: Mapping[str, str], jobs: Mapping[str, Any], token: str, wrong: str = "") -> str:
    """Show the form; `wrong` is what is wrong with what was sent."""
    return _page("workbench.html", found, jobs, token, wrong=wrong, answer=None, refresh=0)


def result_page(answer: Preview, found: Mapping[str, str], jobs: Mapping[str, Any], token: str) -> str:
    """Show the form and what was found."""
    going = answer.state in {"reading", "first look"}
    return _page(
        "workbench.html",
        found,
        jobs,
        token,
        wrong="",
        answer=answer,
        refresh=_REFRESH * going,
        **_result(answer, found),
    )


def result_part(answer: Preview, found: Mapping[str, str]) -> str:
    """Show what was found, to be put into the page that is open."""
    return render("workbench_result.html", "", answer=answer, **_result(answer, found))


def _page(template: str, found: Mapping[str, str], jobs: Mapping[str, Any], token: str, **context: Any) -> str:
    asked = {"range": "14d", "step": "1m", "name": "", "expr": ""} | _of_job(found.get("job", ""), jobs)
    asked |= {name: value for name, value in found.items() if name in (*QUESTION, *CHOICE)}
    channels = channels_of(found) or _channels_of(found.get("job", ""), jobs)
    known = [(name, list(job.queries.values())) for name, job in jobs.items()]
    return render(
        template, "Workbench", title="Workbench", asked=asked, channels=channels, jobs=known, token=token, spans=RANGES,
        steps=STEPS if asked["step"] in STEPS else (*STEPS, asked["step"]), **context,
    )  # fmt: skip


def _of_job(name: str, jobs: Mapping[str, Any]) -> dict[str, str]:
    """Return what a job of the configuration would be tried with."""
    if (job := jobs.get(name)) is None:
        return {}
    return {
        "expr": next(iter(job.queries.values())), "job": name, "name": name, "step": format_duration(job.step),
        "direction": job.direction, "least_deviation": plain(job.least_deviation), "budget": plain(job.budget),
    }  # fmt: skip


def _channels_of(name: str, jobs: Mapping[str, Any]) -> dict[str, str]:
    """Return the channels of a job of the configuration that has several."""
    queries = {} if (job := jobs.get(name)) is None else job.queries
    return dict(queries) if len(queries) > 1 else {}


def _result(answer: Preview, found: Mapping[str, str]) -> dict[str, Any]:
    """Return what the template needs besides the answer."""
    decided = answer.decided
    if decided is None:
        return {
            "curves": [],
            "strips": {},
            "ticks": [],
            "here": "",
            "largest": 0.0,
            "least": "",
            "plain": plain,
            "learnt": "",
            "past": answer.past,
        }
    start, end = _seconds(answer.start), _seconds(answer.end)
    by_row: dict[int, list[PreviewCurve]] = {}
    for curve in decided.curves:
        by_row.setdefault(curve.row, []).append(curve)
    series = {each.row: each for each in decided.series}
    kept = {name: value for name, value in found.items() if name in ("preview", *QUESTION) or name.startswith(CHANNEL)}
    chosen = {"direction": decided.direction, "least_deviation": plain(decided.least_deviation),
              "budget": plain(decided.budget)}  # fmt: skip
    unit = decided.curves[0].unit if decided.curves else ""
    return {
        "curves": [
            {"labels": series[row].labels, "alerts": series[row].alerts, "incidents": series[row].incidents,
             "drawn": [_drawn(each, series[row], start, end, answer.step) for each in several]}
            for row, several in by_row.items()
        ],
        "strips": {each.row: _strip(each, start, end) for each in decided.series if each.incidents},
        "ticks": ticks(start, end),
        "here": f"workbench?{urlencode(kept | chosen, errors='replace')}",
        "largest": _largest(decided),
        "plain": plain,
        "learnt": format_duration(round(answer.learnt)),
        "least": wording.number(decided.least_deviation, unit) if decided.least_deviation else "",
        "past": None,
    }  # fmt: skip


def _drawn(curve: PreviewCurve, series: PreviewSeries, start: float, end: float, step: float) -> dict[str, Any]:
    times = np.array(curve.times)
    value, expected, lower, upper = (floats(each) for each in (curve.value, curve.expected, curve.lower, curve.upper))
    low, high = graphs.axis_limits(value, lower, upper, expected)
    frame = graphs.Frame(start, end, low, high, _HEIGHT)
    told = f"{curve.channel} of {labels_text(series.labels)}: {series.incidents} incidents, {series.alerts} alerts"
    svg = graphs.graph(frame, times, step, value, told, expected=expected, band=(lower, upper),
                       opened=series.open, alerted=series.alert)  # fmt: skip
    return {"channel": curve.channel, "svg": svg, "top": wording.number(high, curve.unit),
            "bottom": wording.number(low, curve.unit)}  # fmt: skip


def _strip(series: PreviewSeries, start: float, end: float) -> Markup:
    """Draw when incidents of a series were open, and alerts among them."""
    frame = graphs.Frame(start, end, 0.0, 1.0, _STRIP)
    told = f"{series.incidents} incidents, {series.alerts} alerts"
    return graphs.strip(frame, {"open": series.open, "alert": series.alert}, told)


def _largest(decided: Decided) -> float:
    """Return the largest deviation in the curves: where a slider for the least one ends."""
    most = 0.0
    for curve in decided.curves:
        away = np.abs(floats(curve.value) - floats(curve.expected))
        most = max(most, float(np.nanmax(away, initial=0.0)))
    return float(f"{most:.1e}") if math.isfinite(most) else 0.0


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else math.nan


def plain(value: float) -> str:
    """Write a number as people type it into a field: without an exponent, as far as that can be read."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.12g}"
