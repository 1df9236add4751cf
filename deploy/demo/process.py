"""A server as a child process on loopback: start, wait until ready, stop, kill, restart.

A server is killed when the thread that started it ends (PR_SET_PDEATHSIG), so that nothing outlives a killed demo or
test run: start servers from the main thread.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

import requests

PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "prometheus": ("prometheus", "promtool"),
    "prometheus-alertmanager": ("prometheus-alertmanager", "alertmanager"),
    "prometheus-node-exporter": ("prometheus-node-exporter", "node_exporter"),
}
"""Debian packages and the commands of each; the names used upstream also work."""

READY_WITHIN = 30.0
STOP_WITHIN = 10.0
ANSWER_WITHIN = 10.0


class ServerError(Exception):
    """A server did not start or does not answer; the message ends with the last lines of its log."""


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(*names: str) -> str | None:
    """Return the path of the first of the commands `names` that is installed."""
    return next(filter(None, map(shutil.which, names)), None)


def missing_servers() -> list[str]:
    """Return the Debian packages whose servers are not installed."""

    def complete(server: str, *others: str) -> bool:
        if server == "prometheus":
            return all(command(name) for name in (server, *others))
        return command(server, *others) is not None

    return [package for package, commands in PACKAGES.items() if not complete(*commands)]


def get(url: str, timeout: float = 5.0, **parameters: str) -> requests.Response:
    """GET a loopback address without a proxy. Raises requests.RequestException."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, params=parameters, timeout=timeout)


class Server:
    """A child process that serves HTTP on loopback; a context manager that starts and stops it.

    Parameters
    ----------
    directory : Path
        Folder for configuration, data and log; created if missing.
    flags : sequence of str
        Additional command line flags.
    port : int, optional
        A fixed port. By default a free one is chosen, and another one if it is taken before the start.
    """

    name: ClassVar[str]
    ready_path: ClassVar[str]
    commands: ClassVar[tuple[str, ...]] = ()

    def __init__(self, directory: Path, *, flags: Sequence[str] = (), port: int | None = None) -> None:
        self.directory = directory
        self.flags = tuple(flags)
        self.port = port or free_port()
        self.log = directory / f"{self.name}.log"
        self._fixed = port is not None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise ServerError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive (also if paused)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the process and wait until it is ready. Raises ServerError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for attempt in range(5):
            begin = self.log.stat().st_size if self.log.exists() else 0
            self._launch()
            try:
                self._wait_until_ready()
            except BaseException as error:
                self.kill()
                if not isinstance(error, ServerError):
                    raise
                if attempt == 4 or "address already in use" not in self.log.read_text(errors="replace")[begin:]:
                    raise
                if not self._fixed:
                    self.port = free_port()
                time.sleep(0.2)
            else:
                break
        self._fixed = True
        return self

    def stop(self) -> None:
        """End the process with SIGTERM, after ten seconds with SIGKILL."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def restart(self) -> Self:
        """Stop the process if it is running, and start it again on the same port and data."""
        self.stop()
        return self.start()

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of the server's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def executable(self) -> list[str]:
        """Return the command without its flags. Raises ServerError when it is not installed."""
        found = command(*self.commands)
        if found is None:
            raise ServerError(f"{self.name} is not installed: apt-get install {' '.join(missing_servers())}")
        return [found]

    def arguments(self) -> list[str]:
        """Return the command line flags; write the configuration file, if the server has one."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        # setpriv executes the server in its place, so process id and parent stay the same.
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  a fixed list of servers, no shell
                [*dies_with_us, *self.executable(), *self.arguments(), *self.flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C reaches only the demo, which stops the servers in order
            )

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end:
            if not self.running:
                raise ServerError(f"{self.name} ended immediately; its log:\n{self.log_tail()}")
            try:
                if get(self.url + self.ready_path, timeout=0.5).ok and self.running:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.03)
        raise ServerError(f"{self.name} was not ready within {READY_WITHIN:.0f}s; its log:\n{self.log_tail()}")
