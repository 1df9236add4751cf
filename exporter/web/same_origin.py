"""Whether a request that costs or changes something comes from a page of ours, and not from one of somebody else."""

import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from exporter.web.basic_auth import LOGIN

_KEY: Final = secrets.token_bytes(32)
"""Of this process: after a restart, forms from before are stale."""
FOREIGN: Final = (
    "This was sent by a page of another site, which may not use your login. Open the page here and try again."
)
STALE: Final = "This form is from before the exporter was restarted. Reload the page and send it again."
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


def check_origin(request: Request) -> None:
    """Raise Foreign where a browser says that another site sent the request. Programs say nothing of it."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site == "same-origin"
    else:
        ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not ours:
        raise Foreign(FOREIGN)


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
