"""uvicorn's HTTP protocol with deadlines and a limit on connections.

uvicorn alone waits for ever for the end of a request that arrives byte by byte, and for a reader that does not read.
"""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS: Final = 5.0
"""From the connection, or from the first byte of a further request, to the end of its headers."""
ANSWER_SECONDS: Final = 60.0
"""From the end of the headers until the client has taken the answer; Prometheus gives up after 10 s by default."""


class GuardedProtocol(H11Protocol):
    """One connection.

    Parameters
    ----------
    max_connections : int
        Connections open at once.
    **options
        uvicorn's own.
    """

    def __init__(self, max_connections: int, **options: Any) -> None:
        super().__init__(**options)
        self._max_connections = max_connections
        self._deadline: asyncio.TimerHandle | None = None
        self._busy = False
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin; when too many are open, the one that has been silent longest has to go."""
        super().connection_made(transport)
        # An answer counts as taken when the kernel has it. Not high=0: asyncio's TLS would then never go on.
        transport.set_write_buffer_limits(high=1, low=0)
        self._since = self.loop.time()
        self._give(HEADER_SECONDS)
        if len(self.connections) > self._max_connections:
            ours = [one for one in self.connections if isinstance(one, GuardedProtocol)]
            silent = [one for one in ours if not one._busy and not one.transport.is_closing()]  # this one at least
            min(silent, key=lambda one: one._since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._give(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; what follows an answered request has to become a whole request in time."""
        if self._deadline is None:
            self._give(HEADER_SECONDS)
        super().data_received(data)

    def handle_events(self) -> None:
        """Begin to answer when the headers are complete."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._busy = True
            self._give(ANSWER_SECONDS)

    def on_response_complete(self) -> None:
        """End a request without waiting for the rest of its body, which no endpoint reads."""
        self._busy = False
        self._since = self.loop.time()
        self._give(None)
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()
        super().on_response_complete()

    def _give(self, seconds: float | None) -> None:
        """Set the time at which the connection is cut, or none."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)
