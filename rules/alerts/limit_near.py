"""The alert on series that may soon reach their limit: full, empty, out of date."""

import math
from typing import Final

from exporter import forecast_wording as wording
from exporter import incident_wording
from exporter.config.sections.forecast import CALM, SOON, ForecastConfig
from exporter.promql import format_duration, quote
from rules.alerts import names
from rules.alerts.alert import Alert, Case, milliseconds, series
from rules.alerts.incident_text import EARLY, EXPECTED
from rules.alerts.job_context import AlertedJob
from rules.alerts.number_templates import number_definitions, template_name
from rules.alerts.templates import Text, entity, graph_link, literal, picked, selector_of

_LATE: Final = "anomaly_forecast_reaches_limit_late_timestamp_seconds"
_READ: Final = '{__name__=~"anomaly_forecast_.+",%s}'
_LASTS: Final = 600.0
"""Seconds that an alert stays after the last result that fires: forecasts are made again every hour."""


def limit_near(job: AlertedJob, forecast: ForecastConfig) -> Alert:
    """Return the alert on an early end within the horizon that stays there, where it is reached more likely than not.

    Where the expected end is not in sight, the series has only been known to move so much at once.
    """
    early, expected = job.newest(EARLY), job.newest(EXPECTED)
    within, calm = forecast.within, milliseconds(max(CALM * forecast.for_, 300.0))
    lately = [job.latest(name, calm) for name in (EARLY, EXPECTED)]
    near = f"{early} - time() <= {within / SOON:g}\n  or {lately[0]} - time() <= {within:g} and {lately[1]} < Inf"
    sure = f"{expected} < Inf"
    known = job.known(job.entity("a"))
    fired = 2 + math.ceil(forecast.for_ / 60)
    over = fired + math.ceil(max(_LASTS, job.config.alert.keep_firing_for) / 60) + 7
    soon = 60.0 * fired + min(forecast.within / 2, 36_000.0)
    ends = {EARLY: soon, EXPECTED: soon + 3600, _LATE: soon + 7200}
    far = {name: at + forecast.within + 60 * over for name, at in ends.items()}
    inf = dict.fromkeys(ends, math.inf)
    return Alert(
        name=names.LIMIT,
        expr=f"(\n  ({near})\n  and {sure}\n)\nor {job.still_firing(names.LIMIT, early, job.reachable)}",
        labels=job.labels,
        summary=literal(f"Limit near in {job.name}") + entity(known, job.labels),
        description=Text(_told(job, forecast), _text(job, forecast, ends, 60.0 * fired)),
        graph=graph_link('{__name__="anomaly_value",%s}', known, job.labels),
        series=known,
        meaning="The series may reach its limit (`forecast.limit`) so soon that somebody has to act: the early end of "
        "the interval, before which it is there with a chance of 5 %, is within `forecast.within`, and more likely "
        "than not it is reached at all. If it is there already, the text says since when.",
        detail=f"limit {forecast.limit:g}, within {format_duration(forecast.within)}, after "
        f"{format_duration(forecast.for_)}",
        action="What has grown? Open the graph; compare with the days before. Make room, or stop what fills it: the "
        "forecast follows within the hour. It cries wolf: lower `forecast.within`, or raise `forecast.for`.",
        cases=(
            Case("fires", _given(job, ends, fired + 2), fired, fires=True),
            Case("stays silent while the limit is far", _given(job, far, over), over, fires=False),
            Case("stays silent where it is not in sight", _given(job, inf, over), over, fires=False),
            Case(
                "stays silent where it is more likely never reached",
                _given(job, ends | {EXPECTED: math.inf, _LATE: math.inf}, over),
                over,
                fires=False,
            ),
            *_after(job, forecast, ends, far, fired, over),
        ),
        for_=forecast.for_,
        keep_firing_for=max(_LASTS, job.config.alert.keep_firing_for),
        annotations=job.annotations,
    )


def _after(
    job: AlertedJob, forecast: ForecastConfig, ends: dict[str, float], far: dict[str, float], fired: int, over: int
) -> tuple[Case, ...]:
    """Return the cases of what has been reached, and of room that somebody made."""
    begun = dict.fromkeys(ends, 60.0)
    at = 60.0 * fired
    reached = _text(job, forecast, begun, at)
    source = job.entity("a")
    freed = {series(name, **source): f"{ends[name]:g}x{fired} {far[name]:g}x{over}" for name in ends}
    open_ended = ends | {_LATE: math.inf}
    perhaps = _text(job, forecast, open_ended, at)
    return (
        Case("says that it may stop", _given(job, open_ended, fired + 2), fired, fires=True, description=perhaps),
        Case("says since when it is there", _given(job, begun, fired + 2), fired, fires=True, description=reached),
        Case("is over when there is room", freed, fired + over, fires=False),
    )


def _given(job: AlertedJob, ends: dict[str, float], minutes: int) -> dict[str, str]:
    source = job.entity("a")
    given = {
        series(name, **source): " ".join(["+Inf" if math.isinf(at) else f"{at:g}"] * (minutes + 1))
        for name, at in ends.items()
    }
    channel = {"channel": job.channels[_channel(job)]} if len(job.channels) > 1 else {}
    return given | {series("anomaly_value", **channel, **source): f"0.5x{minutes}"}


def _channel(job: AlertedJob) -> int:
    forecast = job.config.forecast
    assert forecast is not None
    return 0 if forecast.channel is None else job.channels.index(forecast.channel)


def _text(job: AlertedJob, forecast: ForecastConfig, ends: dict[str, float], now: float) -> str:
    """Return what the description of a case is, at `now` (Unix seconds)."""
    unit = list(job.config.units.values())[_channel(job)]
    told = wording.reaches(forecast.limit, ends[EARLY], ends[EXPECTED], ends[_LATE], now, 0.5, unit)
    return f"{told[:1].upper()}{told[1:]}."


def _told(job: AlertedJob, forecast: ForecastConfig) -> str:
    """Return the template of what `forecast_wording.reaches` writes."""
    unit = list(job.config.units.values())[_channel(job)]
    channel = f"channel={quote(job.channels[_channel(job)])}" if len(job.channels) > 1 else ""
    limit = incident_wording.number(forecast.limit, unit)
    blanks = {
        name: "{{ (toTime $" + name + ').UTC.Format "' + wording.LAYOUT + '" }}'
        for name in ("early", "expected", "late")
    }
    written = '{{ template "' + template_name(unit) + '" .Value }}'
    value = f"max(anomaly_value{{%s{channel}}})"
    pace = f"3600 * ({forecast.limit!r} - {value}) / (%f - time())"
    at_pace = (
        "{{ range query (printf " + quote(pace) + " $s $expected) }}" + wording.PACE.format(pace=written) + "{{ end }}"
    )
    now = "{{ range query (printf " + quote(value) + " $s) }}" + wording.NOW.format(value=written) + "{{ end }}"
    lasted = '{{ range query (printf "floor(time() - vector(%f))" $early) }} ({{ template "length" .Value }}){{ end }}'

    def capital(text: str) -> str:
        return text[:1].upper() + text[1:]

    def phrase(pattern: str) -> str:
        return capital(pattern).format(limit=limit, **blanks)

    return "".join(
        (
            number_definitions([unit]),
            selector_of(job.labels),
            "{{ $r := query (printf " + quote(f"last_over_time({_READ}[1d])") + " $s) }}",
            picked({"early": EARLY, "expected": EXPECTED, "late": _LATE}),
            "{{ $reached := false }}",
            "{{ range query (printf `vector(%f) <= time()` $expected) }}{{ $reached = true }}{{ end }}",
            "{{ if $reached }}" + phrase(wording.SINCE) + lasted,
            "{{ else if gt $expected 1e18 }}" + phrase(wording.PERHAPS),
            "{{ else if gt $late 1e18 }}" + phrase(wording.FROM) + at_pace,
            "{{ else }}" + phrase(wording.BETWEEN) + at_pace + "{{ end }}",
            now + ".",
        )
    )
