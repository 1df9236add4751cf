"""E-mail through an SMTP server."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from exporter.config.receivers.kind import Line, ReceiverKind, SecretFile, SecretKey, camel_case
from exporter.config.receivers.templates import alert_list, links, title
from exporter.config.secrets import Secret
from exporter.config.section_base import Conflict, Section

_ADDRESS: Final = re.compile(r"([^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


def _host_and_port(text: str) -> str:
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found[2]) < 65_536:
        raise ValueError("must be HOST:PORT, such as mail.example.org:587")
    return text


HostAndPort = Annotated[str, AfterValidator(_host_and_port)]


class MailConfig(Section):
    """Mails through an SMTP server."""

    to: Line = Field(description="recipients, separated by commas")
    sender: Line = Field(alias="from", description="sender")
    smarthost: HostAndPort = Field(description="HOST:PORT of the SMTP server")
    username: Line | None = Field(None, description="name at the SMTP server")
    password: Secret | None = Field(None, description="password at the SMTP server")
    require_tls: bool = Field(True, description="refuse to send without STARTTLS")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.username is None) != (self.password is None):
            yield ("username", "password"), "username and password go together"


class EmailConfig(MailConfig):
    """Mails through an SMTP server."""

    password: SecretFile | None = Field(None, description="file with the password")


def alertmanager(to: EmailConfig, resolved: bool) -> dict[str, Any]:
    """Return a mail in plain text."""
    made: dict[str, Any] = {
        "to": to.to,
        "from": to.sender,
        "smarthost": to.smarthost,
        "require_tls": to.require_tls,
        "send_resolved": resolved,
        "headers": {"Subject": title("")},
        "html": "",
        "text": alert_list(links("NAME: URL", "\n", "\n"), ""),
    }
    if to.username is not None and to.password is not None:
        made |= {"auth_username": to.username, "auth_password_file": str(to.password.file)}
    return made


def operator(to: EmailConfig, resolved: bool, secret: SecretKey) -> dict[str, Any]:
    """Return the same for an AlertmanagerConfig object."""
    headers = [{"key": "Subject", "value": title("")}]
    held = {"authPassword": secret(to.password)} if to.username is not None and to.password is not None else {}
    return camel_case(alertmanager(to, resolved), headers=headers, **held)


EMAIL = ReceiverKind(EmailConfig, "e-mail", alertmanager, operator)
