"""Discord: a webhook of a channel."""

from typing import Any

from pydantic import Field

from exporter.config.receivers.kind import ReceiverKind, SecretFile
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


DISCORD = ReceiverKind(DiscordConfig, "Discord", alertmanager)
