"""The tools on our own port: `/mcp`, with the login and the rights of the pages."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.web.basic_auth import LOGIN
from exporter.web.ui.rights import LARGEST

_MISSING = "The tools need the Python package mcp, which is not installed: pip install 'anomaly-exporter[mcp]'\n"


class McpEndpoint:
    """Answers requests of the Model Context Protocol (streamable HTTP), one at a time, each by itself.

    There are no sessions and no streams to keep open: every call is one request and one answer. The SDK is loaded with
    the first request.

    Parameters
    ----------
    api : ASGI application
        Has the JSON API; who is logged in is handed on to it.
    """

    def __init__(self, api: ASGIApp) -> None:
        self._api = api
        self._starting = asyncio.Lock()
        self._manager: Any = None
        self._runs: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if refusal := _refusal(scope):
            await refusal(scope, receive, send)
            return
        async with self._starting:
            if self._manager is None:
                await self._start()
        await self._manager.handle_request(scope, receive, send)

    async def _start(self) -> None:
        def load() -> Any:
            from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

            from exporter.web.mcp.tools import server

            return StreamableHTTPSessionManager(
                server(self._ask), json_response=True, stateless=True, max_request_body_size=LARGEST
            )

        manager, started = await asyncio.to_thread(load), asyncio.Event()  # a second of imports, off the loop

        async def run() -> None:
            with suppress(asyncio.CancelledError):
                async with manager.run():
                    started.set()
                    await asyncio.Event().wait()

        self._runs = asyncio.create_task(run())
        await started.wait()
        self._manager = manager

    async def _ask(
        self, context: Any, method: str, path: str, parameters: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> tuple[int, dict[str, Any]]:
        """Ask the JSON API in the name of whoever sent the request that the tool is called by."""
        login = context.request.scope.get(LOGIN, "") if context.request is not None else ""
        return await asked(self._api, login, method, f"/api/v1/{path}", parameters, body)


def _refusal(scope: Scope) -> ASGIApp | None:
    if find_spec("mcp") is None:
        return PlainTextResponse(_MISSING, 501)
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if headers.get("sec-fetch-site") is not None or origin is not None:
        return PlainTextResponse("The tools are not for browsers: another page could use its visitor's login.\n", 403)
    return None


async def asked(
    app: ASGIApp, login: str, method: str, path: str, parameters: Mapping[str, str], body: Mapping[str, Any] | None
) -> tuple[int, dict[str, Any]]:
    """Ask an application in the same process for JSON, in somebody's name; return status and answer."""
    content = b"" if body is None else json.dumps(body).encode()
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": urlencode(parameters).encode(),
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], LOGIN: login,
        "client": None, "server": None,
    }  # fmt: skip
    status, parts = 500, [b""]

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    try:
        return status, json.loads(b"".join(parts))
    except ValueError:
        return status, {}
