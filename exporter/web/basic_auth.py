"""HTTP basic authentication against bcrypt hashes."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Final

import bcrypt
import structlog
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.config.secrets import Secret, SecretUnavailable

log = structlog.get_logger()

OPEN_PATHS: Final = frozenset({"/-/healthy", "/-/ready"})
"""Open to all: a kubelet's probes hold no credentials, and the answers say nothing but yes or no."""

LOGIN: Final = "anomaly_exporter.login"
"""Key of the scope that holds the name of who is logged in."""
_HASH: Final = re.compile(rb"\$2[aby]\$(?:0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")
_MOST_WAITING: Final = 32
_MOST_REMEMBERED: Final = 256
_USED_BYTES: Final = 72  # bcrypt never looked further, and its newest release refuses more


class UnusableHash(Exception):
    """A user's hash cannot be read or is none. The message names the user, never the hash."""


def _stored(user: str, reference: Secret) -> bytes:
    """Return a user's hash. Raises UnusableHash."""
    try:
        text = reference.read().encode()
    except SecretUnavailable as error:
        raise UnusableHash(f"web.users.{user}: {error}") from None
    if not _HASH.fullmatch(text):
        raise UnusableHash(
            f"web.users.{user}: the secret is not a bcrypt hash with cost 4 to 15; make one with: htpasswd -nBC 12 ''"
        )
    return text


def _credentials(header: bytes) -> tuple[str, bytes] | None:
    """Return user and password of an Authorization header, None when it is none."""
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password[:_USED_BYTES]) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


class BasicAuth:
    """Lets through who knows a password, at the same cost for known and unknown users.

    One bcrypt check runs at a time, off the event loop. A successful one is remembered together with the hash it was
    checked against: a scraper pays for bcrypt once, and a changed hash takes effect at the next request.

    Parameters
    ----------
    app : ASGI application
        What is protected.
    users : mapping of str to Secret
        bcrypt hash by user. Raises UnusableHash when one cannot be used.
    """

    def __init__(self, app: ASGIApp, users: Mapping[str, Secret]) -> None:
        self._app = app
        self.prepared(users)()
        self._key = secrets.token_bytes(32)
        self._good: dict[bytes, None] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0

    def prepared(self, users: Mapping[str, Secret]) -> Callable[[], None]:
        """Return a function that lets in these users instead, from the next request on. Raises UnusableHash."""
        costliest = max((_stored(user, secret) for user, secret in users.items()), key=lambda text: text[4:6])

        def commit() -> None:
            self._users = users
            self._costliest = costliest
            """What an unknown user is checked against: the most expensive hash there is."""

        return commit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or hand over to the application."""
        app = self._app
        if scope["path"] not in OPEN_PATHS:
            header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            credentials = _credentials(header)
            app = await self._refusal(credentials) or app
            scope[LOGIN] = credentials[0] if credentials else ""
        await app(scope, receive, send)

    async def _refusal(self, credentials: tuple[str, bytes] | None) -> PlainTextResponse | None:
        if credentials is None:
            return _unauthorized()
        user, password = credentials
        stored = self._known(user)
        proof = hmac.digest(self._key, b"\0".join((user.encode(), password, stored or b"")), hashlib.sha256)
        if proof in self._good:
            return None
        if self._waiting >= _MOST_WAITING:
            return PlainTextResponse(
                "Too many logins are being checked; try again later.\n", 429, headers={"Retry-After": "1"}
            )
        self._waiting += 1
        try:
            async with self._turn:
                matches = await asyncio.to_thread(bcrypt.checkpw, password, stored or self._costliest)
        finally:
            self._waiting -= 1
        if not matches or stored is None:
            return _unauthorized()
        while len(self._good) >= _MOST_REMEMBERED:
            del self._good[next(iter(self._good))]
        self._good[proof] = None
        return None

    def _known(self, user: str) -> bytes | None:
        if user not in self._users:
            return None
        try:
            return _stored(user, self._users[user])
        except UnusableHash as error:
            log.error("login_refused", error=str(error))
            return None


def _unauthorized() -> PlainTextResponse:
    return PlainTextResponse(
        "Log in with a user of web.users.\n",
        401,
        headers={"WWW-Authenticate": 'Basic realm="anomaly-exporter", charset="UTF-8"'},
    )
