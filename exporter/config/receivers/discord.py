"""Discord: a webhook of a channel."""

from typing import Any

from pydantic import Field

from exporter.config.receivers.kind import ReceiverKind, SecretFile, SecretKey, camel_case
from exporter.config.receivers.templates import alert_list, links, title
from exporter.config.section_base import Section


class DiscordConfig(Section):
    """Messages in a Discord channel (Alertmanager 0.28 and newer)."""

    webhook: SecretFile = Field(description="file with the address of the channel's webhook")


def alertmanager(to: DiscordConfig, resolved: bool) -> dict[str, Any]:
    """Return a message in a Discord channel; Alertmanager shortens what Discord would refuse."""
    return {
        "webhook_url_file": str(to.webhook.file),
        "send_resolved": resolved,
        "title": title(""),
        "message": alert_list(links("[NAME](URL)", " ", "\n"), ""),
    }


def operator(to: DiscordConfig, resolved: bool, secret: SecretKey) -> dict[str, Any]:
    """Return the same for an AlertmanagerConfig object."""
    made = camel_case(alertmanager(to, resolved), apiURL=secret(to.webhook))
    del made["webhookURL"]  # the object calls it apiURL
    return made


DISCORD = ReceiverKind(DiscordConfig, "Discord", alertmanager, operator)
