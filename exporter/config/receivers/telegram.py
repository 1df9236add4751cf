"""Telegram: a bot that writes into a chat."""

from typing import Any

from pydantic import Field, PositiveInt

from exporter.config.receivers.kind import ReceiverKind, SecretFile, SecretKey, camel_case
from exporter.config.receivers.templates import ESCAPED, alert_list, links, title
from exporter.config.section_base import Section, SourceUrl


class TelegramConfig(Section):
    """Messages of a Telegram bot (Alertmanager 0.26 and newer)."""

    bot_token: SecretFile = Field(description="file with the token of the bot")
    chat: int = Field(description="id of the chat; those of groups are negative")
    thread: PositiveInt | None = Field(None, description="id of the topic in the chat")
    url: SourceUrl | None = Field(None, description="address of the Bot API; default: Telegram's own")


def alertmanager(to: TelegramConfig, resolved: bool) -> dict[str, Any]:
    """Return a message in plain text: what comes from alerts is no markup."""
    made: dict[str, Any] = {
        "bot_token_file": str(to.bot_token.file),
        "chat_id": to.chat,
        "send_resolved": resolved,
        "parse_mode": "",
        "message": title("") + "\n" + alert_list(links("NAME: URL", "\n", "\n"), ""),
    }
    if to.thread is not None:
        made["message_thread_id"] = to.thread
    return made if to.url is None else {**made, "api_url": to.url}


def operator(to: TelegramConfig, resolved: bool, secret: SecretKey) -> dict[str, Any]:
    """Return the same for an AlertmanagerConfig object, which knows no plain text."""
    text = title(ESCAPED) + "\n" + alert_list(links('<a href="URL">NAME</a>', " ", "\n"), ESCAPED)
    return camel_case(alertmanager(to, resolved), botToken=secret(to.bot_token), parseMode="HTML", message=text)


TELEGRAM = ReceiverKind(TelegramConfig, "Telegram", alertmanager, operator)
