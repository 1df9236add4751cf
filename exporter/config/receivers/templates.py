"""Texts of Alertmanager's messages, as its templates.

What comes from alerts is data to these templates, never a template itself. Slack reads `<!channel>` in a text as a call
to everybody: there `&`, `<` and `>` are escaped.
"""

from typing import Final

LISTED: Final = 10
"""Alerts that a message lists; a storm of thousands would be refused for its length."""
ESCAPED: Final = ' | reReplaceAll "&" "&amp;" | reReplaceAll "<" "&lt;" | reReplaceAll ">" "&gt;"'
_STATE: Final = (
    '{{ if eq .Status "firing" }}[FIRING:{{ len .Alerts.Firing }}]'
    "{{ else }}[RESOLVED:{{ len .Alerts.Resolved }}]{{ end }}"
)


def title(escaped: str) -> str:
    """Return a template of the title; `escaped` is appended to what comes from alerts."""
    what = "{{ with .CommonLabels.alertname }}{{ . }}{{ else }}anomalies{{ end }}"
    alone = "{{ if eq (len .Alerts) 1 }}: {{ (index .Alerts 0).Annotations.summary" + escaped + " }}{{ end }}"
    return f"{_STATE} {what}{alone}"


def alert_list(alert: str, escaped: str) -> str:
    """Return a template that lists the first alerts: those that fire, then those that are over."""
    said = (
        "{{ .Annotations.summary" + escaped + " }}, since {{ .StartsAt.UTC.Format \"2006-01-02 15:04:05 MST\" }}"
        '{{ if eq .Status "resolved" }}, over at {{ .EndsAt.UTC.Format "15:04:05 MST" }}{{ end }}'
        "\n{{ .Annotations.description" + escaped + " }}\n" + alert
    )  # fmt: skip
    each = (
        "{{ range $n, $a := %s }}{{ if lt $n " + str(LISTED) + " }}{{ with $a }}" + said + "{{ end }}{{ end }}{{ end }}"
    )
    more = "{{ if gt (len .Alerts) " + str(LISTED) + " }}{{ len .Alerts }} alerts in all, at most "
    rest = f"{LISTED} of each kind are listed.\n" + "{{ end }}"
    return each.replace("%s", ".Alerts.Firing") + each.replace("%s", ".Alerts.Resolved") + more + rest


def links(written: str, between: str, end: str) -> str:
    """Return a template of the links of an alert, `written` with NAME and URL."""
    known = (("graph", "graph_url"), ("dashboard", "dashboard_url"), ("runbook", "runbook_url"))
    return (
        "".join(
            "{{ with .Annotations." + key + " }}"
            + written.replace("NAME", name).replace("URL", "{{ . }}") + between + "{{ end }}"
            for name, key in known
        )
        + end
    )  # fmt: skip
