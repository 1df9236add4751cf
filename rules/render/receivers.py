"""What Alertmanager sends: the integrations of a receiver and their texts, as Alertmanager's templates.

What comes from alerts is data to these templates, never a template itself. Slack reads `<!channel>` in a text as a call
to everybody: there `&`, `<` and `>` are escaped.
"""

from typing import Any, Final

from exporter.config.sections.alerting import EmailConfig, PagerDutyConfig, SlackConfig, WebhookConfig
from exporter.promql import quote

LISTED: Final = 10
"""Alerts that a message lists; a storm of thousands would be refused for its length."""
_ESCAPED: Final = ' | reReplaceAll "&" "&amp;" | reReplaceAll "<" "&lt;" | reReplaceAll ">" "&gt;"'
_STATE: Final = (
    '{{ if eq .Status "firing" }}[FIRING:{{ len .Alerts.Firing }}]'
    "{{ else }}[RESOLVED:{{ len .Alerts.Resolved }}]{{ end }}"
)


def _title(escaped: str) -> str:
    what = "{{ with .CommonLabels.alertname }}{{ . }}{{ else }}anomalies{{ end }}"
    alone = "{{ if eq (len .Alerts) 1 }}: {{ (index .Alerts 0).Annotations.summary" + escaped + " }}{{ end }}"
    return f"{_STATE} {what}{alone}"


def _list(alert: str, escaped: str) -> str:
    """Return a template that lists the first alerts, those that fire before those that are over."""
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


def _links(written: str, between: str, end: str) -> str:
    """Return a template of the links of an alert, `written` with NAME and URL."""
    links = (("graph", "graph_url"), ("dashboard", "dashboard_url"), ("runbook", "runbook_url"))
    return (
        "".join(
            "{{ with .Annotations." + key + " }}"
            + written.replace("NAME", name).replace("URL", "{{ . }}") + between + "{{ end }}"
            for name, key in links
        )
        + end
    )  # fmt: skip


def slack(to: SlackConfig, resolved: bool) -> dict[str, Any]:
    """Return a message in a Slack channel."""
    return {
        "api_url_file": str(to.webhook.file),
        "channel": to.channel,
        "send_resolved": resolved,
        "color": '{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}',
        "title": _title(_ESCAPED),
        "title_link": "{{ .ExternalURL }}",
        "text": _list(_links("<URL|NAME>", " ", "\n"), _ESCAPED),
        "fallback": _title(_ESCAPED),
    }


def pagerduty(to: PagerDutyConfig, resolved: bool) -> dict[str, Any]:
    """Return an incident in PagerDuty, as severe as its worst alert."""
    ranks = ("info", "warning", "error", "critical")
    known = sorted(to.severities.items(), key=lambda pair: (ranks.index(pair[1]), pair[0]))
    worst = "".join(
        "{{ range .Alerts }}{{ if eq .Labels.severity "
        + quote(ours)
        + ' }}{{ $s = "'
        + theirs
        + '" }}{{ end }}{{ end }}'
        for ours, theirs in known
    )
    made = {
        "routing_key_file": str(to.routing_key.file),
        "send_resolved": resolved,
        "severity": '{{ $s := "error" }}' + worst + "{{ $s }}",
        "description": _title(""),
        "client": "anomaly-exporter",
        "client_url": "{{ .ExternalURL }}",
        "details": {
            "firing": _list(_links("NAME URL", "\n", ""), ""),
            "resolved": "{{ len .Alerts.Resolved }}",
            "num_firing": "{{ len .Alerts.Firing }}",
            "num_resolved": "{{ len .Alerts.Resolved }}",
        },
        "links": [
            {"href": "{{ (index .Alerts 0).Annotations.graph_url }}", "text": "graph"},
        ],
    }
    return made if to.url is None else {**made, "url": to.url}


def email(to: EmailConfig, resolved: bool) -> dict[str, Any]:
    """Return a mail in plain text."""
    made: dict[str, Any] = {
        "to": to.to,
        "from": to.sender,
        "smarthost": to.smarthost,
        "require_tls": to.require_tls,
        "send_resolved": resolved,
        "headers": {"Subject": _title("")},
        "html": "",
        "text": _list(_links("NAME: URL", "\n", "\n"), ""),
    }
    if to.username is not None and to.password is not None:
        made |= {"auth_username": to.username, "auth_password_file": str(to.password.file)}
    return made


def webhook(to: WebhookConfig, resolved: bool) -> dict[str, Any]:
    """Return Alertmanager's own JSON."""
    made: dict[str, Any] = {"url": to.url, "send_resolved": resolved, "max_alerts": to.max_alerts}
    if to.bearer is not None:
        made["http_config"] = {"authorization": {"credentials_file": str(to.bearer.file)}}
    return made
