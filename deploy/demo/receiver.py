"""Where Alertmanager's Slack messages arrive, instead of Slack."""

import json
from dataclasses import dataclass
from typing import Any

from deploy.demo.local import LocalServer


@dataclass(frozen=True, slots=True)
class Message:
    """A message as Slack would show it."""

    title: str
    text: str

    @property
    def resolved(self) -> bool:
        """Whether it tells the end of an alert."""
        return self.title.startswith("[RESOLVED")


class SlackReceiver(LocalServer):
    """Collects what is posted in the shape of a Slack webhook."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    @property
    def webhook(self) -> str:
        """Address for `slack_configs.api_url`."""
        return f"http://{self.address}/services/demo"

    def post(self, body: bytes) -> str:
        """Take in one message."""
        payload: dict[str, Any] = json.loads(body)
        self.messages += [Message(part.get("title", ""), part.get("text", "")) for part in payload["attachments"]]
        return "ok"
