"""Opsgenie, and Jira Service Management, which took over its API."""

from typing import Any, Literal

from pydantic import Field

from exporter.config.receivers.kind import Line, ReceiverKind, SecretFile, SecretKey, camel_case
from exporter.config.receivers.templates import alert_list, links, title, worst
from exporter.config.section_base import Section, SourceUrl


class OpsgenieConfig(Section):
    """Alerts in Opsgenie or Jira Service Management."""

    api_key: SecretFile = Field(description="file with the key of the integration")
    url: SourceUrl | None = Field(
        None, description="address of the API, for the EU or Jira Service Management; default: Opsgenie's own"
    )
    priorities: dict[Line, Literal["P1", "P2", "P3", "P4", "P5"]] = Field(
        {"page": "P1", "ticket": "P3"}, description="Opsgenie's priority by our severity; any other is P2"
    )


def alertmanager(to: OpsgenieConfig, resolved: bool) -> dict[str, Any]:
    """Return an alert in Opsgenie, as urgent as its worst alert."""
    known = sorted(to.priorities.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)
    made = {
        "api_key_file": str(to.api_key.file),
        "send_resolved": resolved,
        "message": title(""),
        "description": alert_list(links("NAME URL", "\n", "\n"), ""),
        "source": "anomaly-exporter",
        "priority": worst("P2", known),
    }
    return made if to.url is None else {**made, "api_url": f"{to.url}/"}


def operator(to: OpsgenieConfig, resolved: bool, secret: SecretKey) -> dict[str, Any]:
    """Return the same for an AlertmanagerConfig object."""
    return camel_case(alertmanager(to, resolved), apiKey=secret(to.api_key))


# As with PagerDuty: a second job in an alert that somebody has acknowledged would call nobody.
OPSGENIE = ReceiverKind(
    OpsgenieConfig, "Opsgenie or Jira Service Management", alertmanager, operator, group_by=("query", "severity")
)
