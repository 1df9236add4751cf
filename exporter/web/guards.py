"""What stands around all endpoints of our port."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
_LONGEST_TARGET: Final = 8 * 1024
_LONGEST_HEADERS: Final = 16 * 1024


class Limits:
    """Refuses what is longer than any honest request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        app = self._app
        if len(scope["raw_path"]) + len(scope["query_string"]) > _LONGEST_TARGET:
            app = PlainTextResponse("The address is too long.\n", 414)
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > _LONGEST_HEADERS:
            app = PlainTextResponse("The headers are too long.\n", 431)
        await app(scope, receive, send)


class DefaultPolicy:
    """Gives every answer without a Content-Security-Policy the strictest one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as `app` does."""

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("Content-Security-Policy", _POLICY)
            await send(message)

        await self._app(scope, receive, with_policy)
