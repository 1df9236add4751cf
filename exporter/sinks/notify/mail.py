"""Mails with a small picture of value, band and incident in the text, for those who read mails at night."""

import hashlib
import json
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.utils import formatdate, getaddresses, make_msgid
from pathlib import Path
from typing import Final

import structlog
from markupsafe import escape

from exporter.config.secrets import SecretUnavailable
from exporter.config.sections.notify import OwnMailConfig
from exporter.sinks.notify import http_post
from exporter.sinks.notify.http_post import PostFailed
from exporter.sinks.notify.notification import Incident, PendingNotifications
from exporter.sinks.notify.posts import alt
from exporter.source.error_mapping import clean
from exporter.source.http_session import system_certificates

log = structlog.get_logger()

PICTURES: Final = 3
"""Pictures in one mail, of the incidents that are told first."""
_LONGEST_SUBJECT: Final = 150
_TLS_PORT: Final = 465
_DOMAIN: Final = "anomaly-exporter.invalid"
_LOGIN: Final = "check notify.email.username and password"


class Mailer:
    """Sends mails through one SMTP server.

    Parameters
    ----------
    config : OwnMailConfig
    picture : callable taking an Incident
        Returns a PNG, None where nothing is known to draw.
    """

    def __init__(self, config: OwnMailConfig, picture: Callable[[Incident], bytes | None]) -> None:
        self._config, self._picture = config, picture

    def send(self, pending: PendingNotifications, text: str) -> None:
        """Send a mail on what is pending. Raises PostFailed."""
        config = self._config
        mail = compose_mail(config, pending, text, self._pictures(pending) if config.pictures else [])
        host, _, port = config.smarthost.rpartition(":")
        host = host.strip("[]")
        try:
            password = config.password.read() if config.password else ""
        except SecretUnavailable as error:
            raise PostFailed(str(error), lasting=True) from None
        try:
            with _server(host, int(port)) as server:
                server.ehlo_or_helo_if_needed()
                if int(port) != _TLS_PORT and (config.require_tls or server.has_extn("starttls")):
                    server.starttls(context=_tls())
                    server.ehlo()
                if config.username is not None:
                    server.login(config.username, password)
                missed = server.send_message(mail)
        except smtplib.SMTPException as error:
            raise _failure(host, error) from None
        except (OSError, ValueError) as error:
            raise PostFailed(f"{host}: {clean(str(error)) or type(error).__name__}") from None
        if missed:
            hint = "the other recipients have the mail; correct notify.email.to"
            log.warning("recipient_refused", recipients=sorted(missed), error=_said(missed), hint=hint)

    def _pictures(self, pending: PendingNotifications) -> list[tuple[Incident, bytes]]:
        drawn = ((each, self._picture(each)) for each in pending.named()[:PICTURES])
        return [(each, png) for each, png in drawn if png is not None]


def compose_mail(
    config: OwnMailConfig, pending: PendingNotifications, text: str, pictures: Iterable[tuple[Incident, bytes]]
) -> EmailMessage:
    """Return a mail: plain text, and the same as HTML with the pictures inside it.

    The mail on the end of an incident is an answer to that on its beginning, so that they are read as one.
    """
    text = text.encode("utf-8", "replace").decode()  # half of a surrogate pair cannot be sent
    mail = EmailMessage()
    mail["Subject"] = subject(text)
    mail["From"], mail["To"] = config.sender, ", ".join(each for _, each in getaddresses([config.to]))
    mail["Date"] = formatdate()
    mail["Auto-Submitted"] = "auto-generated"
    opened = [_id(each) for incidents in pending.opened.values() for each in incidents]
    mail["Message-ID"] = opened[0] if opened else make_msgid(domain=_DOMAIN)
    if ended := [_id(each) for incidents in pending.over.values() for each in incidents][:20]:
        mail["In-Reply-To"], mail["References"] = ended[0], " ".join(ended)
    mail.set_content(text)
    shown, images = [], []
    for incident, png in pictures:
        cid = make_msgid(domain=_DOMAIN)
        told = alt(incident).encode("utf-8", "replace").decode()
        shown.append(f'<p><img src="cid:{cid[1:-1]}" alt="{escape(told)}" width="600" style="max-width:100%"></p>')
        images.append((cid, png))
    mail.add_alternative(_html(text, shown), subtype="html")
    page = mail.get_payload()[1]  # type: ignore[index]  # a list of parts by now
    for cid, png in images:
        page.add_related(png, "image", "png", cid=cid, disposition="inline", filename="incident.png")  # type: ignore[union-attr]
    return mail


def subject(text: str) -> str:
    """Return the first line of a text, the beginning of a long one."""
    first, *others = text.splitlines()
    more = sum(line.startswith(("ANOMALY in ", "LIMIT near in ", "OVER in ")) for line in others)
    end = f" (and {more} more)" if more else ""
    most = _LONGEST_SUBJECT - len(end)
    return (first if len(first) <= most else first[: most - 1] + "…") + end


def _html(text: str, pictures: list[str]) -> str:
    links = ("http://", "https://")
    body = "<br>\n".join(_anchor(line) if line.startswith(links) else escape(line) for line in text.splitlines())
    style = "font-family:sans-serif;font-size:15px;line-height:1.45"
    return f'<!doctype html><html><body style="{style}"><p>{body}</p>{"".join(pictures)}</body></html>\n'


def _anchor(address: str) -> str:
    shown = escape(address)
    return f'<a href="{shown}">{shown}</a>'


def _id(incident: Incident) -> str:
    """Return the Message-ID of the mail on the beginning of an incident: the same after a restart."""
    text = json.dumps([incident.job, incident.key, incident.since])
    return f"<{hashlib.sha256(text.encode()).hexdigest()[:32]}@{_DOMAIN}>"


def _tls() -> ssl.SSLContext:
    found = Path(str(system_certificates()))
    return ssl.create_default_context(cafile=found if found.is_file() else None)


@contextmanager
def _server(host: str, port: int) -> Iterator[smtplib.SMTP]:
    """Connect to a server; whatever it does, the mail is sent or has failed within a deadline."""
    seconds = http_post.DEADLINE
    if port == _TLS_PORT:
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=seconds, context=_tls())
    else:
        server = smtplib.SMTP(host, port, timeout=seconds)
    with server:
        watch = threading.Timer(3 * seconds, _cut, (server,))
        watch.daemon = True
        watch.start()
        try:
            yield server
        finally:
            watch.cancel()


def _cut(server: smtplib.SMTP) -> None:
    with suppress(OSError):
        if server.sock is not None:
            server.sock.shutdown(socket.SHUT_RDWR)


def _failure(host: str, error: smtplib.SMTPException) -> PostFailed:
    """Return what a refusal means: 4xx may pass, 5xx will not."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        text = f"{host} refuses all recipients ({_said(error.recipients)})"
        lasting = all(code >= 500 for code in codes)
        return PostFailed(f"{text}; is notify.email.to right?" if lasting else text, lasting)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        advice = "it offers no STARTTLS or no login; notify.email.require_tls: false sends without TLS"
        return PostFailed(f"{host}: {clean(str(error))}; {advice}", lasting=True)
    if isinstance(error, smtplib.SMTPResponseException):
        said = f"{error.smtp_code} {clean(_text(error.smtp_error))}"
        if isinstance(error, smtplib.SMTPAuthenticationError):
            return PostFailed(f"{host} refuses the login: {said}; {_LOGIN}", lasting=True)
        final = error.smtp_code >= 500
        unwanted = final and isinstance(error, smtplib.SMTPDataError)
        return PostFailed(f"{host} answers {said}", lasting=final and not unwanted, unwanted=unwanted)
    return PostFailed(f"{host}: {clean(str(error)) or type(error).__name__}")


def _said(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{code} {clean(_text(text))}" for code, text in list(refused.values())[:3])


def _text(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said
