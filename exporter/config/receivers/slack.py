"""Slack: an incoming webhook."""

from typing import Any

from pydantic import Field

from exporter.config.receivers.kind import Line, OwnSender, Pending, ReceiverKind, SecretFile
from exporter.config.receivers.templates import ESCAPED, alert_list, links, title
from exporter.config.secrets import HeldSecret
from exporter.config.section_base import Section


class SlackConfig(Section):
    """Messages in a Slack channel."""

    webhook: SecretFile = Field(description="file with the address of the incoming webhook")
    channel: Line = Field(description="channel, such as #alerts")


def alertmanager(to: SlackConfig, resolved: bool) -> dict[str, Any]:
    """Return a message in a Slack channel."""
    return {
        "api_url_file": str(to.webhook.file),
        "channel": to.channel,
        "send_resolved": resolved,
        "color": '{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}',
        "title": title(ESCAPED),
        "title_link": "{{ .ExternalURL }}",
        "text": alert_list(links("<URL|NAME>", " ", "\n"), ESCAPED),
        "fallback": title(ESCAPED),
    }


def message(pending: Pending, text: str) -> Any:
    """Return what is posted to the webhook."""
    del pending
    # Slack reads <…> as a link, or as a call to everybody.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped, "mrkdwn": False, "unfurl_links": False}


SLACK = ReceiverKind(
    SlackConfig, "Slack", alertmanager, own=OwnSender(HeldSecret, "address of a Slack webhook", message)
)
