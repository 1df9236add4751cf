"""Whom the exporter itself notifies: `notify`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field, SecretStr, create_model

from exporter.config.receivers import RECEIVERS
from exporter.config.receivers.email import MailConfig
from exporter.config.receivers.kind import Line
from exporter.config.secrets import Secret
from exporter.config.section_base import Conflict, Section, SourceUrl
from exporter.config.sections.alerting import RateLimitConfig

if TYPE_CHECKING:  # the fields come from a map, which a type checker cannot follow

    class _Addresses(Section):
        """A key for every kind of receiver that the exporter reaches at an address."""

else:
    _Addresses = create_model(
        "_Addresses",
        __base__=Section,
        **{
            name: (kind.own.address | None, Field(None, description=kind.own.description))
            for name, kind in RECEIVERS.items()
            if kind.own
        },
    )


class SlackAppConfig(Section):
    """A Slack app, which edits its messages as incidents go on and end."""

    token: Secret = Field(description="bot token (xoxb-…) with the scopes chat:write and files:write")
    channel: Line = Field(description="ID of the channel, such as C0123456789, or its name; the app must be in it")
    pictures: bool = Field(True, description="show value, band and incident as a small picture")
    url: SourceUrl = Field("https://slack.com/api", description="address of Slack's API")


class OwnMailConfig(MailConfig):
    """Mails sent by the exporter itself, with a small picture of each of the first incidents."""

    password: Secret | None = Field(None, description="password at the SMTP server")
    pictures: bool = Field(True, description="show value, band and incident as a small picture")


class NotifyConfig(_Addresses):
    """Notifications sent by the exporter itself, as long as `alerting.receivers` names none for Alertmanager."""

    slack_app: SlackAppConfig | None = Field(None, description="a Slack app: one message for each incident")
    email: OwnMailConfig | None = Field(None, description="mails, with pictures")
    beside_alertmanager: bool = Field(
        False, description="notify although alerting.receivers names receivers of Alertmanager"
    )
    rate_limit: RateLimitConfig = Field(RateLimitConfig(), description="most messages to one receiver")
    resolved: bool = Field(True, description="notify the end of an incident too")
    link: SourceUrl | None = Field(
        None,
        description="address at the end of every message, such as a dashboard; default: the page of the incident",
    )
    proxy_from_environment: bool = Field(False, description="honour HTTPS_PROXY, NO_PROXY and ~/.netrc")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if self.slack_app is not None and getattr(self, "slack", None) is not None:
            yield ("slack_app", "slack"), "slack and slack_app would notify the same people twice: keep one of them"

    @property
    def addresses(self) -> dict[str, Secret | SecretStr]:
        """The addresses that are given, by kind of receiver."""
        known = {name: getattr(self, name) for name, kind in RECEIVERS.items() if kind.own}
        return {name: address for name, address in known.items() if address is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of all receivers that are given."""
        others = {"slack_app": self.slack_app, "email": self.email}
        return (*self.addresses, *(name for name, section in others.items() if section is not None))

    @property
    def shows_pictures(self) -> bool:
        """Whether any receiver gets pictures."""
        return any(each is not None and each.pictures for each in (self.slack_app, self.email))
