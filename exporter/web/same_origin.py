"""Whether a request that costs or changes something comes from a page of ours, and not from one of somebody else."""

import secrets
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

TOKEN: Final = secrets.token_urlsafe(24)
"""What a form of ours sends along: nobody else can know it. A restart makes another one."""
FOREIGN: Final = (
    "This was sent by a page of another site, which may not use your login. Open the page here and try again."
)
STALE: Final = "This form is from before the exporter was restarted. Reload the page and send it again."
_LARGEST: Final = 64 * 1024


class Foreign(Exception):
    """The request is not from a page of ours. The message says what to do."""


class TooLong(Exception):
    """The body of a request is longer than any honest one."""


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


def check_token(token: str) -> None:
    """Raise Foreign where a form was not made by this process."""
    if not secrets.compare_digest(token.encode("utf-8", "replace"), TOKEN.encode()):
        raise Foreign(STALE)
