"""Slack: an incoming webhook, or an app."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from exporter.config.receivers.kind import (
    Line,
    NotInOperatorError,
    OwnSender,
    Pending,
    ReceiverKind,
    SecretFile,
    SecretKey,
    camel_case,
)
from exporter.config.receivers.templates import ESCAPED, alert_list, links, title
from exporter.config.secrets import HeldSecret
from exporter.config.section_base import Conflict, Section


class SlackConfig(Section):
    """Messages in a Slack channel."""

    webhook: SecretFile | None = Field(None, description="file with the address of the incoming webhook")
    app_token: SecretFile | None = Field(
        None, description="file with the token of a Slack app, instead of a webhook (Alertmanager 0.30 and newer)"
    )
    channel: Line = Field(description="channel, such as #alerts; for an app best its id")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.webhook is None) == (self.app_token is None):
            yield ("webhook", "app_token"), "give exactly one of webhook or app_token"


def alertmanager(to: SlackConfig, resolved: bool) -> dict[str, Any]:
    """Return a message in a Slack channel."""
    address = (
        {"api_url_file": str(to.webhook.file)}
        if to.webhook is not None
        else {"app_token_file": str(to.app_token.file) if to.app_token is not None else ""}
    )
    return {
        **address,
        "channel": to.channel,
        "send_resolved": resolved,
        "color": '{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}',
        "title": title(ESCAPED),
        "title_link": "{{ .ExternalURL }}",
        "text": alert_list(links("<URL|NAME>", " ", "\n"), ESCAPED),
        "fallback": title(ESCAPED),
    }


def operator(to: SlackConfig, resolved: bool, secret: SecretKey) -> dict[str, Any]:
    """Return the same for an AlertmanagerConfig object."""
    if to.webhook is None:
        raise NotInOperatorError("app_token has no field there: use a webhook")
    return camel_case(alertmanager(to, resolved), apiURL=secret(to.webhook))


def message(pending: Pending, text: str) -> Any:
    """Return what is posted to the webhook."""
    del pending
    # Slack reads <…> as a link, or as a call to everybody.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped, "mrkdwn": False, "unfurl_links": False}


SLACK = ReceiverKind(
    SlackConfig, "Slack", alertmanager, operator, own=OwnSender(HeldSecret, "address of a Slack webhook", message)
)
