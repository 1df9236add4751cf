"""Texts of Alertmanager's messages, as its templates.

What comes from alerts is data to these templates, never a template itself. Slack reads `<!channel>` in a text as a call
to everybody: there `&`, `<` and `>` are escaped.
"""

from collections.abc import Sequence
from typing import Final

from exporter.promql import quote

LISTED: Final = 10
"""Alerts that a message lists; a storm of thousands would be refused for its length."""
ESCAPED: Final = ' | reReplaceAll "&" "&amp;" | reReplaceAll "<" "&lt;" | reReplaceAll ">" "&gt;"'
_TOLD: Final = "(since|from) [-0-9 :]+[0-9]( to | UTC)"
_ENDED: Final = "from [-0-9 :]+ to [-0-9 :]+ UTC"
"""What the texts of incidents say of time; see `exporter.incident_wording`."""
_TIMES: Final = '{{ $from := .StartsAt }}{{ $to := .EndsAt }}{{ $over := eq .Status "resolved" }}'
_WHEN: Final = (
    '{{ if match "[?]" . }}&{{ else }}?{{ end }}from={{ ($from.Add -3600000000000).UnixMilli }}'
    "{{ if $over }}&to={{ ($to.Add 3600000000000).UnixMilli }}{{ end }}"
)
"""The range of a dashboard of Grafana: from an hour before the alert (Add takes nanoseconds) to an hour after it, or to
now."""
_STATE: Final = (
    '{{ if eq .Status "firing" }}[FIRING:{{ len .Alerts.Firing }}]'
    "{{ else }}[RESOLVED:{{ len .Alerts.Resolved }}]{{ end }}"
)


def title(escaped: str) -> str:
    """Return a template of the title; `escaped` is appended to what comes from alerts."""
    what = "{{ with .CommonLabels.alertname }}{{ . }}{{ else }}anomalies{{ end }}"
    alone = "{{ if eq (len .Alerts) 1 }}: {{ (index .Alerts 0).Annotations.summary" + escaped + " }}{{ end }}"
    return f"{_STATE} {what}{alone}"


def worst(otherwise: str, known: Sequence[tuple[str, str]]) -> str:
    """Return a template of the word for the most severe alert: of our severity and its word, the last that is there."""
    each = "".join(
        "{{ range .Alerts }}{{ if eq .Labels.severity " + quote(ours) + ' }}{{ $s = "' + word + '" }}{{ end }}{{ end }}'
        for ours, word in known
    )
    return '{{ $s := "' + otherwise + '" }}' + each + "{{ $s }}"


def alert_list(alert: str, escaped: str) -> str:
    """Return a template that lists the first alerts: those that fire, then those that are over.

    The description of an incident says since when it is open, or from when to when it was; only of other alerts the
    times are added.
    """
    told = f'match "{_TOLD}" .Annotations.description'
    ended = f'match "{_ENDED}" .Annotations.description'
    said = (
        "{{ .Annotations.summary" + escaped + " }}"
        "{{ if not (" + told + ") }}, since {{ .StartsAt.UTC.Format \"2006-01-02 15:04\" }} UTC{{ end }}"
        '{{ if and (eq .Status "resolved") (not (' + ended + ")) }}"
        ', over at {{ .EndsAt.UTC.Format "15:04" }} UTC{{ end }}'
        "\n{{ .Annotations.description" + escaped + " }}\n" + alert
    )  # fmt: skip
    each = (
        "{{ range $n, $a := %s }}{{ if lt $n " + str(LISTED) + " }}{{ with $a }}" + said + "{{ end }}{{ end }}{{ end }}"
        "{{ if gt (len %s) " + str(LISTED) + " }}and {{ len (slice %s " + str(LISTED) + ") }} more REST\n{{ end }}"
    )
    firing = each.replace("%s", ".Alerts.Firing").replace("REST", "that fire")
    return firing + each.replace("%s", ".Alerts.Resolved").replace("REST", "that are over")


def links(written: str, between: str, end: str) -> str:
    """Return a template of the links of an alert, `written` with NAME and URL; the dashboard's has the time."""
    known = (("page", "page_url"), ("graph", "graph_url"), ("dashboard", "dashboard_url"), ("runbook", "runbook_url"))
    shown = "".join(
        "{{ with .Annotations." + key + " }}"
        + written.replace("NAME", name).replace("URL", "{{ . }}" + (_WHEN if name == "dashboard" else ""))
        + between + "{{ end }}"
        for name, key in known
    )  # fmt: skip
    return _TIMES + shown + end
