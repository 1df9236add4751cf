"""A TCP proxy on loopback that does to answers what networks do to them."""

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """What happens to every answer.

    `latency` delays it (seconds); `cut_after` ends the connection after so many bytes, with a RST if `reset`;
    `trickle` sends one byte in so many seconds; `black_hole` swallows it; `share` of the connections are affected.
    """

    latency: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    trickle: float = 0.0
    black_hole: bool = False
    share: float = 1.0


class Proxy:
    """Forwards to `target` (loopback port); `fault` and `target` may change at any time, for new connections."""

    def __init__(self, target: int, fault: Fault) -> None:
        self.target, self.fault = target, fault
        self.connections = 0
        self.random = random.Random(1)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        fault = self.fault if self.random.random() < self.fault.share else Fault()
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        self._open |= {client, server}
        back = threading.Thread(target=self._back, args=(server, client, fault), daemon=True)
        back.start()
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        back.join()
        for end in (client, server):
            end.close()
            self._open.discard(end)

    def _back(self, server: socket.socket, client: socket.socket, fault: Fault) -> None:
        left = fault.cut_after
        with suppress(OSError):
            while data := server.recv(65536):
                self._closing.wait(fault.latency)
                if fault.black_hole:
                    continue
                if fault.trickle:
                    for byte in data:
                        client.sendall(bytes([byte]))
                        self._closing.wait(fault.trickle)
                    continue
                client.sendall(data if left is None else data[:left])
                if left is not None and (left := left - len(data)) <= 0:
                    break
        if fault.reset:
            with suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            # ends recv in _forward, which closes: with a RST, unless the other direction was closed in order before
            client.shutdown(socket.SHUT_RD if fault.reset else socket.SHUT_RDWR)

    def drop_connections(self) -> None:
        """Close all connections as a restarted server would."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and close everything; nothing is held back any longer."""
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()
        self._acceptor.join()


@contextmanager
def proxied(url: str, fault: Fault | None = None) -> Iterator[Proxy]:
    """Run a proxy in front of `url` (http://127.0.0.1:port)."""
    proxy = Proxy(int(url.rpartition(":")[2]), fault or Fault())
    try:
        yield proxy
    finally:
        proxy.close()
