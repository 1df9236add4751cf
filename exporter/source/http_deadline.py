"""Connections that keep one total deadline, whatever the server does.

`requests` and `urllib3` bound the wait for the next byte, so a server that trickles header or body bytes holds them for
as long as it likes. Here every connect, handshake, send and read gets only the time that is left.
"""

import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse as Answer

from exporter.source.meanwhile import question_sent

_until: ContextVar[float] = ContextVar("deadline")


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Everything this thread does through an `Adapter` in the block must be over in `seconds`."""
    token = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


def left() -> float:
    """Return the seconds left until the deadline, 0 when it has passed."""
    return max(_until.get() - time.monotonic(), 0.0)


def _time_out() -> float:
    seconds = left()
    if not seconds:  # 0 would mean "do not block" to a socket
        raise TimeoutError("the deadline has passed")
    return seconds


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_time_out())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock), 2**16)


class _Connection(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        # The time-out holds for each address of a name, so they share what is left.
        addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        self.timeout = _time_out() / len(addresses)
        sock = super()._new_conn()
        try:
            sock.settimeout(_time_out())
        except TimeoutError:
            sock.close()
            raise
        return sock

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(_time_out())
        super().send(data)

    def getresponse(self) -> Answer:  # type: ignore[override]  # urllib3's own signature
        question_sent()
        return super().getresponse()


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}


class Adapter(HTTPAdapter):
    """An HTTPAdapter whose connections keep the deadline; `connections` are kept open at most.

    It does not limit how many are in use: a pool that blocks does so without a deadline.
    """

    def __init__(self, connections: int) -> None:
        super().__init__(pool_connections=2, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools out of our connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        """Make the pools of a proxy out of our connections; SOCKS has its own."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager
