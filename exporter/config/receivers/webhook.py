"""Any other program: JSON posted to an address."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import Field, PositiveInt

from exporter.config.receivers.kind import (
    NotInOperatorError,
    OwnSender,
    Pending,
    ReceiverKind,
    SecretFile,
    SecretKey,
    camel_case,
)
from exporter.config.secrets import Secret
from exporter.config.section_base import Conflict, Section, SourceUrl

LISTED: Final = 100
"""Incidents in one message of our own."""


class WebhookConfig(Section):
    """Alertmanager's own JSON, posted to an address."""

    url: SourceUrl | None = Field(None, description="address")
    url_file: SecretFile | None = Field(
        None, description="file with the address, where it is a secret (Alertmanager 0.26 and newer)"
    )
    bearer: SecretFile | None = Field(None, description="file with a bearer token")
    payload: dict[str, str] = Field(
        {}, description="posted instead: texts with templates, by name; needs Alertmanager 0.32 or newer"
    )
    max_alerts: PositiveInt = Field(100, description="most alerts in one post; the number left out goes with it")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.url is None) == (self.url_file is None):
            yield ("url", "url_file"), "give exactly one of url or url_file"


def alertmanager(to: WebhookConfig, resolved: bool) -> dict[str, Any]:
    """Return Alertmanager's own JSON."""
    address = {"url_file": str(to.url_file.file)} if to.url_file is not None else {"url": to.url}
    made: dict[str, Any] = {**address, "send_resolved": resolved, "max_alerts": to.max_alerts}
    if to.payload:
        made["payload"] = to.payload
    if to.bearer is not None:
        made["http_config"] = {"authorization": {"credentials_file": str(to.bearer.file)}}
    return made


def operator(to: WebhookConfig, resolved: bool, secret: SecretKey) -> dict[str, Any]:
    """Return the same for an AlertmanagerConfig object."""
    if to.payload:
        raise NotInOperatorError("payload has no field there: leave it out")
    made = camel_case(alertmanager(to, resolved))
    if to.url_file is not None:
        made["urlSecret"] = secret(to.url_file)
        del made["url"]
    if to.bearer is not None:
        made["httpConfig"] = {"authorization": {"credentials": secret(to.bearer)}}
    return made


def message(pending: Pending, text: str) -> Any:
    """Return what is posted to the address; its keys are those of docs/notifications.md."""
    return {
        "version": 1,
        "text": text,
        "opened": _listed(pending.opened),
        "opened_count": sum(map(len, pending.opened.values())),
        "over": _listed(pending.over),
        "over_count": sum(map(len, pending.over.values())),
        "passed": pending.passed,
        "limits": list(pending.limits)[:LISTED],
        "limits_count": len(pending.limits),
    }


def _listed(by_job: Mapping[str, Sequence[object]]) -> list[object]:
    return [incident for incidents in by_job.values() for incident in incidents][:LISTED]


WEBHOOK = ReceiverKind(
    WebhookConfig,
    "any other program",
    alertmanager,
    operator,
    own=OwnSender(Secret, "address that gets the same as JSON (docs/notifications.md)", message),
)
