"""The tools over standard input and output: they ask a running exporter over HTTP."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from mcp.server.stdio import stdio_server

from exporter.cli.accept_client import NotAccepted
from exporter.cli.feedback_client import Exporter
from exporter.web.mcp.tools import server


def serve(exporter: Exporter) -> None:
    """Serve until standard input ends."""

    async def ask(
        _context: Any, method: str, path: str, parameters: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> tuple[int, dict[str, Any]]:
        try:
            text = await asyncio.to_thread(exporter.ask, method, f"api/v1/{path}", body, parameters)
        except NotAccepted as error:
            return 502, {"error": str(error)}
        return 200, json.loads(text)

    async def run() -> None:
        tools = server(ask)
        async with stdio_server() as (read, write):
            await tools.run(read, write, tools.create_initialization_options())

    asyncio.run(run())
