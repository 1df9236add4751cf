"""The text of an alert on an incident: the phrases of `exporter.incident_wording` as a template."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from detectors.auto.streams import names
from detectors.streams import BESIDE, STREAMS, WITHOUT_SIDE
from exporter import forecast_wording as forecasts
from exporter import incident_wording as wording
from exporter.joint_wording import LARGEST, ONE_OF
from exporter.label_names import RESERVED, published_names
from exporter.promql import quote
from exporter.query_units import Unit
from rules.alerts.job_context import AlertedJob
from rules.alerts.templates import label_value, picked, plain, selector_of

READINGS: Final = '{__name__=~"anomaly_(flapping|incident_.+)",%s}'
"""All that the text tells, of one series; `%s` stands for its matchers."""
NO_READING: Final = "its worst reading is not known: see the graph"
OLD: Final = "; no new result: this is the last one"
FLAPPING: Final = "comes and goes"
CROWD: Final = "One of more than {most} series of this job with an incident; see the graph or the dashboard."
LOOKED_BACK: Final = "1d"
"""How old a reading may be while there are no new results."""

_MOVED: Final = "anomaly_incident_moved_timestamp_seconds{%s}"
_SERIES: Final = "anomaly_exporter_joint_incident_series"
_COMPANIONS: Final = "anomaly_exporter_joint_incident_companions"
EARLY: Final = "anomaly_forecast_reaches_limit_early_timestamp_seconds"
EXPECTED: Final = "anomaly_forecast_reaches_limit_timestamp_seconds"
_LIMITS: Final = ("lower", "upper")
_TIMES: Final = {
    "start": "anomaly_incident_start_timestamp_seconds",
    "end": "anomaly_incident_end_timestamp_seconds",
    "at": "anomaly_incident_worst_timestamp_seconds",
    "score": "anomaly_incident_score",
}
_EVIDENCE: Final = {
    "evidence": "anomaly_incident_evidence",
    "deviations": "anomaly_incident_evidence_deviations",
    "interval": "anomaly_incident_evidence_interval_seconds",
}
_PEERS: Final = {
    "others": "anomaly_incident_peers",
    "theirs": "anomaly_incident_peers_value",
    "times": "anomaly_incident_peers_ratio",
    "usually": "anomaly_incident_peers_usual_ratio",
}
_FIGURES: Final = ("value", "expected", *_LIMITS, "contribution")


def description(job: AlertedJob, most: int) -> str:
    """Return the template, to be rendered with the labels of a series of the job in `$labels`.

    With more than `most` open incidents in the job it queries no readings.
    """
    flagged = f"sum({job.selector('anomaly_exporter_flagged_ratio')})"
    many = f"{flagged} * sum({job.selector('anomaly_exporter_series')}) > {most}"
    units = job.config.units
    crowd = CROWD.format(most=most)
    streams = names(job.config.step) if job.config.peers is not None else names(job.config.step)[: BESIDE.start]
    return _definitions(units.values(), streams) + (
        "{{ if query " + quote(many) + " }}" + crowd + _largest() + "{{ else }}" + _told(job, units) + "{{ end }}"
    )


def _told(job: AlertedJob, units: Mapping[str, Unit]) -> str:
    times = {**_TIMES, **({"flaps": "anomaly_flapping"} if "flapping" in job.config.publish else {})}
    told = {
        "vanished": _vanished(),
        "deploy": _after_deploy(),
        "together": "{{ if $first }}"
        + _next()
        + ONE_OF.format(count="{{ $count }}", first="{{ $first }}")
        + "{{ end }}",
        "beside": _if_read(_beside(job, units)),
        "limit": _near_limit(job),
        "worst": _worst(units),
        "lasting": "{{ if gt $start 0.0 }}" + _next() + _lasting() + "{{ end }}",
        "companions": "{{ if $moved }}" + _next() + wording.ALSO.format(companions="{{ $moved }}") + "{{ end }}",
        "evidence": _if_read(_evidence()),
        "flapping": "{{ if gt $flaps 0.0 }}" + _next() + FLAPPING + "{{ end }}" if "flaps" in times else "",
    }
    return "".join(
        (
            selector_of(job.labels),
            "{{ $old := false }}{{ $r := query (printf " + quote(READINGS) + " $s) }}",
            "{{ if not $r }}" + _fallback() + "{{ end }}",
            picked(times),
            picked(_EVIDENCE if job.config.peers is None else _EVIDENCE | _PEERS, there=True),
            _length(),
            _joined(),
            '{{ $next := "" }}',
            *(told[name] for name in wording.ORDER),
            "{{ if $old }}" + OLD + "{{ end }}.",
        )
    )


def _next() -> str:
    """Return what comes before a sentence: nothing before the first one."""
    return "{{ $next }}{{ $next = " + quote(wording.BETWEEN) + " }}"


def _if_read(text: str) -> str:
    """Return a sentence on the worst reading, where there is one."""
    return "{{ if gt $at 0.0 }}" + text + "{{ end }}" if text else ""


def _worst(units: Mapping[str, Unit]) -> str:
    several = len(units) > 1
    worst = wording.WORST.format(
        at=_moment("at"),
        readings=_readings(units) if several else _reading(*next(iter(units.items())), several=False),
        score='{{ template "number" $score }}',
    )
    return _next() + "{{ if gt $at 0.0 }}" + worst + "{{ else }}" + NO_READING + "{{ end }}"


def _vanished() -> str:
    """Return why the series has ended since."""
    reasons = "{{ else if ".join(
        f'eq .Labels.reason "{reason}" }}}}{_next()}{text}' for reason, text in wording.VANISHED.items()
    )
    return "{{ range query (printf `anomaly_series_vanished{%s}` $s) }}{{ if " + reasons + "{{ end }}{{ end }}"


def _near_limit(job: AlertedJob) -> str:
    """Return when the series reaches its limit, where that is soon; see `forecast_wording.soon`."""
    forecast = job.config.forecast
    if forecast is None:
        return ""
    near = f"{EARLY}{{%s}} - time() <= {forecast.within:g} and {EXPECTED}{{%s}} < Inf"
    there = f"{EXPECTED}{{%s}} <= time()"
    unit = list(job.config.units.values())[0 if forecast.channel is None else job.channels.index(forecast.channel)]
    blanks = {
        name: "{{ range query (printf `" + metric + "{%s}` $s) }}{{ (toTime .Value).UTC.Format `" + forecasts.LAYOUT
        + "` }}{{ end }}"
        for name, metric in (("early", EARLY), ("expected", EXPECTED))
    }  # fmt: skip
    soon, since = (
        _next() + each.format(limit=wording.number(forecast.limit, unit), **blanks)
        for each in (forecasts.SOON, forecasts.SINCE)
    )
    asked = "{{ if query (printf " + quote(there) + " $s) }}" + since
    return asked + "{{ else if query (printf " + quote(near) + " $s $s) }}" + soon + "{{ end }}"


def _joined() -> str:
    """Set `$count`, `$first` and `$moved`: how many series moved together, which was the first, and what else moved.

    An old result may be of another incident.
    """
    asked = quote(f'{{__name__=~"{_SERIES}|{_COMPANIONS}",anomaly_incident=%q}}')
    several = f'{{{{ if and (eq .Labels.__name__ "{_SERIES}") (gt .Value 1.0) (gt .Value $count) }}}}'
    return (
        '{{ $count := 0.0 }}{{ $first := "" }}{{ $moved := "" }}{{ if not $old }}'
        '{{ range $r }}{{ if eq .Labels.__name__ "anomaly_incident_moved_timestamp_seconds" }}'
        "{{ range query (printf " + asked + " .Labels.anomaly_incident) }}"
        + several + "{{ $count = .Value }}{{ $first = .Labels.first_mover }}{{ end }}"
        + f'{{{{ if eq .Labels.__name__ "{_COMPANIONS}" }}}}{{{{ $moved = .Labels.companions }}}}{{{{ end }}}}'
        "{{ end }}{{ end }}{{ end }}{{ end }}"
    )  # fmt: skip


def _definitions(units: Iterable[Unit], streams: Sequence[str]) -> str:
    """Return a template for each unit, which writes a number as `wording.number` does, and others for what is written.

    They are for lengths of time, and for name, size and frequency of a stream of evidence.
    """
    made: dict[str, str] = {}
    named = "{{ else if ".join(f"eq . {at}.0 }}}}{name}" for at, name in enumerate(streams))
    made |= {"stream": "{{ if " + named + "{{ end }}", "deviations": _DEVIATIONS, "often": _often()}
    return number_definitions(units) + _defined(made)


def number_definitions(units: Iterable[Unit]) -> str:
    """Return the templates that write numbers of these units and of none, and lengths of time."""
    made = {template_name(unit): _NUMBERS[unit] for unit in sorted({"", *units})}
    return _defined({**made, "length": _humanized((wording.WHOLE_MINUTES, *wording.LENGTH))})


def _defined(made: Mapping[str, str]) -> str:
    return "".join('{{ define "' + name + '" }}' + text + "{{ end }}" for name, text in made.items())


def _humanized(replacements: Iterable[tuple[str, str]]) -> str:
    pipe = "".join(f" | reReplaceAll {quote(old)} {quote(new)}" for old, new in replacements)
    return "{{ humanizeDuration ." + pipe + " }}"


_UNSIGNED: Final = ' | reReplaceAll "^-" "" }}'
_DEVIATIONS: Final = (
    f"{{{{ if and (gt . -{wording.WITH_DIGIT}) (lt . {wording.WITH_DIGIT}) }}}}"
    "{{ printf `%.1f` ." + _UNSIGNED + f"{{{{ else if and (gt . -{wording.LARGE}) (lt . {wording.LARGE}) }}}}"
    "{{ printf `%.0f` ." + _UNSIGNED + "{{ else }}{{ humanize ." + _UNSIGNED + "{{ end }}"
)
"""As `wording.deviations` writes a size."""


def _often() -> str:
    """Return a template that writes what `wording.often` does; templates cannot divide, queries can."""
    parts = ["{{ if lt . " + f"{wording.OFTEN_BELOW}" + " }}" + wording.OFTEN]
    for longest, seconds, unit in wording.SPANS:
        many = wording.MANY.format(count="{{ printf `%.0f` .Value }}", unit=unit)
        counted = f"{{{{ range query (printf `floor(vector(%f / {seconds:.0f}) + 0.5)` .) }}}}"
        once = "{{ if lt .Value 1.5 }}" + wording.ONCE.format(one=wording.ONE[unit])
        parts.append(
            "{{ else if lt . " + f"{longest}" + " }}" + counted + once + "{{ else }}" + many + "{{ end }}{{ end }}"
        )
    return "".join(parts) + "{{ else }}" + wording.NEVER + "{{ end }}"


def _beside(job: AlertedJob, units: Mapping[str, Unit]) -> str:
    """Return how an entity lies to its peers where that speaks most for the incident; see `wording.beside`.

    Of several channels it is not known which one it is, so their value has no unit. Where there is no ratio, the stream
    says enough.
    """
    if job.config.peers is None:
        return ""
    unit = next(iter(units.values())) if len(units) == 1 else ""
    shown = published_names(tuple(job.config.peers), RESERVED, job.alerting.escaping)
    group = " ".join("{{ " + label_value(name) + " }}" for name in shown)
    number = '{{ template "number" $%s }}'
    text = wording.BESIDE.format(
        times=number % "times",
        others=number % "others",
        group=f" of {group}" if group else "",
        theirs='{{ template "' + template_name(unit) + '" $theirs }}',
        usual=number % "usually",
    )
    return f"{{{{ if and $times_there (ge $evidence {BESIDE.start}.0) }}}}{_next()}{text}{{{{ end }}}}"


def _evidence() -> str:
    """Return what speaks most for the incident; see `wording.stream`."""
    blanks = {"name": '{{ template "stream" $evidence }}', "size": '{{ template "deviations" $deviations }}'}
    distances = " ".join(f"(eq $evidence {at}.0)" for at, name in enumerate(STREAMS) if name in WITHOUT_SIDE)
    stream = (
        "{{ if not $deviations_there }}" + blanks["name"]
        + "{{ else if or " + distances + " }}" + wording.AWAY.format(**blanks)
        + "{{ else if lt $deviations 0.0 }}" + wording.BELOW.format(**blanks)
        + "{{ else }}" + wording.ABOVE.format(**blanks) + "{{ end }}"
    )  # fmt: skip
    chance = wording.CHANCE.format(stream="", often='{{ template "often" $interval }}')
    return "{{ if $evidence_there }}" + _next() + stream + "{{ if $interval_there }}" + chance + "{{ end }}{{ end }}"


_BYTES: Final = (
    "{{ if or (ge . 1024.0) (le . -1024.0) }}"
    '{{ humanize1024 . | reReplaceAll "k" "K" | reReplaceAll "([A-Z])" " ${1}" }}B'
    "{{ else }}{{ printf `%.4g` . }} B{{ end }}"
)
_NUMBERS: Final[Mapping[Unit, str]] = {
    "": "{{ if or "
    + f"(ge . {wording.LARGE}) (le . -{wording.LARGE})"
    + " }}{{ humanize . }}{{ else }}{{ printf `%.4g` . }}{{ end }}",
    "bytes": _BYTES,
    "bytes per second": _BYTES + "/s",
    "seconds": _humanized(wording.LENGTH),
    "ratio": "{{ humanizePercentage . }}",
}


def template_name(unit: Unit) -> str:
    """Return the name of the template that writes numbers of a unit."""
    return unit.replace(" ", "-") or "number"


def _fallback() -> str:
    """Return a template for when no scrape has brought readings: the last ones, and whether there are new results."""
    last = quote(f"last_over_time({READINGS}[{LOOKED_BACK}])")
    flag = quote("last_over_time(anomaly_flag{%s}[5m])")
    return "{{ $r = query (printf " + last + " $s) }}{{ $old = not (query (printf " + flag + " $s)) }}"


def _length() -> str:
    """Set `$length`, until now or until the end, and `$layout` of the times."""
    until = "{{ $until := `time()` }}{{ if gt $end $start }}{{ $until = printf `%f` $end }}{{ end }}"
    asked = "{{ range query (printf `floor(vector(%s - %f))` $until $start) }}{{ $length = .Value }}{{ end }}"
    layout = "{{ if gt $length " + f"{wording.DATED}" + " }}{{ $layout = `2006-01-02 15:04` }}{{ end }}"
    return (
        "{{ $length := 0.0 }}{{ $layout := `15:04` }}" + until + "{{ if gt $start 0.0 }}" + asked + layout + "{{ end }}"
    )


def _after_deploy() -> str:
    """Return how long after what deploy the incident began; an old result may be of another incident."""
    found = '{{ range $r }}{{ if eq .Labels.__name__ "anomaly_incident_after_deploy_seconds" }}'
    length = '{{ template "length" .Value }}'
    after = wording.AFTER.format(length=length, deploy="{{ .Labels.deployed }}")
    together = wording.WITH.format(deploy="{{ .Labels.deployed }}")
    text = _next() + "{{ if ge .Value " + f"{wording.SOON}" + " }}" + after + "{{ else }}" + together + "{{ end }}"
    return "{{ if not $old }}" + found + text + "{{ end }}{{ end }}{{ end }}"


def _largest() -> str:
    """Return which joint incident is the largest, where no readings are asked for."""
    asked = quote("topk(1, anomaly_exporter_joint_incident_series)")
    text = LARGEST.format(count="{{ .Value }}", first="{{ .Labels.first_mover }}")
    return "{{ range query " + asked + " }}" + text + "{{ end }}"


def joint_incident(job: AlertedJob) -> str:
    """Return a template for the id of the joint incident of an alert: the newest of its series, as long as a day ago.

    It must not change while the alert fires, also while the exporter cannot be scraped, or it would fire again.
    """
    last = quote(f"topk(1, last_over_time({_MOVED}[{LOOKED_BACK}]))")
    return (
        selector_of(job.ours)
        + "{{ $r := query (printf " + quote(f"topk(1, {_MOVED})") + " $s) }}"
        + "{{ if not $r }}{{ $r = query (printf " + last + " $s) }}{{ end }}"
        + "{{ range $r }}{{ .Labels.anomaly_incident }}{{ end }}"
    )  # fmt: skip


def _moment(name: str) -> str:
    return "{{ (toTime $" + name + ").UTC.Format $layout }}"


def _lasting() -> str:
    blanks = {"start": _moment("start"), "end": _moment("end"), "length": '{{ template "length" $length }}'}
    ended, is_open = wording.FROM.format(**blanks), wording.SINCE.format(**blanks)
    return "{{ if gt $end $start }}" + ended + "{{ else }}" + is_open + "{{ end }}"


def _readings(units: Mapping[str, Unit]) -> str:
    """Return what those channels showed that have a reading."""
    separated = '{{ $between := "" }}'
    for name, unit in units.items():
        text = plain(f"{name}: ") + _reading(name, unit, several=True)
        separated += (
            _values(name, several=True)
            + "{{ if or $value_there $expected_there }}{{ $between }}{{ $between = "
            + quote(wording.BETWEEN)
            + " }}"
            + text
            + "{{ end }}"
        )
    return separated


def _values(channel: str, several: bool) -> str:
    """Set `$value`, `$value_there` and so on for one channel."""
    figures = {name: f"anomaly_incident_{name}" for name in _FIGURES}
    return picked(figures, channel if several else None, there=True)


def _reading(channel: str, unit: Unit, several: bool) -> str:
    """Return what a channel showed; see `wording.reading`."""
    blanks = {
        name: '{{ template "' + template_name(unit) + '" $' + name + " }}" for name in ("value", "expected", *_LIMITS)
    }
    inside = "and $value_there (or $lower_there $upper_there)"
    below, above = "(and $lower_there (lt $value $lower))", "(and $upper_there (gt $value $upper))"
    return "".join(
        (
            "" if several else _values(channel, several=False),
            "{{ if $value_there }}" + wording.OBSERVED.format(**blanks) + "{{ else }}" + wording.MISSING + "{{ end }}",
            "{{ if $expected_there }}" + wording.EXPECTED.format(**blanks) + "{{ end }}",
            "{{ if " + inside + f" (not (or {below} {above}))" + " }}" + wording.TOGETHER,
            "{{ else if and $lower_there $upper_there }}" + wording.BAND.format(**blanks),
            "{{ else if $lower_there }}" + wording.AT_LEAST.format(**blanks),
            "{{ else if $upper_there }}" + wording.AT_MOST.format(**blanks) + "{{ end }}",
            _share() if several else "",
        )
    )


def _share() -> str:
    shown = wording.SHARE.format(contribution="{{ humanizePercentage $contribution }}")
    return "{{ if $contribution_there }}" + shown + "{{ end }}"
