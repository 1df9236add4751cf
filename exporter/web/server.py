"""The exporter's own port, in a thread with its own event loop; signals stay with the main thread."""

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from exporter.config.secrets import Secret
from exporter.config.sections.service import WebConfig
from exporter.sinks.metrics_page import Page
from exporter.web.basic_auth import BasicAuth, UnusableHash
from exporter.web.connection_limits import HEADER_SECONDS, GuardedProtocol
from exporter.web.routes import Callbacks, build
from exporter.web.tls import BadTLSFile, RenewingContext

__all__ = ["Callbacks", "Server", "ServerError"]

log = structlog.get_logger()

_GRACE: Final = 2
_TICK: Final = 1.0
_KEEP_ALIVE: Final = 75  # longer than a minute, so that the usual scrape finds its connection open
_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
_HINTS: Final = {
    errno.EADDRINUSE: "another process has this port; stop it or choose another port",
    errno.EACCES: "not permitted; choose a port above 1023",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}


class ServerError(Exception):
    """The port cannot be opened. The message names the address, the cause and what to do."""


class _Uvicorn(uvicorn.Server):
    """uvicorn with our socket, a deadline for TLS handshakes and word of when it serves."""

    def __init__(self, config: uvicorn.Config, context: ssl.SSLContext | None, max_connections: int) -> None:
        super().__init__(config)
        self.serving = threading.Event()
        self._context = context
        self._max_connections = max_connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_loop_error)
        connection = partial(
            GuardedProtocol,
            max_connections=self._max_connections,
            config=self.config,
            server_state=self.server_state,
            app_state={},
        )
        deadline = HEADER_SECONDS if self._context else None
        self.servers = [
            await loop.create_server(
                connection,
                sock=sock,
                ssl=self._context,
                backlog=self.config.backlog,
                ssl_handshake_timeout=deadline,
                ssl_shutdown_timeout=deadline,
            )
            for sock in sockets or ()
        ]
        self.started = True
        self._loop, self._leaving = loop, asyncio.Event()
        self.serving.set()

    async def main_loop(self) -> None:
        """Tick once a second, for the date in the headers; uvicorn's ten ticks a second cost as much as a cycle."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), _TICK)

    def leave(self) -> None:
        """Stop serving; may be called from any thread."""
        self.should_exit = True
        if self.started and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leaving.set)


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.warning("connection_failed", error=str(context.get("exception") or context["message"]))


class Server:
    """Serves the page.

    Parameters
    ----------
    config : WebConfig
    page : Page
    hooks : Callbacks
    """

    def __init__(self, config: WebConfig, page: Page, hooks: Callbacks) -> None:
        self._config = config
        self._page = page
        self._hooks = hooks
        self._uvicorn: _Uvicorn | None = None
        self._thread: threading.Thread | None = None
        self._login: BasicAuth | None = None
        self.address: tuple[str, int] = ("", 0)
        """Host and port really bound, after `start`."""

    @property
    def url(self) -> str:
        """Address of the index page."""
        host, port = self.address
        return f"{'https' if self._config.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        """Open the port and serve. Raises ServerError, and then nothing was started."""
        try:
            context = RenewingContext.of(self._config.tls) if self._config.tls else None
            app = build(self._page, self._hooks, self._config, self._protect)
        except (BadTLSFile, UnusableHash) as error:
            raise ServerError(str(error)) from None
        listen = self._config.listen
        listening = _bind(listen)
        host, port, *_ = listening.getsockname()
        self.address = (host, port)
        settings = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=_headers(self._config.headers),
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACE,
            h11_max_incomplete_event_size=32 * 1024,
        )
        self._uvicorn = _Uvicorn(settings, context, self._config.max_connections)
        self._thread = threading.Thread(target=self._run, args=(self._uvicorn, listening), name="web", daemon=True)
        self._thread.start()
        self._uvicorn.serving.wait()
        if not self._uvicorn.started:
            self.stop()
            raise ServerError(f"web.listen: cannot serve {listen}; the log says why")
        log.info("listening", url=self.url)

    def stop(self) -> None:
        """Close the port; answers under way have two seconds. Does nothing when it is not open."""
        if self._uvicorn is None or self._thread is None:
            return
        self._uvicorn.leave()
        self._thread.join(timeout=_GRACE + 5)
        if self._thread.is_alive():
            log.warning("web_thread_left", hint="a reload or a login check is still under way")
        self._uvicorn = self._thread = None

    def prepared(self, users: Mapping[str, Secret]) -> Callable[[], None]:
        """Return a function that lets in these users instead of those before. Raises ServerError for an unusable hash.

        Where nobody had to log in, or nobody would have to, it does nothing: what people may do depends on that, and
        takes a restart.
        """
        if self._login is None or not users:
            return lambda: None
        try:
            return self._login.prepared(users)
        except UnusableHash as error:
            raise ServerError(str(error)) from None

    def _protect(self, app: ASGIApp) -> ASGIApp:
        self._login = BasicAuth(app, self._config.users) if self._config.users else None
        return self._login or app

    @staticmethod
    def _run(server: _Uvicorn, listening: socket.socket) -> None:
        async def serve() -> None:
            await server.serve(sockets=[listening])
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0.01)

        try:
            asyncio.run(serve())
        except Exception as error:
            log.critical("web_server_failed", error=f"{type(error).__name__}: {error}")
        finally:
            server.serving.set()


def _headers(more: Mapping[str, str]) -> list[tuple[str, str]]:
    own = {name.lower() for name in more}
    return [*(each for each in _HEADERS if each[0].lower() not in own), *more.items()]


def _bind(listen: str) -> socket.socket:
    """Return a listening socket for `host:port`, `[IPv6]:port` or `:port`. Raises ServerError."""
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104 - what the user asks for
        family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # localhost: 127.0.0.1 before ::1
        both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(address[:2], family=family, backlog=2048, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:  # a name that cannot be one is a UnicodeError
        number = getattr(error, "errno", None)
        hint = _HINTS.get(number or 0, getattr(error, "strerror", None) or str(error))
        raise ServerError(f"web.listen: cannot listen on {listen}: {hint}") from None
    # Connections inherit it. Without it the second packet of an answer waits 40 ms for the first one's receipt; asyncio
    # sees to that only for sockets that were made with a protocol number.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
