"""What the text of an alert tells of incidents that are one with it, as a template, and their id as a label."""

from typing import Final

from exporter.joint_wording import LARGEST
from exporter.promql import quote
from rules.alerts.job_context import AlertedJob
from rules.alerts.templates import LOOKED_BACK, selector_of

_MOVED: Final = "anomaly_incident_moved_timestamp_seconds{%s}"
_SERIES: Final = "anomaly_exporter_joint_incident_series"
_COMPANIONS: Final = "anomaly_exporter_joint_incident_companions"


def joined() -> str:
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


def largest_joint() -> str:
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
