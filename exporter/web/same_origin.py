"""Whether a request that costs or changes something comes from a page of ours, and not from one of somebody else."""

import hashlib
import hmac
import secrets
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from exporter.config.sections.service import WebConfig
from exporter.web.basic_auth import LOGIN

_KEY: Final = secrets.token_bytes(32)
"""Of this process: after a restart, forms from before are stale."""
FOREIGN: Final = (
    "This was sent by a page of another site, which may not use your login. Open the page here and try again."
)
STALE: Final = "This form is from before the exporter was restarted. Reload the page and send it again."
UNKNOWN_NAME: Final = (
    "This page was opened under a name that is not known to be the exporter's, and nobody has to log in here. Open it "
    "as localhost, by its IP address or by the name in web.external_url; set that, or web.users, where people use "
    "another."
)
FORM: Final = "application/x-www-form-urlencoded"
_LARGEST: Final = 64 * 1024


class Foreign(Exception):
    """The request is not from a page of ours. The message says what to do."""


class TooLong(Exception):
    """The body of a request is longer than any honest one."""


def media_type(request: Request) -> str:
    """Return the media type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body_of(request: Request, largest: int = _LARGEST) -> bytes:
    """Return the body of a request, of at most so many bytes. Raises TooLong."""
    found = b""
    async for piece in request.stream():
        found += piece
        if len(found) > largest:
            raise TooLong
    return found


def check_origin(request: Request, web: WebConfig) -> None:
    """Raise Foreign where a browser says that another site sent the request. Programs say nothing of it.

    Where nobody logs in, a page of another site could be ours by name: its name first leads to it, and then to this
    port (DNS rebinding), and for the browser both are one site. So only names are taken that nobody else can have.
    With TLS such a page has no certificate, and with a login it does not know any.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    from_browser = site is not None or origin is not None or media_type(request) == FORM
    if from_browser and request.scope["scheme"] == "http" and not login_of(request) and not _is_ours(request, web):
        raise Foreign(UNKNOWN_NAME)
    if site is not None:
        ours = site == "same-origin"
    else:
        ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not ours:
        raise Foreign(FOREIGN)


def _is_ours(request: HTTPConnection, web: WebConfig) -> bool:
    """Tell whether a request came under an address, or under a name of ours."""
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    host = host.removesuffix(".")
    with suppress(ValueError):
        return bool(ip_address(host.partition("%")[0]))
    external = urlsplit(web.external_url).hostname if web.external_url else None
    ours = {"localhost", external, web.listen.rpartition(":")[0].lower(), socket.gethostname().lower()} - {None, ""}
    return host in ours or host.endswith(".localhost")


def login_of(request: HTTPConnection) -> str:
    """Return who is logged in, "" where nobody is."""
    return str(request.scope.get(LOGIN, ""))


def token_of(request: HTTPConnection) -> str:
    """Return what a form of ours sends along: only pages of ours know it, for whoever is logged in."""
    return hmac.digest(_KEY, login_of(request).encode(), hashlib.sha256).hex()


def check_token(request: HTTPConnection, token: str) -> None:
    """Raise Foreign where a form was not made by this process, for whoever is logged in."""
    if not hmac.compare_digest(token.encode("utf-8", "replace"), token_of(request).encode()):
        raise Foreign(STALE)
