"""The text of an alert on an incident: the phrases of `exporter.incident_wording` as a template."""

from collections.abc import Mapping
from typing import Final

from detectors.auto.streams import names
from detectors.streams import BESIDE, STREAMS, WITHOUT_SIDE
from exporter import forecast_wording as forecasts
from exporter import incident_wording as wording
from exporter.joint_wording import ONE_OF
from exporter.label_names import RESERVED, published_names
from exporter.promql import quote
from exporter.query_units import Unit
from rules.alerts.job_context import AlertedJob
from rules.alerts.joint_text import joined, largest_joint
from rules.alerts.number_templates import definitions, template_name
from rules.alerts.reading_text import lasting, worst
from rules.alerts.templates import LOOKED_BACK, label_value, picked, selector_of, then

READINGS: Final = '{__name__=~"anomaly_(flapping|incident_.+)",%s}'
"""All that the text tells, of one series; `%s` stands for its matchers."""
OLD: Final = "; no new result: this is the last one"
FLAPPING: Final = "comes and goes"
CROWD: Final = "One of more than {most} series of this job with an incident; see the graph or the dashboard."
EARLY: Final = "anomaly_forecast_reaches_limit_early_timestamp_seconds"
EXPECTED: Final = "anomaly_forecast_reaches_limit_timestamp_seconds"
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


def description(job: AlertedJob, most: int) -> str:
    """Return the template, to be rendered with the labels of a series of the job in `$labels`.

    With more than `most` open incidents in the job it queries no readings.
    """
    flagged = f"sum({job.selector('anomaly_exporter_flagged_ratio')})"
    many = f"{flagged} * sum({job.selector('anomaly_exporter_series')}) > {most}"
    units = job.config.units
    crowd = CROWD.format(most=most)
    streams = names(job.config.step) if job.config.peers is not None else names(job.config.step)[: BESIDE.start]
    return definitions(units.values(), streams) + (
        "{{ if query " + quote(many) + " }}" + crowd + largest_joint() + "{{ else }}" + _told(job, units) + "{{ end }}"
    )


def _told(job: AlertedJob, units: Mapping[str, Unit]) -> str:
    times = {**_TIMES, **({"flaps": "anomaly_flapping"} if "flapping" in job.config.publish else {})}
    told = {
        "vanished": _vanished(),
        "deploy": _after_deploy(),
        "together": "{{ if $first }}"
        + then()
        + ONE_OF.format(count="{{ $count }}", first="{{ $first }}")
        + "{{ end }}",
        "beside": _if_read(_beside(job, units)),
        "limit": _near_limit(job),
        "worst": worst(units),
        "lasting": "{{ if gt $start 0.0 }}" + then() + lasting() + "{{ end }}",
        "companions": "{{ if $moved }}" + then() + wording.ALSO.format(companions="{{ $moved }}") + "{{ end }}",
        "evidence": _if_read(_evidence()),
        "flapping": "{{ if gt $flaps 0.0 }}" + then() + FLAPPING + "{{ end }}" if "flaps" in times else "",
    }
    return "".join(
        (
            selector_of(job.labels),
            "{{ $old := false }}{{ $r := query (printf " + quote(READINGS) + " $s) }}",
            "{{ if not $r }}" + _fallback() + "{{ end }}",
            picked(times),
            picked(_EVIDENCE if job.config.peers is None else _EVIDENCE | _PEERS, there=True),
            _length(),
            joined(),
            '{{ $next := "" }}',
            *(told[name] for name in wording.ORDER),
            "{{ if $old }}" + OLD + "{{ end }}.",
        )
    )


def _if_read(text: str) -> str:
    """Return a sentence on the worst reading, where there is one."""
    return "{{ if gt $at 0.0 }}" + text + "{{ end }}" if text else ""


def _vanished() -> str:
    """Return why the series has ended since."""
    reasons = "{{ else if ".join(
        f'eq .Labels.reason "{reason}" }}}}{then()}{text}' for reason, text in wording.VANISHED.items()
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
        then() + each.format(limit=wording.number(forecast.limit, unit), **blanks)
        for each in (forecasts.SOON, forecasts.SINCE)
    )
    asked = "{{ if query (printf " + quote(there) + " $s) }}" + since
    return asked + "{{ else if query (printf " + quote(near) + " $s $s) }}" + soon + "{{ end }}"


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
    return f"{{{{ if and $times_there (ge $evidence {BESIDE.start}.0) }}}}{then()}{text}{{{{ end }}}}"


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
    return "{{ if $evidence_there }}" + then() + stream + "{{ if $interval_there }}" + chance + "{{ end }}{{ end }}"


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
    text = then() + "{{ if ge .Value " + f"{wording.SOON}" + " }}" + after + "{{ else }}" + together + "{{ end }}"
    return "{{ if not $old }}" + found + text + "{{ end }}{{ end }}{{ end }}"
