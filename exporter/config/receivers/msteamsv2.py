"""Microsoft Teams: a workflow that takes adaptive cards."""

from typing import Any

from pydantic import Field

from exporter.config.receivers.kind import ReceiverKind, SecretFile, SecretKey, camel_case
from exporter.config.receivers.templates import alert_list, links, title
from exporter.config.section_base import Section


class TeamsConfig(Section):
    """Messages in Microsoft Teams, through a workflow (Alertmanager 0.28 and newer)."""

    webhook: SecretFile = Field(description="file with the address of the workflow")


def alertmanager(to: TeamsConfig, resolved: bool) -> dict[str, Any]:
    """Return a card in Microsoft Teams."""
    return {
        "webhook_url_file": str(to.webhook.file),
        "send_resolved": resolved,
        "title": title(""),
        "text": alert_list(links("[NAME](URL)", " ", "\n"), ""),
    }


def operator(to: TeamsConfig, resolved: bool, secret: SecretKey) -> dict[str, Any]:
    """Return the same for an AlertmanagerConfig object."""
    return camel_case(alertmanager(to, resolved), webhookURL=secret(to.webhook))


MSTEAMSV2 = ReceiverKind(TeamsConfig, "Microsoft Teams", alertmanager, operator)
