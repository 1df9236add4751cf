"""PagerDuty: incidents through the Events API v2."""

from typing import Any, Literal

from pydantic import Field

from exporter.config.receivers.kind import Line, ReceiverKind, SecretFile, SecretKey, camel_case
from exporter.config.receivers.templates import alert_list, links, title, worst
from exporter.config.section_base import Section, SourceUrl


class PagerDutyConfig(Section):
    """Incidents in PagerDuty (Events API v2)."""

    routing_key: SecretFile = Field(description="file with the integration key")
    url: SourceUrl | None = Field(None, description="address of the Events API; default: PagerDuty's own")
    severities: dict[Line, Literal["critical", "error", "warning", "info"]] = Field(
        {"page": "critical", "ticket": "warning"}, description="PagerDuty's severity by ours; any other is an error"
    )


def alertmanager(to: PagerDutyConfig, resolved: bool) -> dict[str, Any]:
    """Return an incident in PagerDuty, as severe as its worst alert."""
    ranks = ("info", "warning", "error", "critical")
    known = sorted(to.severities.items(), key=lambda pair: (ranks.index(pair[1]), pair[0]))
    made = {
        "routing_key_file": str(to.routing_key.file),
        "send_resolved": resolved,
        "severity": worst("error", known),
        "description": title(""),
        "client": "anomaly-exporter",
        "client_url": "{{ .ExternalURL }}",
        "details": {
            "firing": alert_list(links("NAME URL", "\n", ""), ""),
            "resolved": "{{ len .Alerts.Resolved }}",
            "num_firing": "{{ len .Alerts.Firing }}",
            "num_resolved": "{{ len .Alerts.Resolved }}",
        },
        "links": [
            {"href": "{{ (index .Alerts 0).Annotations.graph_url }}", "text": "graph"},
        ],
    }
    return made if to.url is None else {**made, "url": to.url}


def operator(to: PagerDutyConfig, resolved: bool, secret: SecretKey) -> dict[str, Any]:
    """Return the same for an AlertmanagerConfig object."""
    made = alertmanager(to, resolved)
    details = [{"key": key, "value": value} for key, value in made["details"].items()]
    shown = [{"href": link["href"], "alt": link["text"]} for link in made.pop("links")]
    return camel_case(made, routingKey=secret(to.routing_key), details=details, pagerDutyLinkConfigs=shown)


# PagerDuty makes one incident of a group: a second job in an incident that somebody has acknowledged would page nobody.
PAGERDUTY = ReceiverKind(PagerDutyConfig, "PagerDuty", alertmanager, operator, group_by=("query", "severity"))
