"""The pages, drawn from the answers of the API: what they say is decided there, how it is marked up in `templates/`."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from detectors.streams import WITHOUT_SIDE
from detectors.types import Floats, Key
from detectors.units import DAY, HOUR, WEEK
from exporter import __version__
from exporter import incident_wording as wording
from exporter.query_units import Unit
from exporter.redact import printable
from exporter.sinks.recent import Curves
from exporter.templating import environment
from exporter.web.ui import graphs
from exporter.web.ui.answer_form import AnswerForm
from exporter.web.ui.answers import Now, OpenIncident, PastIncidents, Stream
from exporter.web.ui.facts import Running
from exporter.web.ui.feedback_answers import Answers
from exporter.web.ui.feedback_wording import KINDS
from exporter.web.ui.jobs import named
from exporter.web.ui.parameters import COMPARED
from exporter.web.ui.related_answers import Related
from exporter.web.ui.series import Asked
from exporter.web.ui.series_answers import Ambiguous, Series
from exporter.web.ui.status_answers import Status

DRAWN: Final = 50
"""Incidents of the first page with a sparkline: the worst."""
SPARK_SAMPLES: Final = 40
_LONGEST: Final = 160
_GRAPH_HEIGHT, _SCORE_HEIGHT = 220, 90
ENDINGS: Final = {
    "": "open when it was last judged",
    "recovered": "back to normal",
    "adopted": "lasted so long that its level counts as normal (max_hold)",
    "accepted": "accepted as normal",
    "expected": "somebody answered that it is expected; it is not shown any more unless it grows larger",
    "no data": "no data any more: whether it was over is unknown",
    "removed": "its job has left the configuration",
    "unknown": "nobody saw how it ended: the exporter did not run, or its job began again",
}
_COMPARED: Final = {back: name for name, back in COMPARED.items()}
RANGES: Final = ((3600, "1 h"), (21_600, "6 h"), (86_400, "1 d"), (604_800, "1 w"), (1_209_600, "2 w"))


def now_page(answer: Now, running: Running) -> str:
    """Show what is wrong now."""
    shown = [each for group in answer.groups for each in group.incidents][:DRAWN]
    sparks: dict[str, Markup] = {}
    for job in {each.job for each in shown}:
        keys = {tuple(sorted(each.labels.items())): each for each in shown if each.job == job}
        for key, curves in running.recent.curves(job, list(keys), SPARK_SAMPLES).items():
            incident = keys[tuple(sorted(key))]
            sparks[incident.link] = _spark(curves, incident)
    return render("now.html", "Now", answer=answer, sparks=sparks, **headline(answer))


def headline(answer: Now) -> dict[str, str]:
    """Return the state of everything in a word for its colour, a headline, and what the title of the window says."""
    blind = {"failing", "warming", "waiting", "late", "empty"} & {each.kind for each in answer.unseen}
    if answer.open:
        mood = "alert" if answer.alerting else "open"
        told = _counted(answer.open, "open incident")
        if answer.alerting:
            alerts = _counted(answer.alerting, "alert")
            told = alerts if answer.alerting == answer.open else f"{alerts}, {told} in all"
    elif answer.last_seen:
        mood, told = "open", f"Not known: {_counted(len(answer.last_seen), 'incident')} may still be open"
    elif answer.near:
        mood, told = "open", f"{_counted(answer.near, 'limit')} near"
    elif not answer.quiet.watched:
        mood, told = "unknown", "Nothing is known: no series has a verdict"
    elif blind:
        mood, told = "unknown", "Nothing found, but not everything can be seen"
    else:
        mood, told = "quiet", "Quiet: nothing is unusual"
    return {"mood": mood, "told": told, "title": told}


def series_page(answer: Series, asked: Asked, form: AnswerForm, related: Related | None = None) -> str:
    """Show one series or one of its incidents, with what else moved then and the form for answers to it."""
    drawn = [_drawn(answer, at) for at in range(len(answer.curves))]
    score = None
    if any(each is not None for each in answer.scores):
        most = max(2.0, 1.1 * max(each for each in answer.scores if each is not None))
        frame = graphs.Frame(answer.start, answer.end, 0.0, most, _SCORE_HEIGHT)
        times, scores = np.array(answer.times), floats(answer.scores)
        score = graphs.graph(frame, times, graphs.step_of(times), scores, "score", limit=1.0)
    rows = list(zip(answer.times, *(curve.value for curve in answer.curves), answer.scores, strict=True))[-20:]
    kind = "Incident" if answer.incident or answer.past else "Series"
    return render(
        "series.html", "", answer=answer, drawn=drawn, score=score, normal=normal, rows=rows[::-1], ranges=RANGES,
        compared=_COMPARED.get(asked.back, ""), overlays=_overlays(asked), seconds=asked.seconds, kind=kind,
        title=f"{kind} of {answer.job}: {labels_text(answer.labels)}",
        ticks=ticks(answer.start, answer.end), form=form, related=related, ahead=_ahead(answer),
    )  # fmt: skip


def _overlays(asked: Asked) -> list[tuple[str, bool, str]]:
    """Return what can be laid over: its name, whether it is, and what to compare with to change that."""
    found = []
    for text, back in (("over yesterday", DAY), ("over last week", WEEK)):
        others = {each for each in asked.back if each != back}
        wanted = others if back in asked.back else others | {back}
        found.append((text, back in asked.back, _COMPARED.get(tuple(sorted(wanted)), "")))
    return found


def choice_page(answer: Ambiguous) -> str:
    """Let one of several series be chosen."""
    return render("choice.html", "", answer=answer, title="Which series?")


def past_page(answer: PastIncidents, asked: Mapping[str, str], jobs: list[str], query: Mapping[str, str]) -> str:
    """Show incidents that are over; `query` are links to other pages and forms of the same list."""
    return render("past.html", "Past incidents", answer=answer, asked=asked, jobs=jobs, query=query, kinds=KINDS,
                   title="Past incidents")  # fmt: skip


def answers_page(
    answer: Answers, asked: Mapping[str, str], jobs: list[str], token: str, query: Mapping[str, str]
) -> str:
    """Show what people answered to incidents; `query` are links to other pages and files of the same list."""
    return render("answers.html", "Answers", answer=answer, asked=asked, jobs=jobs, token=token, query=query,
                   title="Answers to incidents")  # fmt: skip


def status_page(answer: Status, enable_reload: bool) -> str:
    """Show how the exporter itself stands."""
    return render("status.html", "Status", answer=answer, enable_reload=enable_reload, title="Status")


def refusal_page(title: str, text: str) -> str:
    """Say what happened and what to do."""
    return render("refusal.html", "", title=title, text=text)


def render(template: str, current: str, **context: Any) -> str:
    """Write a page; `current` is the name of its entry in the navigation."""
    return _TEMPLATES.get_template(template).render(current=current, version=__version__, **context)


def _spark(curves: Curves, incident: OpenIncident) -> Markup:
    most = max(range(len(incident.channels)), key=lambda at: incident.channels[at].contribution or 0.0)
    at = min(most, curves.value.shape[1] - 1)
    alt = f"the last {_counted(len(curves.times), 'sample')}: {incident.now}"
    return graphs.sparkline(
        curves.times, curves.value[:, at], curves.lower[:, at], curves.upper[:, at], curves.flag, alt
    )


def _drawn(answer: Series, at: int) -> dict[str, Any]:
    """Return the graph of a channel with what is written at its edges."""
    curve, times = answer.curves[at], np.array(answer.times)
    value, expected, lower, upper = (floats(each) for each in (curve.value, curve.expected, curve.lower, curve.upper))
    before = [floats(each) for each in (curve.before, curve.week_before) if each]
    if not len(times) or not np.isfinite(value).any():
        return {"channel": curve.channel, "svg": None, "top": "", "bottom": ""}
    low, high = graphs.axis_limits(np.concatenate([value, *before]), lower, upper, expected)
    frame = graphs.Frame(answer.start, answer.end, low, high, _GRAPH_HEIGHT)
    told = wording.reading(_last(value), _last(expected), _last(lower), _last(upper), None, curve.unit)
    svg = graphs.graph(
        frame, times, graphs.step_of(times), value, f"{curve.channel}: {told}", expected=expected, band=(lower, upper),
        flag=floats(answer.flag), alert=floats(answer.alert), before=before, marks=[each.at for each in answer.deploys],
    )  # fmt: skip
    top, bottom = wording.number(high, curve.unit), wording.number(low, curve.unit)
    return {"channel": curve.channel, "svg": svg, "top": top, "bottom": bottom}


def _ahead(answer: Series) -> dict[str, Any] | None:
    """Return the graph of a forecast: hours of the past, and what may come until the limit."""
    found = answer.forecast
    if found is None:
        return None
    ends = [np.array(found.past_times), np.array(found.times)]
    past, early, expected, late = (floats(each) for each in (found.past, found.early, found.expected, found.late))
    times = np.concatenate(ends)
    before, after = np.full(len(past), np.nan), np.full(len(expected), np.nan)
    low, high = graphs.axis_limits(np.concatenate([past, expected, [found.limit]]), early, late)
    frame = graphs.Frame(float(times[0]), float(times[-1]), low, high, _GRAPH_HEIGHT)
    band = np.concatenate([before, np.fmin(early, late)]), np.concatenate([before, np.fmax(early, late)])
    svg = graphs.graph(
        frame, times, HOUR, np.concatenate([past, after]), answer.limit or "forecast", band=band, limit=found.limit,
        expected=np.concatenate([before, expected]), marks=[found.times[0]],
    )  # fmt: skip
    top, bottom = wording.number(high, found.unit), wording.number(low, found.unit)
    return {"svg": svg, "top": top, "bottom": bottom, "ticks": ticks(float(times[0]), float(times[-1]))}


def normal(lower: float | None, upper: float | None, unit: Unit) -> str:
    """Write what would be normal."""
    limits = [wording.number(each, unit) for each in (lower, upper) if each is not None]
    if not limits:
        return "the detector gives no band"
    if len(limits) == 2:
        return f"{limits[0]} to {limits[1]}"
    return f"{'up to' if lower is None else 'at least'} {limits[0]}"


def ticks(start: float, end: float) -> list[str]:
    """Write the times along an axis."""
    dated = end - start > wording.DATED
    return [wording.moment(start + share * (end - start), dated) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]


def floats(values: list[float | None]) -> Floats:
    """Return numbers of an answer, NaN where it has none."""
    return np.array([math.nan if each is None else each for each in values], np.float64)


def _last(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else None


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def labels_text(labels: Mapping[str, str] | Key) -> str:
    """Write labels, the beginning of very long ones."""
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    return clipped(", ".join(f"{name}={value}" for name, value in pairs) or "its only series")


def clipped(text: str, most: int = _LONGEST) -> str:
    """Return the beginning of a text that is too long to be read."""
    return text if len(text) <= most else text[: most - 1] + "…"


def clock(text: str | None, at: str | None = None) -> Markup:
    """Write a time of an answer, with its date unless that is the one of `at`."""
    if text is None:
        return Markup("unknown")
    dated = at is None or text[:10] != at[:10]
    shown = wording.moment(datetime.fromisoformat(text).timestamp(), dated)
    return Markup('<time datetime="{}">{} UTC</time>').format(text, shown)


def ago(text: str | None, at: str | None) -> str:
    """Write how long before `at` a time of an answer was."""
    if text is None or at is None:
        return "unknown"
    seconds = (datetime.fromisoformat(at) - datetime.fromisoformat(text)).total_seconds()
    return f"{wording.length(max(seconds, 0.0))} ago"


def figure(value: float | None, unit: Unit = "") -> str:
    """Write a number, a dash where there is none."""
    return "-" if value is None else wording.number(value, unit)


def _size(stream: Stream) -> str:
    """Write how far from usual a stream is, and on which side."""
    if stream.size is None:
        return "-"
    text = wording.deviations(stream.size)
    return text if stream.name in WITHOUT_SIDE else f"{text} {'below' if stream.size < 0 else 'above'}"


def _by_chance(stream: Stream) -> str:
    """Write how often so much comes by chance."""
    return "-" if stream.every is None else wording.often(stream.every)


def _sentence(text: str) -> str:
    """Write a part of a sentence as one."""
    return f"{text[:1].upper()}{text[1:]}."


def lines(text: str) -> Markup:
    """Keep the lines of a text, and nothing else that is unprintable."""
    return Markup("\n").join(printable(line) for line in text.splitlines())


def _tick(seconds: float) -> str:
    return wording.moment(seconds, dated=True)


_TEMPLATES: Final = environment("exporter.web.ui")
_TEMPLATES.filters |= {
    "labels": labels_text, "clipped": clipped, "clock": clock, "ago": ago, "figure": figure, "lasting": wording.length,
    "counted": _counted, "named": named, "tick": _tick, "lines": lines, "ending": ENDINGS.__getitem__,
    "kind": KINDS.__getitem__, "size": _size, "by_chance": _by_chance, "sentence": _sentence,
}  # fmt: skip
